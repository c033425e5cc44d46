#pragma once

#include <span>
#include <string>
#include <string_view>

#include <taper/data/utf8.hpp>

namespace taper::data {

/// `text` as an error message shows it: valid UTF-8 in double quotes, control characters escaped, cut after
/// some 40 bytes.
std::string quote(std::string_view text);

/// The first few of `names`, quoted: `"V1", "V2", "V3", ... (501 in all)`.
std::string quote_some(std::span<const std::string> names);

}  // namespace taper::data

#pragma once

#include <string>
#include <string_view>

namespace taper::io {

/// What a file that is no safetensors file seems to be, by its first bytes: "compressed with gzip" or "a
/// pickle of Python", for example; "" where they tell nothing.
std::string describe_other_format(std::string_view bytes);

}  // namespace taper::io

#pragma once

#include <string_view>

namespace taper::data {

/// Reads a date of the Gregorian calendar, with or without a time of day, into days since 1970-01-01:
/// 2024-02-29 or 2024/02/29 (ISO 8601 and its usual variant), 29.02.2024, and behind it, after T or blanks,
/// 13:45 or 13:45:30 or 13:45:30.25, which may end in Z. Years are 0001 to 9999, in four digits. Returns
/// whether the whole of `text` is one. What could be day or month first (02/03/2024) is none.
bool parse_date(std::string_view text, double& days);

}  // namespace taper::data

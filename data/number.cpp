#include <taper/data/number.hpp>

#include <algorithm>
#include <string>

namespace taper::data {

NumberKind parse_number(std::string_view text, double& value, char decimal) {
  if (decimal != '.') {
    if (text.find('.') != text.npos) return NumberKind::none;
    std::string with_point(text);
    std::ranges::replace(with_point, decimal, '.');
    return parse_number(with_point, value);
  }
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);  // from_chars takes none
  const char* const end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value);
  if (stop != end || problem == std::errc::invalid_argument) return NumberKind::none;
  if (problem == std::errc::result_out_of_range || !std::isfinite(value)) return NumberKind::out_of_range;
  return NumberKind::finite;
}

std::string number_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace taper::data

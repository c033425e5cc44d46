#pragma once

#include <cmath>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace taper {

/// The parts as text, streamed one after the other. A NaN has no sign there: which one it has says nothing.
template <class... Parts> std::string concatenate(const Parts&... parts) {
  std::ostringstream text;
  const auto write = [&](const auto& part) {
    if constexpr (std::is_floating_point_v<std::decay_t<decltype(part)>>) {
      if (std::isnan(part)) {
        text << "nan";
        return;
      }
    }
    text << part;
  };
  (write(parts), ...);
  return text.str();
}

/// The one exception of the library. Its text has one voice: `[where] what was given: what was expected`,
/// for example `[affine] input 128x7 does not fit weight 32x8: expected 8 columns (layer fc1)`. Tensors,
/// tapes and files for which there is no memory are such errors, too; where anything smaller finds none,
/// std::bad_alloc is thrown, in the thread that called the library.
class Error : public std::runtime_error {
 public:
  /// `where` names the operation, function or option; the `parts` are streamed one after the other.
  template <class... Parts>
  explicit Error(std::string_view where, const Parts&... parts)
      : std::runtime_error(concatenate('[', where, "] ", parts...)) {}
};

}  // namespace taper

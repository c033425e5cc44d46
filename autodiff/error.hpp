#pragma once

#include <cmath>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace taper {

/// A part of an Error: the layer of a model in which it was found, as "fc1" or "encoder.fc1". In the text, it
/// is " (layer fc1)", and nothing for an empty path.
struct InLayer {
  std::string path;
};

namespace detail {
/// A text that is written part by part, and where a layer stands in it.
struct ErrorText {
  std::ostringstream stream;
  std::streamoff layer_begin = 0, layer_end = 0;

  /// A NaN has no sign there: which one it has says nothing.
  template <class Part> void write(const Part& part) {
    if constexpr (std::is_floating_point_v<std::decay_t<Part>>) {
      if (std::isnan(part)) {
        stream << "nan";
        return;
      }
    }
    stream << part;
  }
  void write(const InLayer& layer);
};
}  // namespace detail

/// The parts as text, streamed one after the other.
template <class... Parts> std::string concatenate(const Parts&... parts) {
  detail::ErrorText text;
  (text.write(parts), ...);
  return std::move(text.stream).str();
}

/// The one exception of the library. Its text has one voice: `[where] what was given: what was expected`,
/// for example `[affine] input 128x7 does not fit weight 32x8: expected 8 columns (layer fc1)`, and its
/// fields are the pieces of that. Tensors, tapes and files for which there is no memory are such errors, too;
/// where anything smaller finds none, std::bad_alloc is thrown, in the thread that called the library.
class Error : public std::runtime_error {
 public:
  /// `where` names the operation, function or option; the `parts` are streamed one after the other. What is
  /// behind the last ": expected " is what was expected.
  template <class... Parts>
  explicit Error(std::string_view where, const Parts&... parts)
      : Error(where, write(detail::ErrorText(), '[', where, "] ", parts...)) {}

  /// "affine".
  const std::string& where() const { return fields_->where; }
  /// "input 128x7 does not fit weight 32x8".
  const std::string& given() const { return fields_->given; }
  /// "8 columns"; may be empty.
  const std::string& expected() const { return fields_->expected; }
  /// "fc1"; empty when the error is not from inside a model.
  const std::string& layer() const { return fields_->layer; }

  /// The same given and expected, at another place.
  Error at(std::string_view where, const InLayer& layer) const;

 private:
  struct Fields {
    std::string where, given, expected, layer;
  };

  template <class... Parts> static detail::ErrorText write(detail::ErrorText text, const Parts&... parts) {
    (text.write(parts), ...);
    return text;
  }
  Error(std::string_view where, const detail::ErrorText& text);

  std::shared_ptr<const Fields> fields_;  // shared, as copying an exception must not throw
};

}  // namespace taper

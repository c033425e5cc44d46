#include <taper/autodiff/error.hpp>

namespace taper {

void detail::ErrorText::write(const InLayer& layer) {
  if (layer.path.empty()) return;
  layer_begin = stream.tellp();
  stream << " (layer " << layer.path << ')';
  layer_end = stream.tellp();
}

Error::Error(std::string_view where, const detail::ErrorText& text) : std::runtime_error(text.stream.str()) {
  auto fields = std::make_shared<Fields>();
  fields->where = where;
  std::string rest = what();
  if (text.layer_end > text.layer_begin) {
    const auto begin = static_cast<std::size_t>(text.layer_begin),
               end = static_cast<std::size_t>(text.layer_end);
    constexpr std::string_view opening = " (layer ";
    fields->layer = rest.substr(begin + opening.size(), end - begin - opening.size() - 1);
    rest.erase(begin, end - begin);
  }
  rest.erase(0, where.size() + 3);  // "[where] "
  constexpr std::string_view separator = ": expected ";
  const std::size_t at = rest.rfind(separator);
  if (at != std::string::npos) {
    fields->expected = rest.substr(at + separator.size());
    rest.erase(at);
  }
  fields->given = std::move(rest);
  fields_ = std::move(fields);
}

Error Error::at(std::string_view where, const InLayer& layer) const {
  return Error(where, given(), expected().empty() ? "" : ": expected ", expected(), layer);
}

}  // namespace taper

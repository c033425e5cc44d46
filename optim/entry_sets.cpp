#include <taper/optim/entry_sets.hpp>

#include <algorithm>
#include <string>

#include <taper/instantiate.hpp>

namespace taper::optim {

template <class T>
std::vector<Index> sets_of_one_unit(const nn::Parameters<T>& parameters, std::span<const Index> positions) {
  std::vector<Index> by_position(parameters.block()->values.size(), 0);
  Index sets = 0;
  for (const auto& entry : parameters.entries()) {
    const Index outputs = entry.shape.rank() == 0 ? 1 : entry.shape[0];
    const Index inputs = entry.shape.rank() < 2 || outputs == 0 ? 1 : entry.shape.size() / outputs;
    for (Index i = 0; i < entry.shape.size(); ++i) {
      by_position[static_cast<std::size_t>(entry.offset + i)] = sets + i % inputs;
    }
    sets += inputs;
  }
  std::vector<Index> result;
  for (const Index position : positions) result.push_back(by_position[static_cast<std::size_t>(position)]);
  return result;
}

template <class T>
std::vector<std::vector<Index>> sets_by_module(const nn::Parameters<T>& parameters,
                                               std::span<const Index> positions) {
  std::vector<std::string> names;
  std::vector<std::size_t> by_position(parameters.block()->values.size(), 0);
  for (const auto& entry : parameters.entries()) {
    const std::string name = entry.name.substr(0, entry.name.rfind('.'));
    auto found = std::ranges::find(names, name);
    if (found == names.end()) found = names.insert(names.end(), name);
    std::fill_n(by_position.begin() + entry.offset, entry.shape.size(),
                static_cast<std::size_t>(found - names.begin()));
  }
  std::vector<std::vector<Index>> result(names.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    result[by_position[static_cast<std::size_t>(positions[i])]].push_back(static_cast<Index>(i));
  }
  return result;
}

#define TAPER_INSTANTIATE(T)                                                                      \
  template std::vector<Index> sets_of_one_unit(const nn::Parameters<T>&, std::span<const Index>); \
  template std::vector<std::vector<Index>> sets_by_module(const nn::Parameters<T>&, std::span<const Index>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::optim

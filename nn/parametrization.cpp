#include <taper/nn/parametrization.hpp>

#include <algorithm>
#include <cmath>

#include <taper/instantiate.hpp>

namespace taper::nn {

template <class T>
std::vector<Mask> Parametrization<T>::factor_entries_of(const Mask& entries,
                                                        std::span<const Shape> factors) const {
  std::vector<Mask> result;
  for (const Shape& shape : factors) {
    result.push_back(entries.all_frozen() ? Mask::all_frozen(shape) : Mask::all_free(shape));
  }
  return result;
}

template <class T>
Mask Parametrization<T>::trainable_entries(const Shape& shape,
                                           std::span<const MaskedFactor<T>> factors) const {
  const auto still = [](const MaskedFactor<T>& factor) { return factor.mask.all_frozen(); };
  return std::ranges::all_of(factors, still) ? Mask::all_frozen(shape) : Mask::all_free(shape);
}

template <class T> std::vector<Tensor<T>> Simplex<T>::decompose(View<const T> value) const {
  Tensor<T> z(value);
  for (T& entry : z) {
    if (!(entry > 0)) throw Error("simplex", "an entry ", entry, ": expected positive probabilities");
    entry = std::log(entry);
  }
  return {z};
}

template <class T>
Hadamard<T>::Hadamard(Groups groups, Index depth, std::vector<double> weights)
    : groups_(groups), depth_(depth), weights_(std::move(weights)) {
  if (depth < 2 || depth > static_cast<Index>(max_factors)) {
    throw Error("factorize", "a product of ", depth, " factors: expected 2 to ", max_factors);
  }
  const double order = static_cast<double>(depth);
  for (const double weight : weights_) {
    const T unit = static_cast<T>(std::pow(weight, order / (2 * (order - 1))));
    if (!(weight > 0) || !std::isnormal(unit)) {
      throw Error("factorize", "a weight ", weight, " of a group: expected a positive finite number");
    }
    units_.push_back(unit);
  }
}

template <class T> double Hadamard<T>::weight(Index group) const {
  if (weights_.empty()) return 1;
  if (group < 0 || group >= static_cast<Index>(weights_.size())) {
    throw Error("factorize", "group ", group, " of ", weights_.size(), ": expected one with a weight");
  }
  return weights_[static_cast<std::size_t>(group)];
}

template <class T> Index Hadamard<T>::group_count(const Shape& shape) const {
  const Index count = groups_.count(shape);
  if (!weights_.empty() && static_cast<Index>(weights_.size()) != count) {
    throw Error("factorize", weights_.size(), " weights for a parameter ", shape,
                ": expected one for each of ", count, " groups");
  }
  return count;
}

template <class T> std::vector<std::string> Hadamard<T>::factor_names() const {
  if (depth_ == 2) return {"u", "v"};
  std::vector<std::string> names{"u"};
  for (Index d = 1; d < depth_; ++d) names.push_back("v" + std::to_string(d));
  return names;
}

template <class T> std::vector<Tensor<T>> Hadamard<T>::decompose(View<const T> value) const {
  group_count(value.shape());  // as many as there are weights
  Tensor<T> gates(groups_.gates(value.shape()));
  std::fill(gates.begin(), gates.end(), T{1});
  std::ranges::copy(units_, gates.begin());
  std::vector<Tensor<T>> factors(static_cast<std::size_t>(depth_), gates);
  factors[0] = Tensor<T>(value);
  return factors;
}

template <class T> Var<T> Hadamard<T>::compute(std::span<const Var<T>> factors) const {
  // The gates first, which are few. Each is divided by its own part of c_g, so that gates equal to it leave U
  // as it is, to the bit.
  Tape<T>& tape = factors[0].tape();
  const View<const T> units(units_.data(), factors[1].shape());
  const Var<T> unit = units_.empty() ? Var<T>{} : tape.constant(units, "unit");
  const auto gate = [&](std::size_t d) { return units_.empty() ? factors[d] : div(factors[d], unit); };
  Var<T> gates = gate(1);
  for (std::size_t d = 2; d < factors.size(); ++d) gates = hadamard(gates, gate(d));
  return hadamard(factors[0], gates);
}

template <class T>
std::vector<Mask> Hadamard<T>::factor_entries_of(const Mask& entries, std::span<const Shape> factors) const {
  const Groups::Blocks blocks = groups_.blocks(entries.shape());
  std::vector<Index> groups;
  for (const Index entry : entries.free_positions()) groups.push_back(blocks.group_of(entry));
  std::vector<Mask> result(factors.size(), Mask::free(factors[1], groups));
  result[0] = entries;
  return result;
}

template <class T>
Mask Hadamard<T>::trainable_entries(const Shape& shape, std::span<const MaskedFactor<T>> factors) const {
  const Groups::Blocks blocks = groups_.blocks(shape);
  return Mask::free(shape, [&](Index entry) {
    bool any_free = false;
    for (std::size_t d = 0; d < factors.size(); ++d) {
      const Index i = d == 0 ? entry : blocks.group_of(entry);
      if (factors[d].mask.is_frozen(i) && factors[d].value[i] == 0) return false;
      any_free |= factors[d].mask.is_free(i);
    }
    return any_free;
  });
}

template <class T>
std::shared_ptr<const Parametrization<T>> Hadamard<T>::cut(const Shape& shape, const KeptAxes& kept) const {
  std::vector<double> weights;
  if (!weights_.empty() && !groups_.are_elements()) {
    for (const Index group : kept[static_cast<std::size_t>(groups_.axis())]) weights.push_back(weight(group));
  } else if (!weights_.empty()) {
    std::vector<Index> positions{0};
    for (Index axis = 0; axis < shape.rank(); ++axis) {
      std::vector<Index> longer;
      for (const Index position : positions) {
        for (const Index i : kept[static_cast<std::size_t>(axis)])
          longer.push_back(position * shape[axis] + i);
      }
      positions = std::move(longer);
    }
    for (const Index position : positions) weights.push_back(weight(position));
  }
  return std::make_shared<Hadamard>(groups_, depth_, std::move(weights));
}

TAPER_INSTANTIATE_CLASS(Parametrization)
TAPER_INSTANTIATE_CLASS(Simplex)
TAPER_INSTANTIATE_CLASS(Hadamard)

}  // namespace taper::nn

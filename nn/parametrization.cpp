#include <taper/nn/parametrization.hpp>

#include <algorithm>
#include <cmath>

namespace taper::nn {

template <class T>
std::vector<Mask> Parametrization<T>::feeding(const Mask& entries, std::span<const Shape> factors) const {
  std::vector<Mask> result;
  for (const Shape& shape : factors) {
    result.push_back(entries.all_frozen() ? Mask::all_frozen(shape) : Mask::all_free(shape));
  }
  return result;
}

template <class T>
Mask Parametrization<T>::moving(const Shape& shape, std::span<const MaskedFactor<T>> factors) const {
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

template <class T> std::vector<Tensor<T>> Hadamard<T>::decompose(View<const T> value) const {
  const Shape& shape = value.shape();
  if (groups_ != Groups::elements && shape.rank() != 2) {
    throw Error("factorize", "a parameter ", shape, " in rows or columns: expected a matrix");
  }
  Tensor<T> gates(groups_ == Groups::elements ? shape
                  : groups_ == Groups::inputs ? Shape{shape[1]}
                                              : Shape{shape[0], 1});
  std::fill(gates.begin(), gates.end(), T{1});
  return {Tensor<T>(value), gates};
}

template <class T> Index Hadamard<T>::gate(const Shape& shape, Index entry) const {
  switch (groups_) {
    case Groups::inputs:
      return entry % shape[1];
    case Groups::outputs:
      return entry / shape[1];
    default:
      return entry;
  }
}

template <class T>
std::vector<Mask> Hadamard<T>::feeding(const Mask& entries, std::span<const Shape> factors) const {
  std::vector<Index> gates;
  for (const Index entry : entries.free_positions()) gates.push_back(gate(entries.shape(), entry));
  return {entries, Mask::free(factors[1], gates)};
}

template <class T>
Mask Hadamard<T>::moving(const Shape& shape, std::span<const MaskedFactor<T>> factors) const {
  const MaskedFactor<T>&u = factors[0], &v = factors[1];
  const auto stuck = [](const MaskedFactor<T>& factor, Index i) {
    return factor.mask.is_frozen(i) && factor.value[i] == 0;
  };
  return Mask::free(shape, [&](Index entry) {
    const Index g = gate(shape, entry);
    return (u.mask.is_free(entry) || v.mask.is_free(g)) && !stuck(u, entry) && !stuck(v, g);
  });
}

template class Parametrization<float>;
template class Parametrization<double>;
template class Simplex<float>;
template class Simplex<double>;
template class Hadamard<float>;
template class Hadamard<double>;

}  // namespace taper::nn

#include <taper/nn/parametrization.hpp>

#include <cmath>

namespace taper::nn {

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

template class Simplex<float>;
template class Simplex<double>;
template class Hadamard<float>;
template class Hadamard<double>;

}  // namespace taper::nn

#include <cmath>
#include <limits>
#include <numeric>

#include <taper/instantiate.hpp>
#include <taper/nn/init.hpp>
#include <taper/nn/layers/factorization_machine.hpp>

namespace taper::nn {

template <class T>
FactorizationMachine<T>::FactorizationMachine(Index inputs, Index factors_)
    : weight(Shape{inputs, 1}), bias(Shape{1}), factors(Shape{inputs, factors_}) {
  const double bound = inputs > 0 ? 1 / std::sqrt(static_cast<double>(inputs)) : 0;
  init::uniform(weight.value(), -bound, bound);
  init::normal(factors.value(), 0, 0.01);
}

template <class T>
FactorizationMachine<T>::FactorizationMachine(std::vector<Index> field_sizes, Index factors_)
    : FactorizationMachine(std::accumulate(field_sizes.begin(), field_sizes.end(), Index{0}), factors_) {
  for (const Index size : field_sizes) {
    if (size < 1) throw Error("FactorizationMachine", "a field of size ", size, ": expected 1 or more");
  }
  if (field_sizes.empty()) throw Error("FactorizationMachine", "no fields: expected one or more");
  const Index inputs = weight.shape()[0];
  if (static_cast<double>(inputs) > 2 / static_cast<double>(std::numeric_limits<T>::epsilon())) {
    throw Error("FactorizationMachine", inputs, " inputs: expected no more than the scalar can count");
  }
  field_sizes_ = std::move(field_sizes);
}

template <class T> Var<T> FactorizationMachine<T>::forward(Var<T> x) const {
  if (!field_sizes_.empty()) return of_fields(x);
  Tape<T>& tape = x.tape();
  if (x.shape().rank() != 2 || x.shape()[1] != weight.shape()[0]) {
    throw Error("FactorizationMachine", "input ", x.shape(), ": expected rows x ", weight.shape()[0]);
  }
  const Var<T> v = factors.bind(tape);
  const Var<T> linear = affine(x, reshape(weight.bind(tape), {1, -1}), bias.bind(tape));
  const Var<T> sums = matmul(x, v), squares = matmul(square(x), sum(square(v), 1, true));
  return linear + (sum(square(sums), 1, true) - squares) * T(0.5);
}

/// The same, of inputs that are 1 at one place of each field.
template <class T> Var<T> FactorizationMachine<T>::of_fields(Var<T> x) const {
  Tape<T>& tape = x.tape();
  const auto fields = static_cast<Index>(field_sizes_.size());
  if (x.shape().rank() != 2 || x.shape()[1] != fields) {
    throw Error("FactorizationMachine", "input ", x.shape(), ": expected rows x ", fields,
                ", one column for "
                "each field");
  }
  Tensor<T> sizes(Shape{fields});
  std::transform(field_sizes_.begin(), field_sizes_.end(), sizes.begin(),
                 [](Index size) { return static_cast<T>(size); });
  const Var<T> rows = field_positions(x, tape.constant(sizes, "field_sizes"));
  return field_pairs(weight.bind(tape), factors.bind(tape), rows) + bias.bind(tape);
}

TAPER_INSTANTIATE_CLASS(FactorizationMachine)

}  // namespace taper::nn

#pragma once

#include <taper/nn/init.hpp>
#include <taper/nn/module.hpp>

namespace taper::nn {

/// A learned row for each position: inputs are whole numbers in [0, count), of any shape, to which the output
/// adds the dimension `width`. The rows start from a standard normal distribution, as in PyTorch.
template <class T = float> class Embedding : public Layer<T> {
 public:
  /// Throws Error for a negative size, and for more rows than there are whole numbers in T.
  Embedding(Index count, Index width) : weight(Shape{count, width}) {
    if (static_cast<double>(count) > 2 / static_cast<double>(std::numeric_limits<T>::epsilon())) {
      throw Error("Embedding", count, " rows: expected no more than the scalar can count");
    }
    init::normal(weight.value(), 0, 1);
  }
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit Embedding(const Embedding<U>& other) : weight(other.weight) {}

  Index count() const { return weight.shape()[0]; }
  Index width() const { return weight.shape()[1]; }
  /// Throws Error for other positions, in a replay too.
  Var<T> forward(Var<T> positions) const override {
    return gather_rows(weight.bind(positions.tape()), positions);
  }
  void visit(Visitor<T>& v) const override { v("weight", weight); }
  std::string describe() const override {
    return "Embedding(" + std::to_string(count()) + ", " + std::to_string(width()) + ")";
  }

  Parameter<T> weight;
};

}  // namespace taper::nn

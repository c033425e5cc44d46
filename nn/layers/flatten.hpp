#pragma once

#include <taper/nn/module.hpp>

namespace taper::nn {

/// Joins all axes from one on, at first all but that of the batch: batch x channels x rows x columns becomes
/// batch x (channels rows columns).
template <class T = float> class Flatten : public Layer<T> {
 public:
  /// Throws Error for a start below zero.
  explicit Flatten(Index start = 1) : start_(start) {
    if (start < 0) throw Error("flatten", "axis ", start, ": expected 0 or more");
  }
  template <class U>
  requires(!std::same_as<T, U>) explicit Flatten(const Flatten<U>& other) : Flatten(other.start()) {}
  Index start() const { return start_; }

  /// Throws Error for an x without that axis.
  Var<T> forward(Var<T> x) const override {
    const Shape& shape = x.shape();
    if (start_ >= shape.rank()) {
      throw Error("flatten", "axis ", start_, " of a tensor ", shape, ": expected one that it has");
    }
    // A size that is worked out, and does not stand in the recording, can be cut.
    Index joined = -1;
    if (x.shape().size() == 0) {
      joined = 1;
      for (Index axis = start_; axis < shape.rank(); ++axis) joined *= shape[axis];
    }
    switch (start_) {
      case 0:
        return reshape(x, {joined});
      case 1:
        return reshape(x, {shape[0], joined});
      case 2:
        return reshape(x, {shape[0], shape[1], joined});
      default:
        return x;  // the last one
    }
  }
  std::string describe() const override { return "Flatten"; }

 private:
  Index start_;
};

}  // namespace taper::nn

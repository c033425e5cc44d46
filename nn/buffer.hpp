#pragma once

#include <algorithm>
#include <memory>

#include <taper/nn/parameter.hpp>

namespace taper::nn {

/// A tensor that belongs to a module and is not trained, such as a running mean: it is copied, saved and
/// shrunk with the module, and no optimizer sees it. Zero at first. Copying a buffer copies its elements.
template <class T> class Buffer {
 public:
  explicit Buffer(const Shape& shape = {})
      : shape_(shape), block_(std::make_shared<Block<T>>(shape.size())) {}
  explicit Buffer(const Tensor<T>& value) : Buffer(value.shape()) { *this = View<const T>(value); }
  Buffer(const Buffer& other) : Buffer(other.shape_) { *this = other.value(); }
  Buffer(Buffer&& other) noexcept : shape_(other.shape_), block_(std::move(other.block_)) {}
  Buffer& operator=(Buffer other) noexcept {
    retire();
    shape_ = other.shape_;
    block_ = std::move(other.block_);
    return *this;
  }
  ~Buffer() { retire(); }
  /// Writes elements. Throws Error for another shape.
  Buffer& operator=(View<const T> value) {
    if (value.shape() != shape_) throw Error("buffer", "a value ", value.shape(), ": expected ", shape_);
    std::copy(value.begin(), value.end(), block_->values.data());
    return *this;
  }

  const Shape& shape() const { return shape_; }
  View<T> value() { return {block_->values.data(), shape_}; }
  View<const T> value() const { return {block_->values.data(), shape_}; }

  /// Keeps the given indices of each axis.
  void cut(const KeptAxes& kept) {
    Buffer smaller(shape_of(kept, shape_));
    gather<T>(value(), kept, smaller.value());
    *this = std::move(smaller);
  }

  /// The buffer on a tape, under the name that `visit` gives it: read there at each replay, without gradient.
  Var<T> bind(Tape<T>& tape) const {
    return tape.buffer(block_, 0, shape_, name_on(tape, this, "buffer", shape_));
  }
  /// Records that it gets this value, after each step of a training and not before: see Tape::update_buffers.
  /// From here on in this recording, bind gives the new value. Throws Error for another shape.
  void assign_later(Tape<T>& tape, Var<T> value) const { tape.assign_later(bind(tape), value); }

 private:
  /// Tells tapes that they look at what is no longer the module's.
  void retire() noexcept {
    if (!block_) return;
    ++block_->version;
    std::fill_n(block_->frozen.data(), shape_.size(), Block<T>::gone);
  }

  Shape shape_;
  std::shared_ptr<Block<T>> block_;
};

}  // namespace taper::nn

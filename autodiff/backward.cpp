#include <algorithm>
#include <cmath>

#include <taper/autodiff/kernels/denormals.hpp>
#include <taper/autodiff/tape.hpp>

namespace taper {

template <class T> void Tape<T>::backward(Var<T> output, Accumulate accumulate) {
  require_scalar(output);
  const T one = 1;
  backward(output, View<const T>(&one, node(output, "backward").shape), accumulate);
}

template <class T> void Tape<T>::require_scalar(Var<T> output) {
  const Shape& shape = node(output, "backward").shape;
  if (shape.size() == 1) return;
  throw Error("backward", "an output ", shape, ": expected one entry, or a seed of that shape");
}

template <class T> void Tape<T>::backward(Var<T> output, View<const T> seed, Accumulate accumulate) {
  const Node<T>& root = node(output, "backward");
  if (seed.shape() != root.shape) {
    throw Error("backward", "a seed ", seed.shape(), " for an output ", root.shape,
                ": expected the same shape");
  }
  if (!root.differentiable)
    throw Error("backward", "nothing below output %", output.index_, " wants a gradient");
  if (!lent_.empty()) {
    throw Error("backward", "variable %", lent_.front().first,
                " has no value left, which gradients have replaced: expected replay() before");
  }
  follow_blocks("backward");
  const kernels::FlushDenormals flush;
  start_pass(output.index_, accumulate);
  go_back(output.index_, seed.data());
}

/// Goes back from the output, in a pass that has been started.
template <class T> void Tape<T>::go_back(std::uint32_t output, const T* seed) {
  Node<T>& root = nodes_[output];
  if (root.written == pass_) {  // a parameter that is its own output, and accumulates
    for (Index i = 0; i < root.shape.size(); ++i) root.gradient[i] += seed[i];
  } else {
    std::copy_n(seed, root.shape.size(), root.gradient);
    root.written = pass_;
  }
  for (std::uint32_t i = output + 1; i-- > 0;) {
    const Node<T>& node = nodes_[i];
    if (node.op == nullptr || node.written != pass_) continue;
    node.op->backward(
        Backward<T>(nodes_.data(), inputs_.data() + node.first_input, node, pass_, unread_.data()));
    if (check_finite_) blame_gradient(node);
  }
  finish_pass();
}

template <class T> void Tape<T>::replay_with_gradient(Var<T> output) {
  replay_with_gradient(output, seed_ + 1);
}

template <class T> void Tape<T>::replay_with_gradient(Var<T> output, std::uint64_t seed) {
  require_scalar(output);
  if (!nodes_[output.index_].differentiable) {
    throw Error("backward", "nothing below output %", output.index_, " wants a gradient");
  }
  follow_blocks("replay");
  const kernels::FlushDenormals flush;
  start_pass(output.index_, Accumulate::no);
  lend_values(output.index_);
  try {
    compute_all(seed);
    const T one = 1;
    go_back(output.index_, &one);
  } catch (...) {
    return_values(false);
    throw;
  }
  return_values(true);
}

/// Moves values to where the gradient of their input 0 will be. That is free until the way back has come to
/// the output's own gradient, which is made there in place, if nobody reads the value after that. The input
/// is a leaf: where it is computed, its own value may lie there, or the gradient of what it came from.
template <class T> void Tape<T>::lend_values(std::uint32_t output) {
  lent_.clear();
  for (const std::uint32_t i : in_place_) {
    if (i >= output) break;
    Node<T>& node = nodes_[i];
    const bool free = node.lends_gradient && nodes_[inputs_[node.first_input]].op == nullptr;
    if (!free || !node.op->forgets_output || node.uses != 1 || node.read_late) continue;
    lent_.emplace_back(i, node.value);
    node.value = node.gradient;
  }
}

/// Gives every lent value its own place back. After a pass that was not completed, gradients are zero where
/// values would lie.
template <class T> void Tape<T>::return_values(bool complete) {
  for (const auto& [i, own] : lent_) {
    Node<T>& node = nodes_[i];
    if (!complete) std::fill_n(node.gradient, node.shape.size(), T{0});
    node.value = own;
  }
}

template <class T> void Tape<T>::start_pass(std::uint32_t output, Accumulate accumulate) {
  ++pass_;
  place_gradients(output, accumulate);
  for (const auto& [block, version] : blocks_) {
    if (block->writer == recording_) continue;
    if (accumulate == Accumulate::no) std::fill_n(block->gradients.data(), block->gradients.size(), T{0});
    // Gradients of several recordings added up belong to none: the next pass that stores clears them.
    block->writer = accumulate == Accumulate::no ? recording_ : 0;
  }
  if (accumulate == Accumulate::yes) {
    for (const std::uint32_t leaf : leaves_) {
      if (!nodes_[leaf].writable) nodes_[leaf].written = pass_;  // what a parameter has counts as written
    }
  }
}

/// Gives memory to the gradients of all nodes up to the output.
template <class T> void Tape<T>::place_gradients(std::uint32_t output, Accumulate accumulate) {
  const auto take = [&](Node<T>& node) {
    node.gradient = gradients_.take(static_cast<std::size_t>(node.shape.size()));
  };
  for (; with_gradient_ <= output; ++with_gradient_) {
    Node<T>& node = nodes_[with_gradient_];
    const bool later = node.op != nullptr && node.op->in_place;
    if (node.differentiable && node.gradient == nullptr && !later) take(node);
  }
  // An output may lie where the gradient of its input will be when nobody else writes there. Both can change
  // from pass to pass: who uses the input, and whether its gradient is added up.
  for (const std::uint32_t i : in_place_) {
    if (i > output) break;
    Node<T>& node = nodes_[i];
    const Node<T>& input = nodes_[inputs_[node.first_input]];
    const bool lend = !keep_gradients_ && accumulate == Accumulate::no && input.differentiable &&
                      !node.op->constant(0) && input.uses == 1 && input.shape.size() == node.shape.size();
    if (!lend && node.own_gradient == nullptr) {
      take(node);
      node.own_gradient = node.gradient;
    }
    node.gradient = lend ? input.gradient : node.own_gradient;
    node.lends_gradient = lend;
  }
}

template <class T> void Tape<T>::finish_pass() {
  // A leaf that the output does not depend on has gradient zero, not what an earlier pass left.
  for (const std::uint32_t leaf : leaves_) {
    Node<T>& node = nodes_[leaf];
    if (node.written == pass_ || (node.gradient == nullptr && node.shape.size() > 0)) continue;
    std::fill_n(node.gradient, node.shape.size(), T{0});
    node.written = pass_;
  }
}

#define TAPER_INSTANTIATE(T)                                          \
  template void Tape<T>::backward(Var<T>, Accumulate);                \
  template void Tape<T>::backward(Var<T>, View<const T>, Accumulate); \
  template void Tape<T>::replay_with_gradient(Var<T>);                \
  template void Tape<T>::replay_with_gradient(Var<T>, std::uint64_t); \
  template void Tape<T>::require_scalar(Var<T>);                      \
  template void Tape<T>::start_pass(std::uint32_t, Accumulate);       \
  template void Tape<T>::place_gradients(std::uint32_t, Accumulate);  \
  template void Tape<T>::go_back(std::uint32_t, const T*);            \
  template void Tape<T>::finish_pass();                               \
  template void Tape<T>::lend_values(std::uint32_t);                  \
  template void Tape<T>::return_values(bool);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper

#include <algorithm>

#include <taper/autodiff/finite.hpp>
#include <taper/autodiff/kernels/denormals.hpp>
#include <taper/autodiff/tape.hpp>
#include <taper/instantiate.hpp>

namespace taper {

template <class T> void Tape<T>::backward(Var<T> output, Accumulate accumulate) {
  require_scalar(output);
  const T one = 1;
  backward(output, View<const T>(&one, node(output, "backward").shape), accumulate);
}

template <class T> void Tape<T>::backward(Var<T> output, View<const T> seed, Accumulate accumulate) {
  const Shape& shape = node(output, "backward").shape;
  if (seed.shape() != shape) {
    throw Error("backward", "a seed ", seed.shape(), " for an output ", shape, ": expected the same shape");
  }
  require_gradient(output);
  for (const auto& [lost, place] : plan_.overwritten_values()) refuse(at(lost), "backward");
  follow_blocks("backward");
  const kernels::FlushDenormals flush;
  start_pass(output.index_, accumulate);
  run_backward(output.index_, seed.data());
}

template <class T> void Tape<T>::value_and_gradient(Var<T> output, std::uint64_t seed) {
  require_scalar(output);
  require_gradient(output);
  follow_blocks("replay");
  const kernels::FlushDenormals flush;
  start_pass(output.index_, Accumulate::no);
  try {
    plan_.overwrite_values(output.index_);
    compute_all(seed);
    const T one = 1;
    run_backward(output.index_, &one);
  } catch (...) {
    plan_.restore_values(false);
    throw;
  }
  plan_.restore_values(true);
}

template <class T> void Tape<T>::require_scalar(Var<T> output) {
  const Shape& shape = node(output, "backward").shape;
  if (shape.size() == 1) return;
  throw Error("backward", "an output ", shape, ": expected one entry, or a seed of that shape");
}

template <class T> void Tape<T>::require_gradient(Var<T> output) {
  if (nodes_[output.index_].requires_grad) return;
  throw Error("backward", "nothing below output %", output.index_, " requires a gradient");
}

template <class T> void Tape<T>::start_pass(std::uint32_t output, Accumulate accumulate) {
  ++pass_;
  const bool add = accumulate == Accumulate::yes;
  plan_.place_gradients(output, add);
  bindings_.start_pass(recording_, add);
  for (const std::uint32_t leaf : leaves_) {
    Node<T>& node = nodes_[leaf];
    if (add && !node.writable) node.written = pass_;  // a parameter, which has gradients to add to
  }
}

/// The chain rule, from the output back to the leaves, in a pass that has been started.
template <class T> void Tape<T>::run_backward(std::uint32_t output, const T* seed) {
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
        Backward<T>(nodes_.data(), inputs_.data() + node.first_input, node, pass_, plan_.unread()));
    if (check_finite_) throw_not_finite_gradient(*this, node);
  }
  // The output does not depend on the leaves that were not reached: their gradient is zero.
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
  template void Tape<T>::value_and_gradient(Var<T>, std::uint64_t);   \
  template void Tape<T>::require_scalar(Var<T>);                      \
  template void Tape<T>::require_gradient(Var<T>);                    \
  template void Tape<T>::start_pass(std::uint32_t, Accumulate);       \
  template void Tape<T>::run_backward(std::uint32_t, const T*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper

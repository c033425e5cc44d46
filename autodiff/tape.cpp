#include <taper/autodiff/tape.hpp>

#include <algorithm>
#include <atomic>

#include <taper/autodiff/finite.hpp>
#include <taper/autodiff/kernels/denormals.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

std::uint64_t next_recording() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

template <class T> const Shape& Var<T>::shape() const {
  return tape().node(*this, "shape").shape;
}

template <class T> View<const T> Var<T>::value() const {
  const Node<T>& node = tape().node_with_value(*this, "value");
  return {node.value, node.shape};
}

template <class T> bool Var<T>::reached() const {
  return tape().pass_ != 0 && tape_->node(*this, "reached").written == tape_->pass_;
}

template <class T> View<const T> Var<T>::gradient() const {
  const Node<T>& node = tape().node(*this, "gradient");
  if (!reached()) {
    throw Error("gradient", "variable %", index_, " was not reached by a backward pass",
                node.requires_grad ? "" : ": it requires no gradient");
  }
  if (tape_->plan_.aliases_input_gradient(index_)) {
    throw Error("gradient", "variable %", index_,
                " has no gradient left, which that of its input has replaced: expected "
                "keep_gradients(true) before the backward pass");
  }
  return {node.gradient, node.shape};
}

template <class T> T Var<T>::item() const {
  const View<const T> view = value();
  if (view.size() != 1) throw Error("item", "a tensor ", view.shape(), ": expected one entry");
  return view[0];
}

template <class T> View<T> Var<T>::data() const {
  const Node<T>& node = tape().node(*this, "assign");
  if (!node.writable)
    throw Error("assign", "variable %", index_, " is computed or a parameter: expected an input");
  return {node.value, node.shape};
}

template <class T> void Var<T>::assign(View<const T> value) const {
  const View<T> target = data();
  if (value.shape() != target.shape()) {
    throw Error("assign", "a value ", value.shape(), " for variable %", index_, ": expected ",
                target.shape());
  }
  std::copy(value.begin(), value.end(), target.begin());
}

template <class T>
Tape<T>::Tape(Mode mode) : recording_(next_recording()), seed_(next_tape_seed()), mode_(mode) {}

template <class T> bool Tape<T>::training() const {
  if (mode_ == Mode::unstated) {
    throw Error("tape", "a recording without a mode", here(),
                ": expected Tape(Mode::training) or Tape(Mode::evaluation)");
  }
  return mode_ == Mode::training;
}

template <class T> void Tape<T>::clear() {
  nodes_.clear();
  inputs_.clear();
  leaves_.clear();
  memo_.clear();
  plan_.clear();
  bindings_.clear();
  values_.reset();
  names_.clear();
  scope_ = Names::none;
  recording_ = next_recording();
  pass_ = 0;
  ++seed_;
}

template <class T> Node<T>& Tape<T>::node(const Var<T>& var, std::string_view where) {
  if (!of_this_recording(var)) refuse(var, where);
  return nodes_[var.index_];
}

/// The same, to read its value.
template <class T> Node<T>& Tape<T>::node_with_value(const Var<T>& var, std::string_view where) {
  Node<T>& found = node(var, where);
  if (!plan_.has_valid_value(var.index_)) refuse(var, where);
  return found;
}

/// Says why a variable cannot be used.
template <class T> void Tape<T>::refuse(const Var<T>& var, std::string_view where) const {
  if (var.tape_ != this) throw Error(where, "a variable of another tape was used", here());
  if (!of_this_recording(var)) {
    throw Error(where, "a variable was used after its tape was cleared", here());
  }
  throw Error(where, "variable %", var.index_, " has no value left, which gradients have replaced",
              InLayer{path(nodes_[var.index_])}, ": expected replay() before");
}

template <class T> Var<T> Tape<T>::at(Index index) {
  const auto count = static_cast<Index>(nodes_.size());
  if (index < 0 || index >= count) {
    throw Error("tape", "position ", index, " of a tape of ", count, count == 1 ? " node" : " nodes",
                ": expected 0 or more, and less than that");
  }
  return {this, static_cast<std::uint32_t>(index), recording_};
}

template <class T>
Var<T> Tape<T>::record(const Op<T>& op, std::span<const Var<T>> inputs, const Attributes& attributes) {
  const auto count = static_cast<Index>(inputs.size());
  if (!op.arity.includes(count)) {
    throw Error(op.name, count, count == 1 ? " input" : " inputs", ": expected ", op.arity, here());
  }
  if (!op.attributes.fit(attributes)) {
    throw Error(op.name, "settings of another operation, or none: expected its own", here());
  }
  const auto first_input = static_cast<std::uint32_t>(inputs_.size());
  Node<T>& next = nodes_.emplace_back();
  try {
    next.op = &op;
    next.attributes = attributes;
    next.label = scope_;
    next.first_input = first_input;
    next.inputs = static_cast<std::uint32_t>(inputs.size());
    shapes_.resize(inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Node<T>& input = node_with_value(inputs[i], op.name);
      shapes_[i] = &input.shape;
      inputs_.push_back(inputs[i].index_);
      if (input.requires_grad && !op.no_derivative && !op.constant(static_cast<Index>(i)))
        next.requires_grad = true;
    }
    const Signature signature{shapes_, next.attributes};
    try {
      next.shape = op.shape(signature);
    } catch (const Error& error) {
      throw error.at(op.name, here());
    }
    next.value = values_.take(static_cast<std::size_t>(next.shape.size()));
    if (op.scratch != nullptr) next.scratch = values_.take(static_cast<std::size_t>(op.scratch(signature)));
    const kernels::FlushDenormals flush;
    compute(next);
  } catch (...) {  // shapes that do not fit, a label out of range: the tape stays as it was
    nodes_.pop_back();
    inputs_.resize(first_input);
    throw;
  }
  return last();
}

template <class T> inline void Tape<T>::compute(const Node<T>& node) {
  try {
    node.op->forward(Forward<T>(nodes_.data(), inputs_.data() + node.first_input, node, seed_));
  } catch (const Error& error) {
    throw error.at(node.op->name, {path(node)});
  }
  if (check_finite_) throw_not_finite_value(*this, node);
}

template <class T> void Tape<T>::replay(std::uint64_t seed) {
  follow_blocks("replay");
  const kernels::FlushDenormals flush;
  compute_all(seed);
  plan_.values_are_valid();
}

template <class T> void Tape<T>::compute_all(std::uint64_t seed) {
  seed_ = seed;
  for (const Node<T>& node : nodes_) {
    if (node.op != nullptr) compute(node);
  }
}

TAPER_INSTANTIATE_CLASS(Var)
TAPER_INSTANTIATE_CLASS(Tape)

}  // namespace taper

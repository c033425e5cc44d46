#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <taper/autodiff/arity.hpp>
#include <taper/autodiff/attributes.hpp>
#include <taper/autodiff/node.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/structure.hpp>
#include <taper/autodiff/tensor.hpp>

namespace taper {

namespace detail {
/// Throws the Error of an operation that reads an input it was not given.
[[noreturn]] void throw_no_input(std::string_view name, Index input, Index inputs);
}  // namespace detail

/// The shapes that go into an operation, for the rules that need no values.
struct Signature {
  std::span<const Shape* const> shapes;
  const Attributes& attributes;

  Index inputs() const { return static_cast<Index>(shapes.size()); }
  /// Throws Error for an input that there is not.
  const Shape& operator[](Index input) const {
    if (input < 0 || input >= inputs()) detail::throw_no_input("shape", input, inputs());
    return *shapes[static_cast<std::size_t>(input)];
  }
};

/// What an operation sees when it computes: inputs to read, one output to write, its scratch.
template <class T> class Forward {
 public:
  Forward(const Node<T>* nodes, const std::uint32_t* inputs, const Node<T>& node, std::uint64_t seed)
      : nodes_(nodes), inputs_(inputs), node_(node), seed_(seed) {}

  Index inputs() const { return node_.inputs; }
  /// Throws Error for an input that there is not.
  View<const T> input(Index i) const {
    if (i < 0 || i >= inputs()) detail::throw_no_input(node_.op->name, i, inputs());
    return {nodes_[inputs_[i]].value, nodes_[inputs_[i]].shape};
  }
  View<T> output() const { return {node_.value, node_.shape}; }
  /// Memory that is kept from the forward to the backward pass, as long as the record's `scratch` says.
  T* scratch() const { return node_.scratch; }
  const Attributes& attributes() const { return node_.attributes; }
  /// Random numbers of this operation in this pass: the same for the same seed of the tape.
  Rng random() const { return Rng(seed_, node_.first_input + 1); }

 private:
  const Node<T>* nodes_;
  const std::uint32_t* inputs_;
  const Node<T>& node_;
  std::uint64_t seed_;
};

/// Where an operation stores the gradient of one input. False when nothing requires it: it need not be
/// computed then, and what is written to `data` all the same goes to memory that nothing reads.
template <class T> struct Gradient {
  T* data = nullptr;
  /// True: add to what is there. False: store, nothing has been written yet in this pass.
  bool add = false;
  bool required = false;

  explicit operator bool() const { return required; }
};

/// What an operation sees in a backward pass: all values, the gradient of its output, and where to write the
/// gradients of its inputs.
template <class T> class Backward {
 public:
  /// `unread` has room for the gradient of every input that requires none.
  Backward(Node<T>* nodes, const std::uint32_t* inputs, const Node<T>& node, std::uint64_t pass, T* unread)
      : nodes_(nodes), inputs_(inputs), node_(node), pass_(pass), unread_(unread) {}

  Index inputs() const { return node_.inputs; }
  /// Throws Error for an input that there is not.
  View<const T> input(Index i) const {
    if (i < 0 || i >= inputs()) detail::throw_no_input(node_.op->name, i, inputs());
    return {nodes_[inputs_[i]].value, nodes_[inputs_[i]].shape};
  }
  View<const T> output() const { return {node_.value, node_.shape}; }
  View<const T> output_gradient() const { return {node_.gradient, node_.shape}; }
  T* scratch() const { return node_.scratch; }
  const Attributes& attributes() const { return node_.attributes; }

  /// Where to write the gradient of input i. It must be written in full before `gradient` is called for the
  /// next input: the same variable may be two inputs of one operation, and then the second adds to the first.
  Gradient<T> gradient(Index i) const {
    if (!requires_grad(i)) return {unread_};
    Node<T>& input = nodes_[inputs_[i]];
    const bool add = input.written == pass_;
    input.written = pass_;
    return {input.gradient, add, input.gradient != nullptr};
  }
  /// Whether the gradient of input i is required; unlike `gradient`, this commits to nothing.
  bool requires_grad(Index i) const {
    if (i < 0 || i >= inputs()) detail::throw_no_input(node_.op->name, i, inputs());
    return nodes_[inputs_[i]].requires_grad && !node_.op->constant(i);
  }

 private:
  Node<T>* nodes_;
  const std::uint32_t* inputs_;
  const Node<T>& node_;
  std::uint64_t pass_;
  T* unread_;
};

/// An example of an operation, on which its gradient and its structure are checked. The inputs are not close
/// to points where the operation is not smooth.
struct GradcheckCase {
  std::vector<Tensor<double>> inputs;
  Attributes attributes{};
};

/// All there is to know about an operation, in one place. `name`, `arity`, `shape`, `forward` and one of
/// `backward` and `no_derivative` must be given.
template <class T> struct OpRecord {
  /// As printed and as it appears in errors.
  std::string_view name;
  /// How many inputs it takes; recording it with another number is an Error.
  Arity arity;
  /// The shape of the output; throws Error when the inputs do not fit.
  Shape (*shape)(const Signature&) = nullptr;
  /// Writes every entry of the output.
  void (*forward)(const Forward<T>&) = nullptr;
  /// Writes the gradients of the inputs.
  void (*backward)(const Backward<T>&) = nullptr;
  /// States that the output has no derivative (a rounding, a position), so that `backward` is null.
  bool no_derivative = false;
  /// The settings that it has, by name. None when empty.
  AttributeFields attributes{};
  /// States how the axes of the output follow from those of the inputs; see Structure. Null for an operation
  /// of which nothing may be cut.
  void (*structure)(const Signature&, const Shape& output, Structure&) = nullptr;
  /// The settings with which to record it again when what is `kept` of inputs and output is all there is: for
  /// those that state literal axes. The signature is that before the cut.
  Attributes (*cut_attributes)(const Signature&, const Shape& output, const Kept& kept) = nullptr;
  /// Examples for the gradient check that runs over the registry.
  std::vector<GradcheckCase> (*gradcheck_cases)(Rng&) = nullptr;
  /// How many elements of scratch memory it needs. Null for none.
  Index (*scratch)(const Signature&) = nullptr;
  /// Multiply-adds of one forward pass, for summaries. Null counts as none.
  Index (*multiply_adds)(const Signature&) = nullptr;
  /// Bit i set: input i has no derivative (labels, positions).
  unsigned constants = 0;
  // Optional facts about `backward`, from which MemoryPlan saves memory when gradients are not kept.
  /// It may write the gradient of input 0 into the memory of the output's gradient: it reads each element of
  /// the one before it writes that element of the other, and never again.
  bool in_place = false;
  /// It reads the value of the output.
  bool backward_needs_output = true;
  /// Bit i set: it reads the value of input i, if at all, before it calls `gradient(i)`, and not after.
  unsigned reads_before_write = 0;
};

/// An operation. It enters itself into the registry as it is made and leaves as it goes, and it must
/// outlive the tapes that use it, so it is usually a constant at namespace scope:
///
///     template <class T>
///     const Op<T> cube{{.name = "cube",
///                       .arity = 1,
///                       .shape = [](const Signature& s) { return s[0]; },
///                       .forward = [](const Forward<T>& f) { ... },
///                       .backward = [](const Backward<T>& b) { ... }}};
///
///     Var<double> y = apply(cube<double>, {x});
///
/// Its name is its own: a second one of the same scalar is refused while the first one lives.
///
/// A record that is refused there ends the program before main, by std::terminate, which prints the Error.
template <class T> class Op : public OpRecord<T> {
 public:
  /// Throws Error for a record that lacks what it must have or contradicts itself, and for a name that is
  /// taken.
  explicit Op(const OpRecord<T>& record);
  ~Op();
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  /// Whether an input has no derivative.
  bool constant(Index input) const { return input < 32 && (this->constants >> input & 1u) != 0; }
  /// Whether the backward pass reads an input's value only before it writes the input's gradient.
  bool reads_input_before_write(Index input) const {
    return input < 32 && (this->reads_before_write >> input & 1u) != 0;
  }
  /// Every operation there is for this scalar, in the order in which they were made.
  static std::span<const Op* const> registry();
  /// The one of this name, or null.
  static const Op* find(std::string_view name);
};

}  // namespace taper

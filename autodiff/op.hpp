#pragma once

#include <array>
#include <cstdint>
#include <iosfwd>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <taper/autodiff/attributes.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/structure.hpp>
#include <taper/autodiff/tensor.hpp>

namespace taper {

template <class T> class Op;

namespace detail {
/// Throws the Error of an operation that reads an input it was not given.
[[noreturn]] void throw_no_input(std::string_view name, Index input, Index inputs);
}  // namespace detail

/// One line of the tape: which operation, on which inputs, giving what. A leaf has no operation: its value
/// is put there from outside. What every pass reads comes first, in one cache line.
template <class T> struct alignas(alignment) Node {
  Node() {}  // with `= default`, all of it would be cleared first

  const Op<T>* op = nullptr;
  T* value = nullptr;
  T* gradient = nullptr;
  std::uint64_t written = 0;      // the backward pass that last wrote its gradient
  std::uint32_t first_input = 0;  // where the tape lists the inputs
  std::uint32_t inputs = 0;       // how many there are
  bool differentiable = false;    // some leaf below it wants a gradient
  bool writable = false;          // a leaf whose value the caller may replace
  bool lends_gradient = false;    // the gradient of input 0 takes the place of its own
  bool read_late = false;         // an operation reads its value after having written its gradient
  std::uint32_t uses = 0;         // how many times it is an input
  Shape shape;                    // its size first
  T* scratch = nullptr;
  T* own_gradient = nullptr;  // its own memory for the gradient, where operations may lend theirs
  Attributes attributes;
  std::uint32_t label = 0;  // the module that recorded it, or a leaf's own name
};

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
  View<const T> input(Index i) const;
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

/// What an operation sees on the way back: all values, the gradient of its output, and where the gradients
/// of its inputs go.
template <class T> class Backward {
 public:
  /// `unread` has room for the gradient of every input that requires none.
  Backward(Node<T>* nodes, const std::uint32_t* inputs, const Node<T>& node, std::uint64_t pass, T* unread)
      : nodes_(nodes), inputs_(inputs), node_(node), pass_(pass), unread_(unread) {}

  Index inputs() const { return node_.inputs; }
  /// Throws Error for an input that there is not.
  View<const T> input(Index i) const;
  View<const T> output() const { return {node_.value, node_.shape}; }
  View<const T> output_gradient() const { return {node_.gradient, node_.shape}; }
  T* scratch() const { return node_.scratch; }
  const Attributes& attributes() const { return node_.attributes; }

  /// Asks for the gradient of input i, which must then be written in full before the next one is asked for:
  /// the same variable may be two inputs of one operation, and then the second adds to the first.
  Gradient<T> gradient(Index i) const {
    if (!wants(i)) return {unread_};
    Node<T>& input = nodes_[inputs_[i]];
    const bool add = input.written == pass_;
    input.written = pass_;
    return {input.gradient, add, input.gradient != nullptr};
  }
  /// Whether the gradient of input i is wanted, without taking it on.
  bool wants(Index i) const;

 private:
  Node<T>* nodes_;
  const std::uint32_t* inputs_;
  const Node<T>& node_;
  std::uint64_t pass_;
  T* unread_;
};

/// An example use of an operation, on which its gradient is checked. The inputs stay away from points where
/// the operation is not smooth.
struct Sample {
  std::vector<Tensor<double>> inputs;
  Attributes attributes{};
};

/// How many inputs an operation takes: a fixed number (2), a range ({2, 3}), or any number from one on
/// ({1, Arity::any}).
struct Arity {
  static constexpr Index any = std::numeric_limits<Index>::max();

  constexpr Arity() = default;
  constexpr Arity(Index count) : least(count), most(count) {}
  constexpr Arity(Index at_least, Index at_most) : least(at_least), most(at_most) {}

  constexpr bool includes(Index count) const { return least <= count && count <= most; }

  Index least = 0, most = 0;
};

/// "2 inputs", "2 to 3 inputs", "1 or more inputs".
std::ostream& operator<<(std::ostream& out, const Arity& arity);

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
  std::vector<Sample> (*samples)(Rng&) = nullptr;
  /// How many numbers of scratch it needs. Null for none.
  Index (*scratch)(const Signature&) = nullptr;
  /// Multiply-adds of one forward pass, for summaries. Null counts as none.
  Index (*multiply_adds)(const Signature&) = nullptr;
  /// Bit i set: input i has no derivative (labels, positions).
  unsigned constants = 0;
  /// Whether `backward` also works when the gradient of input 0 takes the place of the output's: it reads an
  /// entry of the one before it writes the other's, and never again. See Tape::keep_gradients.
  bool in_place = false;
  /// Whether `backward` never reads the value of the output. Of use with `in_place`, where input 0 is a leaf.
  bool forgets_output = false;
  /// Bit i set: `backward` reads the value of input i only before it asks for the gradient of i.
  unsigned read_before = 0;
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
  /// Whether an input's value is read only before its gradient is asked for.
  bool reads_before(Index input) const { return input < 32 && (this->read_before >> input & 1u) != 0; }
  /// Every operation there is for this scalar, in the order in which they were made.
  static std::span<const Op* const> registry();
  /// The one of this name, or null.
  static const Op* find(std::string_view name);
};

// Here, where an Op is complete.

template <class T> View<const T> Forward<T>::input(Index i) const {
  if (i < 0 || i >= inputs()) detail::throw_no_input(node_.op->name, i, inputs());
  return {nodes_[inputs_[i]].value, nodes_[inputs_[i]].shape};
}

template <class T> View<const T> Backward<T>::input(Index i) const {
  if (i < 0 || i >= inputs()) detail::throw_no_input(node_.op->name, i, inputs());
  return {nodes_[inputs_[i]].value, nodes_[inputs_[i]].shape};
}

template <class T> bool Backward<T>::wants(Index i) const {
  if (i < 0 || i >= inputs()) detail::throw_no_input(node_.op->name, i, inputs());
  return nodes_[inputs_[i]].differentiable && !node_.op->constant(i);
}

extern template class Op<float>;
extern template class Op<double>;

}  // namespace taper

#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <taper/autodiff/arena.hpp>
#include <taper/autodiff/block_bindings.hpp>
#include <taper/autodiff/memory_plan.hpp>
#include <taper/autodiff/names.hpp>
#include <taper/autodiff/op.hpp>

namespace taper {

template <class T> class Tape;

/// A value on a tape: a position and nothing else, copied freely. It belongs to one recording of its tape;
/// using it after the tape was cleared is an Error.
template <class T> class Var {
 public:
  Var() = default;

  Tape<T>& tape() const {
    if (tape_ == nullptr) throw Error("tape", "a variable that is on no tape was used");
    return *tape_;
  }
  const Shape& shape() const;
  /// The value as last computed. It stays readable until the tape is cleared; only
  /// Tape::value_and_gradient may overwrite it.
  View<const T> value() const;
  /// The gradient of the last backward pass. Throws Error if that pass did not reach this variable.
  View<const T> gradient() const;
  /// Whether the last backward pass reached this variable.
  bool reached() const;
  /// The value of a variable with one entry.
  T item() const;
  /// Gives an input, constant or variable of the tape a new value of the same shape, to be replayed with.
  void assign(View<const T> value) const;
  /// The memory of such a leaf, for writing a value in place.
  View<T> data() const;
  /// Its position on the tape.
  Index index() const { return static_cast<Index>(index_); }

 private:
  friend class Tape<T>;
  Var(Tape<T>* tape, std::uint32_t index, std::uint64_t recording)
      : tape_(tape), index_(index), recording_(static_cast<std::uint32_t>(recording)) {}

  Tape<T>* tape_ = nullptr;  // with the rest two words, so that it travels in registers
  std::uint32_t index_ = 0;
  std::uint32_t recording_ = 0;  // the last bits of its number
};

/// What a recording is for. Layers that compute something else in training than afterwards (dropout, batch
/// norm) ask for it; it belongs to the recording and not to the model, which several may read at a time.
enum class Mode { unstated, training, evaluation };

/// Whether a backward pass replaces the gradients of the parameters or adds to them.
enum class Accumulate { no, yes };

/// Records tensor operations while they are computed, and differentiates them in reverse (Griewank and
/// Walther, "Evaluating Derivatives", 2008, chapter 3; the textbook's "adjoint mode").
///
/// A node is one operation on whole tensors, and the nodes lie in a flat list in the order of computation.
/// A backward pass walks that list from the end. A recording can be replayed with new leaf values, which is
/// one walk from the front and no allocation, or cleared and recorded again, which keeps the memory.
template <class T> class Tape {
 public:
  explicit Tape(Mode mode = Mode::unstated);
  Tape(const Tape&) = delete;  // variables point here
  Tape& operator=(const Tape&) = delete;

  Mode mode() const { return mode_; }
  /// Whether this records training. Throws Error when the tape was made without a mode.
  bool training() const;

  /// A leaf whose values the caller provides before each replay; zero until then. It requires no gradient.
  Var<T> input(const Shape& shape, std::string_view name = "input");
  /// A leaf with a copy of these values that requires no gradient.
  Var<T> constant(View<const T> value, std::string_view name = "constant");
  /// The same for a scalar.
  Var<T> constant(T value) { return constant(View<const T>(&value, Shape{})); }
  /// A leaf with a copy of these values that requires a gradient.
  Var<T> variable(View<const T> value, std::string_view name = "variable");
  /// A leaf that lies in a block of parameters from position `offset` on. Each replay reads it there, and its
  /// gradient is stored in the block. When it moves to another block, the tape follows. It is bound once per
  /// recording: the same place gives the same variable. Throws Error for a place that goes beyond the block
  /// or overlaps another one.
  Var<T> parameter(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape,
                   std::string_view name = "parameter") {
    return parameter(block, offset, shape, names_.add(name, scope_));
  }
  Var<T> parameter(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape, Names::Id name);
  /// The same for a buffer, which is not trained (running statistics): it requires no gradient. After
  /// assign_later, this gives the variable that was assigned to it last.
  Var<T> buffer(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape, Names::Id name);

  /// Records that a buffer of this tape, as `buffer` gave it, is assigned the value of a variable of the same
  /// shape. update_buffers() does it, so that a replay alone computes the same again.
  void assign_later(Var<T> buffer, Var<T> value);
  /// Makes the assignments that assign_later has recorded, with the values of the last replay. Trainers call
  /// it after each step.
  void update_buffers();
  /// Positions of buffers, and of what they get.
  std::span<const std::pair<std::uint32_t, std::uint32_t>> assignments() const {
    return bindings_.assignments();
  }

  /// Computes an operation and appends it. Throws Error when the shapes do not fit or an input is not of
  /// this recording.
  Var<T> record(const Op<T>& op, std::span<const Var<T>> inputs, const Attributes& attributes = {});

  /// Computes everything again, from the present values of the leaves. Allocates nothing. Operations that
  /// draw random numbers draw new ones. Here and in the other passes, denormal numbers count as zero. Throws
  /// Error when parameters have been replaced since they were bound.
  void replay() { replay(seed_ + 1); }
  /// Replays with the random numbers of this seed, so that the result is a pure function of leaves and seed.
  void replay(std::uint64_t seed);
  /// The seed of the last recording or replay.
  std::uint64_t seed() const { return seed_; }

  /// Stores d(output)/d(leaf) in every leaf that requires a gradient; `output` has one entry. A pass replaces
  /// the gradients of the pass before; with Accumulate::yes, it adds to those of parameters.
  void backward(Var<T> output, Accumulate accumulate = Accumulate::no);
  /// The same for an output of any shape, contracted with `seed` of that shape: the gradient of
  /// sum(output * seed).
  void backward(Var<T> output, View<const T> seed, Accumulate accumulate = Accumulate::no);

  /// Replays, then stores the gradients of an output with one entry: the same as replay(seed) and
  /// backward(output). When gradients are not kept, this needs less memory traffic, as values may be computed
  /// where gradients are stored later (see MemoryPlan). It is an Error to read such a value, to record with
  /// it or to call backward() until the next replay().
  void value_and_gradient(Var<T> output, std::uint64_t seed);
  void value_and_gradient(Var<T> output) { value_and_gradient(output, seed_ + 1); }

  /// Whether every variable has its own gradient after a backward pass; true at first. If not, only leaves
  /// are sure to. Other gradients may share memory (see MemoryPlan), which saves time; to read one that was
  /// overwritten is an Error. This holds from the next pass on.
  void keep_gradients(bool on) { plan_.keep_gradients(on); }

  /// Finds all leaves again whose parameters or buffers have moved to other blocks, as all passes do first.
  /// Throws an Error of `where` when one was replaced.
  void follow_blocks(std::string_view where);

  /// Forgets the recording and keeps its memory. All variables of it become invalid.
  void clear();

  /// Whether to throw an Error that names the first operation whose value or gradient is not finite. Costs
  /// one more pass over every result; off at first.
  void check_finite(bool on) { check_finite_ = on; }

  /// Calls `make` once per recording and key, and returns the same variable after that.
  template <class Make> Var<T> memoize(std::uint64_t key, Make&& make) {
    for (const auto& [known, index] : memo_) {
      if (known == key) return at(index);
    }
    const Var<T> made = make();
    memo_.emplace_back(key, made.index_);
    return made;
  }

  /// While it lives, what is recorded carries this name (and those around it) in errors and print-outs.
  class Scope {
   public:
    Scope(Tape& tape, std::string_view name) : Scope(tape, tape.names_.add(name, tape.scope_)) {}
    /// With a name that the tape has already.
    Scope(Tape& tape, Names::Id name) : tape_(tape), outer_(tape.scope_) { tape.scope_ = name; }
    ~Scope() { tape_.scope_ = outer_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Tape& tape_;
    Names::Id outer_;
  };
  /// The name that what is recorded now carries.
  Names::Id scope() const { return scope_; }
  /// All names, those of objects too.
  Names& names() { return names_; }

  /// The list itself, for those who read structure off it (printing, summaries, shrinking).
  std::span<const Node<T>> nodes() const { return nodes_; }
  std::span<const std::uint32_t> inputs(const Node<T>& node) const {
    return std::span(inputs_).subspan(node.first_input, node.inputs);
  }
  /// The names around a node, outermost first, joined by dots.
  std::string path(const Node<T>& node) const { return names_.path(node.label); }

  /// The variable at a position. Throws Error when there is none.
  Var<T> at(Index index);

 private:
  friend class Var<T>;

  Node<T>& node(const Var<T>& var, std::string_view where);
  Node<T>& node_with_value(const Var<T>& var, std::string_view where);
  bool of_this_recording(const Var<T>& var) const {
    return var.tape_ == this && var.recording_ == static_cast<std::uint32_t>(recording_) &&
           var.index_ < nodes_.size();  // after 2^32 recordings, too
  }
  [[noreturn]] void refuse(const Var<T>& var, std::string_view where) const;
  Node<T>& append_leaf(const Shape& shape, Names::Id name, T* value);
  Var<T> last() { return at(static_cast<Index>(nodes_.size()) - 1); }
  InLayer here() const { return {names_.path(scope_)}; }
  void compute(const Node<T>& node);
  void compute_all(std::uint64_t seed);
  void require_scalar(Var<T> output);
  void require_gradient(Var<T> output);
  void start_pass(std::uint32_t output, Accumulate accumulate);
  void run_backward(std::uint32_t output, const T* seed);

  std::vector<Node<T>> nodes_;
  std::vector<std::uint32_t> inputs_;  // of all nodes, one after the other
  Arena<T> values_;
  MemoryPlan<T> plan_{nodes_, inputs_};                        // where gradients lie
  BlockBindings<T> bindings_{nodes_};                          // where parameters and buffers lie
  std::vector<std::uint32_t> leaves_;                          // those that require a gradient
  std::vector<std::pair<std::uint64_t, std::uint32_t>> memo_;  // key and variable
  std::vector<const Shape*> shapes_;                           // of the inputs being recorded
  Names names_;
  Names::Id scope_ = Names::none;
  std::uint64_t recording_;  // unique over all tapes
  std::uint64_t pass_ = 0;   // counts backward passes
  std::uint64_t seed_;
  Mode mode_;
  bool check_finite_ = false;
};

/// Records one operation on the tape that the inputs are on. Throws Error without inputs.
template <class T>
Var<T> apply(const Op<T>& op, std::initializer_list<Var<T>> inputs, const Attributes& attributes = {}) {
  if (inputs.size() == 0) throw Error(op.name, "no inputs: expected one at least, which says on what tape");
  return inputs.begin()->tape().record(op, std::span(inputs.begin(), inputs.size()), attributes);
}

static_assert(sizeof(Var<float>) == sizeof(void*) + 8);

}  // namespace taper

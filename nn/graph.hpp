#pragma once

#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include <taper/nn/module.hpp>

namespace taper::nn {

/// A model as data: the operations that it records, with their settings, and its parameters and buffers, free
/// of the batch size. It is a layer like any other, which runs, trains and is shrunk; as data, it can be
/// printed, compared, and saved with its architecture (io::save_model).
template <class T> class Graph : public Layer<T> {
 public:
  /// An input, a parameter, a buffer, or the result of an instruction, each counted from 0.
  struct Value {
    enum class Kind { input, parameter, buffer, result } kind = Kind::input;
    Index index = 0;
    friend bool operator==(const Value&, const Value&) = default;
  };
  /// One operation on values, of which results come from instructions before.
  struct Instruction {
    const Op<T>* op = nullptr;
    std::vector<Value> inputs{};
    Attributes attributes{};
    std::string path;  ///< of the layer that it comes from, for errors
  };
  /// What is recorded for training, or for evaluation.
  struct Program {
    std::vector<Instruction> instructions;
    std::vector<Value> outputs;
    /// Buffers, and what they get after each step of a training.
    std::vector<std::pair<Value, Value>> assignments;
  };
  struct Parts {
    std::vector<Shape> inputs;  ///< of one row
    std::vector<std::pair<std::string, Parameter<T>>> parameters;
    std::vector<std::pair<std::string, Buffer<T>>> buffers;
    Program evaluation, training;
  };

  /// A graph without anything.
  Graph() = default;
  /// Throws Error for a value that there is not, for names that are taken, and for instructions whose shapes
  /// do not fit. Nothing is computed.
  explicit Graph(Parts parts);
  /// The graph of a model, with copies of its parameters and buffers; constants become buffers named
  /// "constant0" and so on. `inputs` are shapes with rows first, however many. The model is recorded for
  /// training and for evaluation, and for two numbers of rows, which leaves the random generators as they
  /// were. Throws Error where it records another computation for another number of rows (other than a
  /// dimension of a reshape), for constants that depend on it, and for what it trains without naming it, such
  /// as a factor of a parameter that is used by itself.
  ///
  /// In training, the random numbers of an operation depend on how many operations a tape has before it: a
  /// graph draws those of the model unless the model records results that nothing uses, or binds a factorized
  /// parameter before an operation that draws and uses it only behind that.
  static Graph trace(const Module<T>& model, const std::vector<Shape>& inputs);

  const Parts& parts() const { return parts_; }
  /// The program that is recorded on a tape: that of its mode, where the two differ.
  const Program& program(const Tape<T>& tape) const;
  /// Records that program, and gives the results of all its instructions. Throws Error for inputs that are
  /// not rows of those of the graph.
  std::vector<Var<T>> record_all(std::span<const Var<T>> inputs) const;

  Var<T> forward(Var<T> x) const override;
  std::vector<Var<T>> record(std::span<const Var<T>> inputs) const override;
  void visit(Visitor<T>& v) const override;
  std::string describe() const override { return "Graph"; }

 private:
  Var<T> bind(const Value& value, std::span<const Var<T>> inputs, std::span<const Var<T>> results) const;
  std::vector<Var<T>> run(std::span<const Var<T>> inputs) const;
  void check(const Program& program) const;

  Parts parts_;
};

/// One line for each instruction: `%7 = affine(input0, 0.weight, 0.bias, activation=none)  0`.
template <class T> std::ostream& operator<<(std::ostream& out, const Graph<T>& graph);

/// The first difference between two graphs in their instructions, names or shapes, as "has ... where the
/// other has ..."; empty when there is none. Elements may differ.
template <class T> std::string difference(const Graph<T>& graph, const Graph<T>& other);

}  // namespace taper::nn

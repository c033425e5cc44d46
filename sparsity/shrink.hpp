#pragma once

#include <concepts>
#include <initializer_list>
#include <iosfwd>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/autodiff/structure.hpp>
#include <taper/nn/graph.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/optimizer_state.hpp>
#include <taper/sparsity/factorize.hpp>

namespace taper::sparsity {

/// Inputs that the network is used on, one tensor (rows first) for each of its inputs. They must outlive the
/// call.
template <class T> class Examples {
 public:
  Examples() = default;
  Examples(View<const T> x) : inputs_{x} {}
  Examples(const Tensor<T>& x) : inputs_{x.view()} {}
  Examples(std::initializer_list<View<const T>> inputs) : inputs_(inputs) {}
  Examples(std::vector<View<const T>> inputs) : inputs_(std::move(inputs)) {}

  bool empty() const { return inputs_.empty(); }
  const std::vector<View<const T>>& inputs() const { return inputs_; }

 private:
  std::vector<View<const T>> inputs_;
};

template <class T> struct ShrinkOptions {
  /// With them, units are judged and the result is compared at the scale of the data. Without, only what is
  /// exactly zero or constant goes.
  Examples<T> examples = {};
  /// A unit that adds no more than this to any output of a layer that reads it, relative to the unit that
  /// adds most, counts as constant: by how much its value varies on the examples times its weight. Factors
  /// that decay reach values far below it. 1e-5 with 32 rows of examples or more, else 0. What is constant on
  /// all examples counts as constant: they must show what can vary.
  std::optional<double> threshold = {};
  /// The largest difference on the examples that is still rounding, relative to how much an output varies;
  /// more is an Error.
  double tolerance = 1e-4;
  /// Whether entries that are frozen at values other than zero may go, and frozen biases take up constants.
  bool cut_frozen = false;
  /// Whether factorized weights stay factorized in the result, with their masks. Otherwise they are
  /// collapsed.
  bool keep_factors = false;
  /// Whether the result takes only the input columns that it reads, as the report lists them. A Sequential
  /// takes all, and selects them itself.
  bool drop_inputs = false;
};

/// What was cut, what was kept and why, and the proof that nothing else changed.
struct ShrinkReport {
  /// A parameter or buffer. `kept` are the indices that stay, of each axis.
  struct Row {
    std::string name;
    Shape before, after;
    KeptAxes kept;
    bool is_buffer = false;
  };
  std::vector<Row> rows;
  /// Why the units of an axis of a parameter or a buffer stay: a reason, and how many have it.
  struct Reason {
    std::string parameter;
    Index axis;
    std::string reason;
    Index count;
  };
  std::vector<Reason> reasons;
  /// What a Graph lost as a whole, as neither of its programs reads it: parameters (or their factors) and
  /// buffers.
  std::vector<std::pair<std::string, Shape>> removed;
  /// Biases that are new, to take up constants.
  std::vector<std::pair<std::string, Shape>> grown;
  /// Constants that biases took up, by layer: how many outputs changed.
  std::vector<std::pair<std::string, Index>> folded;
  /// Elements of all parameters, factorized ones counted as the weights that they compute.
  Index parameters_before = 0, parameters_after = 0;
  /// Of one row.
  Index multiply_adds_before = 0, multiply_adds_after = 0;
  /// Of every matrix, in the order of the model: its inputs, and at the end the outputs of the last.
  std::vector<Index> widths_before, widths_after;
  /// The columns of each input of the network that are still read.
  std::vector<std::vector<Index>> inputs;
  /// Over all examples: the largest difference of an output, and that relative to how much the output varies.
  double max_abs_difference = 0, max_relative_difference = 0;
  Index probes = 0;
};

std::ostream& operator<<(std::ostream& out, const ShrinkReport& report);

template <class M> struct Shrunk {
  M model;
  ShrinkReport report;
};

namespace shrinking {

/// The options with a threshold and examples, which lie in `standard` when none are given: 256 rows of
/// standard normal inputs, like those of a Graph or as wide as the model's first Select or matrix says.
template <class T>
ShrinkOptions<T> with_examples(const nn::Module<T>& model, const ShrinkOptions<T>& options,
                               std::vector<Tensor<T>>& standard);
/// Cuts a copy of `original`, whose operations can be recorded with other sizes or not. Both take options
/// with examples.
template <class T>
ShrinkReport cut(nn::Module<T>& copy, const nn::Module<T>& original, const ShrinkOptions<T>& options,
                 bool sizes_can_change = false);
/// Compares two models on the examples, of which the second takes the columns that the report lists, or all
/// of them. Throws Error where they differ by more than the tolerance.
template <class T>
void compare(const nn::Module<T>& original, const nn::Module<T>& small, const ShrinkOptions<T>& options,
             bool selected, ShrinkReport& report);
/// These columns of a matrix.
template <class T> Tensor<T> select_columns(View<const T> x, const std::vector<Index>& columns);
template <class T>
Shrunk<nn::Sequential<T>> shrink_chain(const nn::Sequential<T>& model, const ShrinkOptions<T>& options);
template <class T>
Shrunk<nn::Graph<T>> shrink_graph(const nn::Graph<T>& model, const ShrinkOptions<T>& options);

}  // namespace shrinking

/// Cuts any network to a smaller one of the same type that computes the same when it is recorded for
/// evaluation. A channel that nobody reads is deleted in every parameter and buffer that it is tied to; one
/// that does not depend on the inputs is folded into the biases of its readers, which get one where they have
/// none and can (nn::Module::bias_of), and is then unread. What is tied is read off the structure rules of
/// the recorded operations (OpRecord::structure), so that residual sums, concatenations and shared parts need
/// nothing. Masks come along. No random numbers are drawn, and what was shrunk can be shrunk again.
///
/// Both networks are compared on the examples, or on 256 rows of standard normal inputs without. Throws Error
/// when they differ by more than the tolerance or an output is not finite; for a threshold or tolerance that
/// is negative or not finite; for a threshold above 0 with fewer than 32 rows of examples; for examples of
/// different numbers of rows; where only the original can be recorded for training, as a part that evaluation
/// does not use does not fit any more; for a model whose copy shares
/// parameters with it; and without examples for one whose input width its first matrix does not tell.
///
/// In front of a Sequential, input columns that nobody reads are dropped by a Select, named "select". Sizes
/// that stand in the code of a model (the ends of a slice, the dimensions of a reshape) stay, and what
/// depends on them is kept whole; a Graph of the model (Graph::trace) has them as data, and is cut there,
/// too.
template <class M, class T = typename M::Scalar>
Shrunk<M> shrink(const M& model, const std::type_identity_t<ShrinkOptions<T>>& options = {}) {
  const KeepRandomState keep;
  if constexpr (std::same_as<M, nn::Sequential<T>>) {
    return shrinking::shrink_chain<T>(model, options);
  } else if constexpr (std::same_as<M, nn::Graph<T>>) {
    return shrinking::shrink_graph<T>(model, options);
  } else {
    std::vector<Tensor<T>> standard;
    const ShrinkOptions<T> with = shrinking::with_examples<T>(model, options, standard);
    Shrunk<M> result{model, {}};
    result.report = shrinking::cut<T>(result.model, model, with);
    shrinking::compare<T>(model, result.model, with, with.drop_inputs, result.report);
    return result;
  }
}

/// The state of an optimizer of the model, for one of the network that it was shrunk to: moments of what
/// stays, none for a bias that is new. The parameters must be the same: shrunk with keep_factors, or without
/// factors.
template <class T>
optim::OptimizerState<T> carry(const optim::OptimizerState<T>& state, const ShrinkReport& report) {
  optim::OptimizerState<T> result = state;
  for (const ShrinkReport::Row& row : report.rows) {
    if (row.is_buffer) continue;
    for (Index axis = 0; axis < row.before.rank(); ++axis) {
      result.cut(row.name, axis, row.kept[static_cast<std::size_t>(axis)]);
    }
  }
  for (const auto& [name, shape] : report.removed) {
    if (result.has(name)) result.remove(name);
  }
  for (const auto& [name, shape] : report.grown) result.add(name, shape);
  return result;
}

}  // namespace taper::sparsity

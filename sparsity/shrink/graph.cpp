#include <algorithm>
#include <optional>

#include <taper/instantiate.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/sparsity/shrink/axes.hpp>
#include <taper/sparsity/shrink/graph_parts.hpp>

namespace taper::sparsity::shrinking {
namespace {

/// A graph recorded before anything of it was cut, and what stays of each tensor then, as follows from what
/// was cut of its inputs, parameters and buffers.
template <class T> class BeforeTheCut {
 public:
  BeforeTheCut(const nn::Graph<T>& graph, Mode mode, const ShrinkReport& report, bool inputs_are_cut)
      : tape_(mode) {
    const nn::ModuleScope<T> scope(tape_, graph);
    std::vector<Var<T>> inputs;
    for (const Shape& shape : graph.parts().inputs)
      inputs.push_back(tape_.input(shape.with(0, 2)));  // one row is too few for statistics
    results_ = graph.record_all(inputs);
    std::vector<std::pair<std::string, Var<T>>> leaves;
    graph.for_parameters([&](const std::string& name, const nn::Parameter<T>& parameter) {
      parameter.for_leaves(name, [&](const std::string& path, const nn::Parameter<T>& leaf) {
        leaves.emplace_back(path, leaf.bind(tape_));
      });
    });
    graph.for_buffers([&](const std::string& name, const nn::Buffer<T>& buffer) {
      leaves.emplace_back(name, buffer.bind(tape_));
    });
    classes_.emplace(tape_, true);
    gone_.resize(classes_->count());
    for (const auto& [name, leaf] : leaves) {
      for (const ShrinkReport::Row& row : report.rows) {
        if (row.name != name) continue;
        for (Index axis = 0; axis < row.before.rank(); ++axis) {
          note(leaf, axis, row.kept[static_cast<std::size_t>(axis)]);
        }
      }
    }
    for (std::size_t k = 0; k < inputs.size() && inputs_are_cut; ++k) {
      if (inputs[k].shape().rank() == 2) note(inputs[k], 1, report.inputs[k]);
    }
  }

  /// The settings of an instruction of the program, for what stays. None where a size of the output that
  /// they give would be zero: then nothing says how long an open dimension is.
  std::optional<Attributes> attributes(std::size_t instruction) {
    const Node<T>& node = tape_.nodes()[static_cast<std::size_t>(results_[instruction].index())];
    const Structure rule = structure_of(tape_, node);
    if (rule.literal_axes.empty() || node.op->cut_attributes == nullptr) return node.attributes;
    std::vector<const Shape*> shapes;
    Kept kept;
    for (const std::uint32_t input : tape_.inputs(node)) {
      shapes.push_back(&tape_.nodes()[input].shape);
      kept.inputs.push_back(of(input));
    }
    kept.output = of(static_cast<std::size_t>(results_[instruction].index()));
    for (const Index axis : rule.literal_axes) {
      if (kept.output[static_cast<std::size_t>(axis)].empty() && node.shape[axis] > 0) return {};
    }
    return node.op->cut_attributes(Signature{shapes, node.attributes}, node.shape, kept);
  }

 private:
  void note(Var<T> leaf, Index axis, const std::vector<Index>& kept) {
    for (Index i = 0; i < leaf.shape()[axis]; ++i) {
      if (!std::ranges::binary_search(kept, i))
        gone_[classes_->of(static_cast<std::size_t>(leaf.index()), axis, i)] = 1;
    }
  }
  KeptAxes of(std::size_t node) {
    KeptAxes kept;
    const Shape& shape = tape_.nodes()[node].shape;
    for (Index axis = 0; axis < shape.rank(); ++axis) {
      for (Index i = 0; i < shape[axis]; ++i) {
        if (gone_[classes_->of(node, axis, i)] == 0) kept[static_cast<std::size_t>(axis)].push_back(i);
      }
    }
    return kept;
  }

  Tape<T> tape_;
  std::vector<Var<T>> results_;
  std::optional<AxisClasses<T>> classes_;
  std::vector<char> gone_;  // of each class
};

/// Whether the instructions of a graph whose leaves were cut could be given the sizes that fit.
template <class T>
bool fit_instructions(nn::Graph<T>& cut, const nn::Graph<T>& before, const ShrinkReport& report,
                      bool inputs_are_cut) {
  typename nn::Graph<T>::Parts parts = cut.parts();
  for (const Mode mode : {Mode::evaluation, Mode::training}) {
    auto& program = mode == Mode::training ? parts.training : parts.evaluation;
    BeforeTheCut<T> recorded(before, mode, report, inputs_are_cut);
    for (std::size_t k = 0; k < program.instructions.size(); ++k) {
      const std::optional<Attributes> attributes = recorded.attributes(k);
      if (!attributes.has_value()) return false;
      program.instructions[k].attributes = *attributes;
    }
  }
  for (std::size_t k = 0; k < parts.inputs.size() && inputs_are_cut; ++k) {
    if (parts.inputs[k].rank() == 2)
      parts.inputs[k] = parts.inputs[k].with(1, static_cast<Index>(report.inputs[k].size()));
  }
  try {
    cut = nn::Graph<T>(std::move(parts));
  } catch (const Error& error) {
    throw Error("shrink", "the smaller network cannot be recorded for training (", error.what(),
                "): expected a model that uses all its parts in evaluation");
  }
  return true;
}

}  // namespace

template <class T>
Shrunk<nn::Graph<T>> shrink_graph(const nn::Graph<T>& model, const ShrinkOptions<T>& options) {
  std::vector<Tensor<T>> standard;
  const ShrinkOptions<T> with = with_examples<T>(model, options, standard);
  ShrinkReport unread;
  const OpenBiases<T> biases(without_unread(model, unread));
  nn::Graph<T> before = biases.graph();
  if (!with.keep_factors) collapse(before);
  Shrunk<nn::Graph<T>> result{biases.graph(), {}};
  result.report = cut<T>(result.model, model, with, true);
  if (!fit_instructions(result.model, before, result.report, with.drop_inputs)) {
    result.model = biases.graph();
    result.report = cut<T>(result.model, model, with, false);
    fit_instructions(result.model, before, result.report, with.drop_inputs);
  }
  biases.close(result.model, result.report);
  result.report.parameters_before += unread.parameters_before;
  result.report.removed = unread.removed;
  compare<T>(model, result.model, with, with.drop_inputs, result.report);
  return result;
}

#define TAPER_INSTANTIATE(T) \
  template Shrunk<nn::Graph<T>> shrink_graph(const nn::Graph<T>&, const ShrinkOptions<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity::shrinking

#include <cmath>
#include <map>
#include <set>

#include <taper/instantiate.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/sparsity/shrink/analysis.hpp>
#include <taper/sparsity/shrink/biases.hpp>
#include <taper/sparsity/shrink/recording.hpp>

namespace taper::sparsity::shrinking {
namespace {

void require_setting(const char* name, double value) {
  if (!(std::isfinite(value) && value >= 0))
    throw Error("shrink", name, " ", value, ": expected a finite number, 0 or more");
}

/// The indices of a tensor that a condition holds for.
template <class F> KeptAxes kept_axes(const Shape& shape, const F& stays) {
  KeptAxes kept;
  for (Index axis = 0; axis < shape.rank(); ++axis) {
    for (Index i = 0; i < shape[axis]; ++i) {
      if (stays(axis, i)) kept[static_cast<std::size_t>(axis)].push_back(i);
    }
  }
  return kept;
}

template <class T> Index elements(const nn::Module<T>& model) {
  Index total = 0;
  model.for_parameters(
      [&](const std::string&, const nn::Parameter<T>& parameter) { total += parameter.shape().size(); });
  return total;
}

template <class T> std::vector<Index> widths(const nn::Module<T>& model) {
  std::vector<Index> result;
  Index last = -1;
  model.for_parameters([&](const std::string&, const nn::Parameter<T>& parameter) {
    if (parameter.shape().rank() < 2) return;
    result.push_back(parameter.shape()[1]);
    last = parameter.shape()[0];
  });
  if (last >= 0) result.push_back(last);
  return result;
}

/// Throws Error where the copy of a model has parts that are the model's own.
template <class T> void require_own_parts(const nn::Module<T>& copy, const nn::Module<T>& original) {
  std::set<const void*> known;
  original.for_parameters(
      [&](const std::string&, const nn::Parameter<T>& parameter) { known.insert(&parameter); });
  copy.for_parameters([&](const std::string& name, const nn::Parameter<T>& parameter) {
    if (!known.contains(&parameter)) return;
    throw Error("shrink", "'", name,
                "' is shared by the model and its copy: expected a model that owns its parts");
  });
  original.for_buffers([&](const std::string&, const nn::Buffer<T>& buffer) { known.insert(&buffer); });
  copy.for_buffers([&](const std::string& name, const nn::Buffer<T>& buffer) {
    if (!known.contains(&buffer)) return;
    throw Error("shrink", "'", name,
                "' is shared by the model and its copy: expected a model that owns its parts");
  });
}

/// Pins what must stay whatever is read.
template <class T>
void pin(const Recording<T>& recording, const ShrinkOptions<T>& options, bool drop_inputs,
         AxisClasses<T>& classes) {
  const auto nodes = recording.tape.nodes();
  std::set<std::size_t> known;
  const auto pin_all = [&](std::size_t node, const char* reason) {
    for (Index axis = 0; axis < nodes[node].shape.rank(); ++axis) classes.pin(node, axis, reason);
  };
  for (const std::size_t input : recording.inputs) {
    known.insert(input);
    const Shape& shape = nodes[input].shape;
    for (Index axis = 0; axis < shape.rank(); ++axis) {
      if (axis != 1 || shape.rank() != 2 || !drop_inputs) classes.pin(input, axis, "an input of the network");
    }
  }
  for (const Leaf<T>& weight : recording.weights) {
    const Shape& shape = weight.parameter->shape();
    const auto* const map = weight.parameter->parametrization();
    if (map != nullptr && !map->can_be_cut())
      pin_all(weight.node, "computed by a parametrization that is whole");
    if (options.cut_frozen) continue;
    const Mask mask = weight.parameter->mask();
    if (mask.all_free()) continue;
    const Tensor<T> value = weight.parameter->materialize();
    for (Index i = 0; i < shape.size(); ++i) {
      if (mask.is_free(i) || value[i] == 0) continue;
      for (Index axis = shape.rank(), rest = i; axis-- > 0; rest /= shape[axis]) {
        classes.pin(weight.node, axis, rest % shape[axis], "frozen");
      }
    }
  }
  for (const Leaf<T>& leaf : recording.leaves) known.insert(leaf.node);
  for (const auto& [name, place] : recording.buffers) known.insert(place.second);
  // A parametrization that can be cut makes its constants anew.
  std::set<std::string> cuttable;
  for (const Leaf<T>& weight : recording.weights) {
    const auto* const map = weight.parameter->parametrization();
    if (map != nullptr && map->can_be_cut()) cuttable.insert(weight.name);
  }
  const auto of_parametrization = [&](std::size_t node) {
    const std::string path = recording.tape.path(nodes[node]);
    return path.find('.') != path.npos && cuttable.contains(path.substr(0, path.rfind('.')));
  };
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    if (nodes[node].op != nullptr) continue;
    if (!known.contains(node) && !of_parametrization(node)) pin_all(node, "a constant in the code");
    if (node >= recording.recorded) pin_all(node, "not used in evaluation");
  }
}

template <class T>
void note_reasons(const std::string& name, std::size_t node, const KeptAxes& kept, Analysis<T>& analysis,
                  ShrinkReport& report) {
  for (std::size_t axis = 0; axis < kept.size(); ++axis) {
    std::map<std::string, Index> counts;
    for (const Index i : kept[axis]) ++counts[analysis.reason(node, static_cast<Index>(axis), i)];
    for (const auto& [reason, count] : counts) {
      report.reasons.push_back({name, static_cast<Index>(axis), reason, count});
    }
  }
}

bool whole(const Shape& shape, const KeptAxes& kept) {
  for (Index axis = 0; axis < shape.rank(); ++axis) {
    if (static_cast<Index>(kept[static_cast<std::size_t>(axis)].size()) != shape[axis]) return false;
  }
  return true;
}

/// Adds the gates of rows to a list: such a gate has one column, whatever becomes of those of its factor, and
/// so have its own factors.
template <class T>
void note_gates_of_rows(const nn::Parameter<T>& parameter, bool is_gate,
                        std::set<const nn::Parameter<T>*>& list) {
  if (is_gate) list.insert(&parameter);
  const auto* const product = dynamic_cast<const nn::Hadamard<T>*>(parameter.parametrization());
  const bool of_rows = product != nullptr && product->groups().axis() == 0;
  for (std::size_t d = 0; d < parameter.factors().size(); ++d)
    note_gates_of_rows(parameter.factors()[d], is_gate || (of_rows && d > 0), list);
}

}  // namespace

template <class T>
ShrinkReport cut(nn::Module<T>& copy, const nn::Module<T>& original, const ShrinkOptions<T>& options,
                 bool sizes_can_change) {
  const double threshold = options.threshold.value();
  require_setting("threshold", threshold);
  require_setting("tolerance", options.tolerance);
  for (const View<const T>& x : options.examples.inputs()) {
    if (x.shape().rank() < 1 || x.shape()[0] == 0)
      throw Error("shrink", "examples ", x.shape(), ": expected rows");
    const Index rows = options.examples.inputs().front().shape()[0];
    if (x.shape()[0] != rows)
      throw Error("shrink", "examples ", x.shape(), ": expected ", rows, " rows, as the first have");
  }
  const Index rows_given =
      options.examples.inputs().empty() ? 0 : options.examples.inputs().front().shape()[0];
  if (threshold > 0 && rows_given < least_rows) {
    throw Error("shrink", "a threshold ", threshold, " with ", rows_given, " rows of examples: expected ",
                least_rows, " at least, which show what varies, or a threshold of 0");
  }
  require_own_parts(copy, original);
  if (!options.keep_factors) collapse(copy);

  ShrinkReport report;
  report.parameters_before = elements(copy);
  report.widths_before = widths(copy);
  const std::vector<View<const T>>& examples = options.examples.inputs();
  Recording<T> recording(copy, examples);
  const Tape<T>& tape = recording.tape;
  AxisClasses<T> classes(tape, sizes_can_change);
  pin(recording, options, options.drop_inputs, classes);
  Biases<T> biases(copy, recording, options.cut_frozen);
  Ranges<T> ranges(tape, classes);
  recording.for_batches(examples, [&] { ranges.add(); });
  Analysis<T> analysis(tape, classes, ranges, recording.inputs, recording.outputs,
                       {threshold, biases.can_fold(classes)});
  const Index rows = examples.empty() ? 0 : tape.nodes()[recording.inputs[0]].shape[0];
  report.multiply_adds_before = multiply_adds(tape, rows);

  // All is decided before anything moves.
  const auto stays = [&](std::size_t node) {
    return kept_axes(tape.nodes()[node].shape,
                     [&](Index axis, Index i) { return analysis.stays(node, axis, i); });
  };
  for (const std::size_t input : recording.inputs) {
    const Shape& shape = tape.nodes()[input].shape;
    report.inputs.push_back(stays(input)[static_cast<std::size_t>(std::max<Index>(shape.rank() - 1, 0))]);
  }
  std::map<const nn::Parameter<T>*, KeptAxes> kept;
  std::set<const nn::Parameter<T>*> gates;
  for (const Leaf<T>& weight : recording.weights) {
    kept[weight.parameter] = stays(weight.node);
    note_gates_of_rows<T>(*weight.parameter, false, gates);
  }
  const auto stays_of = [&](const Leaf<T>& factor) {
    KeptAxes axes = stays(factor.node);
    const Index rank = gates.contains(factor.parameter) ? factor.parameter->shape().rank() : 0;
    for (Index axis = 1; axis < rank; ++axis) axes[static_cast<std::size_t>(axis)] = {0};
    return axes;
  };
  for (const Leaf<T>& factor : recording.computed_factors) kept[factor.parameter] = stays_of(factor);
  for (const Leaf<T>& leaf : recording.leaves) {
    const KeptAxes& axes = kept[leaf.parameter] = stays_of(leaf);
    report.rows.push_back({leaf.name, leaf.parameter->shape(), {}, axes, false});
    note_reasons(leaf.name, leaf.node, axes, analysis, report);
  }
  for (std::size_t node = 0; node < tape.nodes().size(); ++node) {
    const std::vector<double> change =
        tape.nodes()[node].op == nullptr ? std::vector<double>{} : analysis.folded(node);
    if (change.empty()) continue;
    report.folded.emplace_back(tape.path(tape.nodes()[node]),
                               std::ranges::count_if(change, [](double c) { return c != 0; }));
    biases.add(classes.structure(node), node, change);
  }
  for (const auto& [bias, node] : biases.grown()) {
    const Index axis = classes.structure(node).bias_axis;
    for (Index o = 0; o < tape.nodes()[node].shape[axis]; ++o) {
      if (analysis.stays(node, axis, o)) kept[bias][0].push_back(o);
    }
    bias->cut([&](const nn::Parameter<T>& parameter) { return kept.at(&parameter); });
  }
  for (const Leaf<T>& weight : recording.weights) {
    if (whole(weight.parameter->shape(), kept[weight.parameter])) continue;
    weight.parameter->cut([&](const nn::Parameter<T>& parameter) { return kept.at(&parameter); });
  }
  for (const auto& [name, place] : recording.buffers) {
    const auto& [buffer, node] = place;
    const KeptAxes axes = stays(node);
    note_reasons(name, node, axes, analysis, report);
    ShrinkReport::Row& row =
        report.rows.emplace_back(ShrinkReport::Row{name, buffer->shape(), {}, axes, true});
    buffer->cut(axes);
    row.after = buffer->shape();
  }
  std::map<std::string, Shape> after;
  copy.for_parameters([&](const std::string& name, const nn::Parameter<T>& parameter) {
    parameter.for_leaves(
        name, [&](const std::string& path, const nn::Parameter<T>& leaf) { after[path] = leaf.shape(); });
  });
  for (ShrinkReport::Row& row : report.rows) {
    if (after.contains(row.name)) row.after = after[row.name];
  }
  for (const ShrinkReport::Row& row : report.rows) after.erase(row.name);
  for (const auto& [name, shape] : after) report.grown.emplace_back(name, shape);
  report.parameters_after = elements(copy);
  report.widths_after = widths(copy);
  return report;
}

#define TAPER_INSTANTIATE(T) \
  template ShrinkReport cut(nn::Module<T>&, const nn::Module<T>&, const ShrinkOptions<T>&, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity::shrinking

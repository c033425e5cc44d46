#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include <taper/autodiff/random.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/sparsity/shrink/analysis.hpp>

namespace taper::sparsity::shrinking {
namespace {

constexpr Index most_rows = 1024;   // that are recorded to look at
constexpr Index random_rows = 256;  // without examples
constexpr Index least_rows = 32;    // for a threshold

/// A parameter or a factor of one, where it stands on the tape.
template <class T> struct Leaf {
  std::string name;
  nn::Parameter<T>* parameter;
  std::size_t node;
};

/// A model recorded on inputs, with everything of it that can be cut.
template <class T> struct Recording {
  Tape<T> tape{Mode::evaluation};
  std::vector<std::size_t> inputs, outputs;
  std::vector<Leaf<T>> weights;           // as they are computed with
  std::vector<Leaf<T>> leaves;            // as they are stored
  std::vector<Leaf<T>> computed_factors;  // factors that have factors themselves
  std::vector<std::pair<std::string, std::pair<nn::Buffer<T>*, std::size_t>>> buffers;
  std::size_t recorded = 0;  // nodes; what stands behind is not used
  std::vector<Index> uses;   // of each node

  /// Calls f with the values of all examples on the tape, batch by batch.
  template <class F> void for_batches(const std::vector<View<const T>>& examples, const F& f) {
    const Index rows = examples.front().shape()[0];
    for (Index begin = 0; begin < rows; begin += most_rows) {
      load(examples, begin);
      tape.replay();
      f();
    }
  }

  /// Puts examples from row `begin` on into the inputs; what is left of the last batch is filled from the
  /// first row on.
  void load(const std::vector<View<const T>>& examples, Index begin) {
    for (std::size_t k = 0; k < examples.size(); ++k) {
      const View<const T>& x = examples[k];
      const View<T> input = tape.at(static_cast<Index>(inputs[k])).data();
      const Index rows = x.shape()[0], width = x.size() / rows;
      for (Index r = 0; r < input.shape()[0]; ++r) {
        std::copy_n(x.data() + (begin + r) % rows * width, width, input.data() + r * width);
      }
    }
  }

  Recording(nn::Module<T>& model, const std::vector<View<const T>>& examples) {
    const nn::ModuleScope<T> scope(tape, model);
    std::vector<Var<T>> given;
    for (const View<const T>& x : examples) {
      given.push_back(tape.input(x.shape().with(0, std::min(x.shape()[0], most_rows))));
      inputs.push_back(static_cast<std::size_t>(given.back().index()));
    }
    load(examples, 0);
    for (const Var<T>& output : model.record(given))
      outputs.push_back(static_cast<std::size_t>(output.index()));
    recorded = tape.nodes().size();
    const auto position = [&](const nn::Parameter<T>& parameter) {
      return static_cast<std::size_t>(parameter.bind(tape).index());
    };
    model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
      weights.push_back({name, &parameter, position(parameter)});
      parameter.for_leaves(name, [&](const std::string& path, nn::Parameter<T>& leaf) {
        leaves.push_back({path, &leaf, position(leaf)});
      });
      const auto note_factors = [&](nn::Parameter<T>& computed, const auto& again) -> void {
        for (nn::Parameter<T>& factor : computed.factors()) {
          if (factor.parametrization() == nullptr) continue;
          computed_factors.push_back({name, &factor, position(factor)});
          again(factor, again);
        }
      };
      note_factors(parameter, note_factors);
    });
    model.for_buffers([&](const std::string& name, nn::Buffer<T>& buffer) {
      buffers.push_back({name, {&buffer, static_cast<std::size_t>(buffer.bind(tape).index())}});
    });
    uses.resize(tape.nodes().size());
    for (const Node<T>& node : tape.nodes()) {
      for (const std::uint32_t input : tape.inputs(node)) ++uses[input];
    }
  }
};

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
    if (parameter.shape().rank() != 2) return;
    result.push_back(parameter.shape()[1]);
    last = parameter.shape()[0];
  });
  if (last >= 0) result.push_back(last);
  return result;
}

template <class T> Index multiply_adds(const Tape<T>& tape, Index rows) {
  Index total = 0;
  for (const Node<T>& node : tape.nodes()) {
    if (node.op == nullptr || node.op->multiply_adds == nullptr) continue;
    std::vector<const Shape*> shapes;
    for (const std::uint32_t input : tape.inputs(node)) shapes.push_back(&tape.nodes()[input].shape);
    total += node.op->multiply_adds(Signature{shapes, node.attributes});
  }
  return rows == 0 ? 0 : total / rows;
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

/// Where the constants go that are folded: a bias that is there, or the place for one.
template <class T> class Biases {
 public:
  Biases(nn::Module<T>& model, const Recording<T>& recording, bool cut_frozen)
      : recording_(recording), cut_frozen_(cut_frozen) {
    for (const Leaf<T>& weight : recording.weights) {
      if (weight.parameter->parametrization() == nullptr) there_.emplace(weight.node, weight.parameter);
    }
    std::map<const nn::Parameter<T>*, std::size_t> nodes;
    for (const Leaf<T>& weight : recording.weights) nodes.emplace(weight.parameter, weight.node);
    model.for_modules([&](const std::string&, nn::Module<T>& module) {
      OwnParameters own;
      module.visit(own);
      for (const nn::Parameter<T>* const weight : own.found) {
        const std::optional<nn::Parameter<T>>* const place = module.bias_of(*weight);
        // What a model that may be changed shows of itself may be changed.
        if (place != nullptr && !place->has_value())
          open_.emplace(nodes.at(weight), const_cast<std::optional<nn::Parameter<T>>*>(place));
      }
    });
  }

  std::function<bool(std::size_t, Index)> can_fold(const AxisClasses<T>& classes) const {
    return [this, &classes](std::size_t node, Index output) {
      return can_fold(classes.structure(node), node, output);
    };
  }
  bool can_fold(const Structure& rule, std::size_t node, Index output) const {
    if (rule.bias < 0) return false;
    if (const nn::Parameter<T>* const bias = given(rule, node)) {
      return output < bias->shape().size() && (cut_frozen_ || bias->mask().is_free(output));
    }
    return open(rule, node) != nullptr;
  }
  /// Adds constants to the bias of an operation; says whether that was a new one.
  void add(const Structure& rule, std::size_t node, const std::vector<double>& change) {
    nn::Parameter<T>* bias = given(rule, node);
    if (bias == nullptr) {
      std::optional<nn::Parameter<T>>* const place = open(rule, node);
      bias = &place->emplace(Shape{static_cast<Index>(change.size())});
      grown_.emplace_back(bias, node);
    }
    for (std::size_t o = 0; o < change.size(); ++o) {
      T& entry = bias->value()[static_cast<Index>(o)];
      entry = static_cast<T>(static_cast<double>(entry) + change[o]);
    }
  }
  /// The biases that `add` has made, and for which operations.
  const std::vector<std::pair<nn::Parameter<T>*, std::size_t>>& grown() const { return grown_; }

 private:
  /// The parameters of a module itself, without those of the modules in it.
  struct OwnParameters : nn::Visitor<T> {
    std::vector<const nn::Parameter<T>*> found;
    void operator()(std::string_view, const nn::Parameter<T>& parameter) override {
      found.push_back(&parameter);
    }
    void operator()(std::string_view, const nn::Buffer<T>&) override {}
    void operator()(std::string_view, const nn::Module<T>&) override {}
  };

  bool missing(const Structure& rule, std::size_t node) const {
    return rule.bias >= static_cast<Index>(recording_.tape.nodes()[node].inputs);
  }
  nn::Parameter<T>* given(const Structure& rule, std::size_t node) const {
    if (missing(rule, node)) return nullptr;
    const std::size_t bias =
        recording_.tape.inputs(recording_.tape.nodes()[node])[static_cast<std::size_t>(rule.bias)];
    const auto known = there_.find(bias);
    return known == there_.end() || recording_.uses[bias] != 1 ? nullptr : known->second;
  }
  std::optional<nn::Parameter<T>>* open(const Structure& rule, std::size_t node) const {
    if (!missing(rule, node)) return nullptr;
    for (const std::uint32_t input : recording_.tape.inputs(recording_.tape.nodes()[node])) {
      const auto place = open_.find(input);
      if (place != open_.end() && recording_.uses[input] == 1) return place->second;
    }
    return nullptr;
  }

  const Recording<T>& recording_;
  bool cut_frozen_;
  std::map<std::size_t, nn::Parameter<T>*> there_;                // plain parameters, by position
  std::map<std::size_t, std::optional<nn::Parameter<T>>*> open_;  // by the position of their weight
  std::vector<std::pair<nn::Parameter<T>*, std::size_t>> grown_;
};

template <class T>
void note_reasons(const Leaf<T>& leaf, const KeptAxes& kept, Analysis<T>& analysis, ShrinkReport& report) {
  for (std::size_t axis = 0; axis < kept.size(); ++axis) {
    std::map<std::string, Index> counts;
    for (const Index i : kept[axis]) ++counts[analysis.reason(leaf.node, static_cast<Index>(axis), i)];
    for (const auto& [reason, count] : counts) {
      report.reasons.push_back({leaf.name, static_cast<Index>(axis), reason, count});
    }
  }
}

bool whole(const Shape& shape, const KeptAxes& kept) {
  for (Index axis = 0; axis < shape.rank(); ++axis) {
    if (static_cast<Index>(kept[static_cast<std::size_t>(axis)].size()) != shape[axis]) return false;
  }
  return true;
}

}  // namespace

template <class T>
ShrinkOptions<T> with_examples(const nn::Module<T>& model, const ShrinkOptions<T>& options,
                               Tensor<T>& standard) {
  ShrinkOptions<T> result = options;
  if (!options.examples.empty()) {
    const Shape& shape = options.examples.inputs().front().shape();
    const bool enough = shape.rank() > 0 && shape[0] >= least_rows;
    result.threshold = options.threshold.value_or(enough ? 1e-5 : 0);
    return result;
  }
  result.threshold = options.threshold.value_or(0);
  if (result.threshold > 0) {
    throw Error(
        "shrink", "a threshold ", *result.threshold,
        " without examples, whose scale decides what is small: expected examples, or a threshold of 0");
  }
  Index width = -1;
  const auto* const chain = dynamic_cast<const nn::Sequential<T>*>(&model);
  const auto* const select =
      chain != nullptr && chain->size() > 0 ? dynamic_cast<const nn::Select<T>*>(&(*chain)[0]) : nullptr;
  if (select != nullptr) width = select->width();
  model.for_parameters([&](const std::string&, const nn::Parameter<T>& parameter) {
    if (width < 0 && parameter.shape().rank() == 2) width = parameter.shape()[1];
  });
  if (width < 0) throw Error("shrink", "no examples for a model without matrices: expected some");
  standard = Tensor<T>({random_rows, width});
  Rng rng(0);
  for (T& entry : standard) entry = static_cast<T>(rng.normal());
  result.examples = standard;
  return result;
}

template <class T>
ShrinkReport cut(nn::Module<T>& copy, const nn::Module<T>& original, const ShrinkOptions<T>& options) {
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
  AxisClasses<T> classes(tape);
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
  for (const Leaf<T>& weight : recording.weights) kept[weight.parameter] = stays(weight.node);
  for (const Leaf<T>& factor : recording.computed_factors) kept[factor.parameter] = stays(factor.node);
  for (const Leaf<T>& leaf : recording.leaves) {
    const KeptAxes& axes = kept[leaf.parameter] = stays(leaf.node);
    report.rows.push_back({leaf.name, leaf.parameter->shape(), {}, axes, false});
    note_reasons(leaf, axes, analysis, report);
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
    const Shape& shape = tape.nodes()[node].shape;
    for (Index o = 0; o < shape.columns(); ++o) {
      if (analysis.stays(node, shape.rank() - 1, o)) kept[bias][0].push_back(o);
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

template <class T> Tensor<T> select_columns(View<const T> x, const std::vector<Index>& columns) {
  Tensor<T> result(x.shape().with(x.shape().rank() - 1, static_cast<Index>(columns.size())));
  for (std::size_t j = 0; j < columns.size(); ++j) {
    result.matrix().col(static_cast<Index>(j)) = x.matrix().col(columns[j]);
  }
  return result;
}

namespace {

/// All outputs of a model for all rows, in batches.
template <class T>
std::vector<Tensor<T>> outputs_of(const nn::Module<T>& model, const std::vector<View<const T>>& inputs,
                                  Index& multiply_adds_of_a_row) {
  std::vector<Tensor<T>> result;
  const Index rows = inputs.empty() ? 0 : inputs[0].shape()[0];
  Tape<T> tape(Mode::evaluation);
  for (Index begin = 0; begin < rows; begin += most_rows) {
    const Index count = std::min(most_rows, rows - begin);
    tape.clear();
    const nn::ModuleScope<T> scope(tape, model);
    std::vector<Var<T>> given;
    for (const View<const T>& x : inputs) {
      const Index width = x.size() / rows;
      given.push_back(tape.constant({x.data() + begin * width, x.shape().with(0, count)}, "x"));
    }
    const std::vector<Var<T>> outputs = model.record(given);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const View<const T> value = outputs[k].value();
      if (value.shape().rank() < 1 || value.shape()[0] != count) {
        throw Error("shrink", "an output ", value.shape(), " for ", count,
                    " rows: expected one row for each");
      }
      if (begin == 0) result.emplace_back(value.shape().with(0, rows));
      std::copy(value.begin(), value.end(), result[k].data() + begin * (value.size() / count));
    }
    if (begin == 0) multiply_adds_of_a_row = multiply_adds(tape, count);
  }
  return result;
}

/// Throws Error where the original can be recorded for training and the smaller model cannot: what only
/// training uses was not there to be looked at.
template <class T>
void require_training(const nn::Module<T>& original, const std::vector<View<const T>>& inputs,
                      const nn::Module<T>& small, const std::vector<View<const T>>& given) {
  const auto record = [](const nn::Module<T>& model, const std::vector<View<const T>>& examples) {
    Tape<T> tape(Mode::training);
    const nn::ModuleScope<T> scope(tape, model);
    std::vector<Var<T>> variables;
    for (const View<const T>& x : examples) {
      variables.push_back(tape.constant({x.data(), x.shape().with(0, std::min<Index>(x.shape()[0], 2))}));
    }
    model.record(variables);
  };
  try {
    record(small, given);
  } catch (const Error& error) {
    if (error.where() == "memory") throw;
    try {
      record(original, inputs);
    } catch (const Error& before) {
      if (before.where() == "memory") throw;
      return;  // it could not be, either
    }
    throw Error("shrink", "the smaller network cannot be recorded for training (", error.what(),
                "): expected a model that uses all its parts in evaluation");
  }
}

}  // namespace

template <class T>
void compare(const nn::Module<T>& original, const nn::Module<T>& small, const ShrinkOptions<T>& options,
             bool selected, ShrinkReport& report) {
  const std::vector<View<const T>>& examples = options.examples.inputs();
  std::vector<Tensor<T>> columns;
  std::vector<View<const T>> given = examples;
  columns.reserve(given.size());
  for (std::size_t k = 0; k < given.size() && selected; ++k) {
    if (given[k].shape().rank() == 2)
      given[k] = columns.emplace_back(select_columns(given[k], report.inputs[k]));
  }
  report.probes = examples.empty() ? 0 : examples[0].shape()[0];
  const std::vector<Tensor<T>> expected = outputs_of(original, examples, report.multiply_adds_before);
  const std::vector<Tensor<T>> got = outputs_of(small, given, report.multiply_adds_after);
  for (std::size_t k = 0; k < expected.size(); ++k) {
    // One row for each example, whatever the rank.
    const auto rows_of = [&](const Tensor<T>& all) {
      return View<const T>(all.data(), {report.probes, all.size() / report.probes});
    };
    const auto want = rows_of(expected[k]).matrix().template cast<double>().eval();
    const auto difference = (rows_of(got[k]).matrix().template cast<double>() - want).cwiseAbs().eval();
    if (!want.allFinite() || !difference.allFinite()) {
      throw Error("shrink",
                  "an output of the network is not finite: expected finite outputs on the examples");
    }
    for (Index column = 0; column < want.cols(); ++column) {
      const double largest = difference.col(column).maxCoeff(), size = want.col(column).cwiseAbs().maxCoeff();
      const double deviation = (want.col(column).array() - want.col(column).mean()).abs().maxCoeff();
      report.max_abs_difference = std::max(report.max_abs_difference, largest);
      // What an output that hardly varies loses to rounding is no difference.
      const double rounding = 64 * static_cast<double>(std::numeric_limits<T>::epsilon()) * size;
      if (largest == 0) continue;
      report.max_relative_difference =
          std::max(report.max_relative_difference, largest / std::max(deviation, rounding / 1e-4));
    }
  }
  require_training(original, examples, small, given);
  if (report.max_relative_difference > options.tolerance) {
    throw Error("shrink", "the smaller network differs by ", report.max_relative_difference,
                " of what an output varies: expected at most ", options.tolerance,
                "; a lower threshold cuts less");
  }
}

#define TAPER_INSTANTIATE(T)                                                                          \
  template ShrinkOptions<T> with_examples(const nn::Module<T>&, const ShrinkOptions<T>&, Tensor<T>&); \
  template ShrinkReport cut(nn::Module<T>&, const nn::Module<T>&, const ShrinkOptions<T>&);           \
  template Tensor<T> select_columns(View<const T>, const std::vector<Index>&);                        \
  template void compare(const nn::Module<T>&, const nn::Module<T>&, const ShrinkOptions<T>&, bool,    \
                        ShrinkReport&);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity::shrinking

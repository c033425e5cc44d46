#include <taper/sparsity/cut_units.hpp>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include <taper/instantiate.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/sparsity/brain_surgeon.hpp>
#include <taper/sparsity/shrink.hpp>

namespace taper::sparsity {
namespace {

constexpr const char* in_cut_units = "cut_units";

/// A matrix of a chain that may be changed, or not.
template <class Linear> struct ChainMatrix {
  std::size_t part;  // its position in the chain
  Linear* layer;
};
template <class Model, class T = typename Model::Scalar>
using LinearOf = std::conditional_t<std::is_const_v<Model>, const nn::Linear<T>, nn::Linear<T>>;
template <class Model> using Matrices = std::vector<ChainMatrix<LinearOf<Model>>>;

template <class Model> auto matrices_of(Model& model) {
  using T = typename Model::Scalar;
  Matrices<Model> matrices;
  for (std::size_t k = 0; k < model.size(); ++k) {
    if (auto* const linear = dynamic_cast<LinearOf<Model>*>(&model[k])) {
      matrices.push_back({k, linear});
      continue;
    }
    if (k > 0 && dynamic_cast<const nn::Select<T>*>(&model[k]) != nullptr) {
      throw Error(in_cut_units, "layer ", model.name(k), " selects some units: expected that in front alone");
    }
    model[k].for_parameters([&](const std::string& name, const nn::Parameter<T>&) {
      throw Error(in_cut_units, "layer ", model.name(k), " has a parameter ", name,
                  ": expected a chain in which only matrices (nn::Linear) have some");
    });
  }
  if (matrices.empty()) throw Error(in_cut_units, "no matrix: expected a chain with one at least");
  return matrices;
}

template <class T> void check_dense(nn::Sequential<T>& model) {
  model.for_parameters([](const std::string& name, const nn::Parameter<T>& parameter) {
    if (parameter.parametrization() != nullptr) {
      throw Error(in_cut_units, name,
                  " is factorized: expected weights as they are; shrink collapses factors");
    }
    if (!parameter.mask().all_free()) {
      throw Error(in_cut_units, name, " has frozen entries: expected free ones, as units are cut whole");
    }
  });
}

/// The sizes of a chain: what is left when units go.
class ChainSizes {
 public:
  template <class Linear>
  ChainSizes(const std::vector<ChainMatrix<Linear>>& matrices, SizeMeasure measure) : measure_(measure) {
    widths_.push_back(matrices.front().layer->inputs());
    for (const ChainMatrix<Linear>& one : matrices) {
      widths_.push_back(one.layer->outputs());
      biased_.push_back(one.layer->bias.has_value());
    }
  }

  Index size() const {
    Index sum = 0;
    for (std::size_t l = 0; l + 1 < widths_.size(); ++l) {
      sum += widths_[l] * widths_[l + 1] + (counts_bias(l) ? widths_[l + 1] : 0);
    }
    return sum;
  }
  /// What goes with one input of matrix l.
  Index saved(std::size_t l) const {
    return widths_[l + 1] + (l > 0 ? widths_[l - 1] + (counts_bias(l - 1) ? 1 : 0) : 0);
  }
  Index inputs(std::size_t l) const { return widths_[l]; }
  void drop_input(std::size_t l) { --widths_[l]; }
  Index smallest() const {
    ChainSizes one = *this;
    std::fill(one.widths_.begin(), one.widths_.end() - 1, Index{1});
    return one.size();
  }

 private:
  bool counts_bias(std::size_t l) const { return measure_ == SizeMeasure::parameters && biased_[l]; }

  SizeMeasure measure_;
  std::vector<Index> widths_;
  std::vector<bool> biased_;
};

/// A unit, and what it would cost to lose it.
struct Unit {
  std::size_t matrix;
  Index input;
  double mean, rise;
};

/// The rows that rises are measured on.
template <class T> struct Sample {
  View<const T> x, y;
  nn::Loss<T> loss;

  /// The loss of the parts from `first` on, given what goes into them.
  double loss_from(const nn::Sequential<T>& model, std::size_t first, View<const T> inputs) const {
    Tape<T> tape(Mode::evaluation);
    Var<T> at = tape.constant(inputs);
    for (std::size_t k = first; k < model.size(); ++k) at = model[k](at);
    return static_cast<double>(loss(at, tape.constant(y)).item());
  }
};

/// Rows are often sorted, so that the first ones would not show what varies.
template <class T> data::Dataset<T> spaced_rows(const data::Dataset<T>& data, Index most) {
  const Index count = std::min(most, data.rows());
  std::vector<Index> chosen;
  for (Index k = 0; k < count; ++k) {
    chosen.push_back(static_cast<Index>(static_cast<double>(k) * static_cast<double>(data.rows()) /
                                        static_cast<double>(count)));
  }
  return data::rows(data, chosen);
}

/// In place of an input, the bias takes its mean.
template <class T> void leave_out(nn::Linear<T>& layer, Index input, double mean) {
  auto weight = layer.weight.value().matrix();
  if (layer.bias) layer.bias->value().vector() += static_cast<T>(mean) * weight.col(input);
  weight.col(input).setZero();
}

/// The units of a chain, when the bias makes up for one that goes.
template <class T>
std::vector<Unit> units_of(nn::Sequential<T>& model, const Matrices<nn::Sequential<T>>& matrices,
                           const Sample<T>& sample, double loss) {
  Tape<T> tape(Mode::evaluation);
  Var<T> at = tape.constant(sample.x);
  std::vector<Var<T>> entering;
  for (std::size_t k = 0; k < model.size(); ++k) {
    if (entering.size() < matrices.size() && matrices[entering.size()].part == k) entering.push_back(at);
    at = model[k](at);
  }
  std::vector<Unit> units;
  for (std::size_t l = 0; l < matrices.size(); ++l) {
    nn::Linear<T>& layer = *matrices[l].layer;
    const auto inputs = entering[l].value().matrix();
    const nn::Linear<T> whole = layer;
    for (Index j = 0; j < layer.inputs(); ++j) {
      const double mean = inputs.col(j).template cast<double>().mean();
      leave_out(layer, j, mean);
      const double without = sample.loss_from(model, matrices[l].part, entering[l].value());
      layer.weight.value().matrix().col(j) = whole.weight.value().matrix().col(j);
      if (layer.bias) layer.bias->value().vector() = whole.bias->value().vector();
      units.push_back({l, j, mean, without - loss});
    }
  }
  return units;
}

/// The weights that read a unit, which go, and those that make it, which do nothing then.
template <class T>
typename BrainSurgeon<T>::Removed entries_of(const nn::Parameters<T>& parameters,
                                             const nn::Sequential<T>& model,
                                             const Matrices<nn::Sequential<T>>& matrices, const Unit& unit) {
  typename BrainSurgeon<T>::Removed entries;
  const auto name_of = [&](std::size_t l) { return model.name(matrices[l].part); };
  const Index inputs = matrices[unit.matrix].layer->inputs();
  const Index first = parameters.entry(name_of(unit.matrix) + ".weight").offset;
  for (Index i = 0; i < matrices[unit.matrix].layer->outputs(); ++i) {
    entries.zero.push_back(first + i * inputs + unit.input);
  }
  if (unit.matrix == 0) return entries;
  const nn::Linear<T>& maker = *matrices[unit.matrix - 1].layer;
  const Index row =
      parameters.entry(name_of(unit.matrix - 1) + ".weight").offset + unit.input * maker.inputs();
  for (Index j = 0; j < maker.inputs(); ++j) entries.held.push_back(row + j);
  if (maker.bias) {
    entries.held.push_back(parameters.entry(name_of(unit.matrix - 1) + ".bias").offset + unit.input);
  }
  return entries;
}

/// The units that are still there, when all other weights make up for one that goes.
template <class T>
std::vector<Unit> units_of(nn::Sequential<T>& model, const Matrices<nn::Sequential<T>>& matrices,
                           const Sample<T>& sample, double loss, BrainSurgeon<T>& surgeon,
                           const std::set<std::pair<std::size_t, Index>>& gone) {
  const nn::Parameters<T> parameters = model.parameters();
  std::vector<Unit> units;
  for (std::size_t l = 0; l < matrices.size(); ++l) {
    for (Index j = 0; j < matrices[l].layer->inputs(); ++j) {
      if (gone.contains({l, j})) continue;
      units.push_back({l, j, 0, 0});
      surgeon.store(surgeon.without(entries_of(parameters, model, matrices, units.back())));
      units.back().rise = sample.loss_from(model, 0, sample.x) - loss;
    }
  }
  surgeon.store(surgeon.values());
  return units;
}

/// Those that cost least for what they save first; of which the loss is not finite without them, last.
void sort_units(std::vector<Unit>& units, const ChainSizes& sizes) {
  const auto share = [&](const Unit& unit) {
    return unit.rise / static_cast<double>(sizes.saved(unit.matrix));
  };
  std::ranges::stable_sort(units, [&](const Unit& a, const Unit& b) {
    const double of_a = share(a), of_b = share(b);
    return std::isfinite(of_a) && (!std::isfinite(of_b) || of_a < of_b);
  });
}

/// Leaves out the units of one step.
template <class T>
void cut_some(nn::Sequential<T>& model, const data::Dataset<T>& some, const nn::Loss<T>& loss, Index size,
              const CutUnitsOptions<T>& options) {
  const Matrices<nn::Sequential<T>> matrices = matrices_of(model);
  const nn::Parameters<T> parameters = model.parameters();
  const Sample<T> sample{some.inputs(), some.targets(), loss};
  const auto loss_now = [&] {
    const double now = sample.loss_from(model, 0, sample.x);
    if (std::isfinite(now)) return now;
    throw Error(in_cut_units, "the loss is ", now, ": expected a finite one");
  };
  ChainSizes sizes(matrices, options.measure);
  const Index before = sizes.size();
  const auto is_enough = [&] {
    const Index now = sizes.size();
    return now <= size ||
           static_cast<double>(before - now) >= options.step * static_cast<double>(before - size);
  };
  double now = loss_now();
  data::Dataset<T> for_curvature;
  std::optional<BrainSurgeon<T>> surgeon;
  if (parameters.count() <= options.most_for_second_order) {
    // A matrix of few rows has the rank of these.
    for_curvature = spaced_rows(some, std::max<Index>(1024, 2 * parameters.count()));
    surgeon = BrainSurgeon<T>::of(model, for_curvature, loss);
  }
  if (!surgeon) {
    std::vector<Unit> units = units_of(model, matrices, sample, now);
    sort_units(units, sizes);
    for (const Unit& unit : units) {
      if (sizes.inputs(unit.matrix) == 1) continue;
      leave_out(*matrices[unit.matrix].layer, unit.input, unit.mean);
      sizes.drop_input(unit.matrix);
      if (is_enough()) return;
    }
    return;
  }
  // Of two that make up for each other only one is cheap: all are measured again when one has gone.
  std::set<std::pair<std::size_t, Index>> gone;
  do {
    std::vector<Unit> units = units_of(model, matrices, sample, now, *surgeon, gone);
    std::erase_if(units, [&](const Unit& unit) { return sizes.inputs(unit.matrix) == 1; });
    if (units.empty()) return;
    sort_units(units, sizes);
    const Unit& unit = units.front();
    surgeon->remove(entries_of(parameters, model, matrices, unit));
    surgeon->store(surgeon->values());
    gone.insert({unit.matrix, unit.input});
    sizes.drop_input(unit.matrix);
    if (is_enough()) return;
    now = loss_now();
  } while (true);
}

}  // namespace

template <class T>
void cut_units(nn::Sequential<T>& model, const data::Dataset<T>& data,
               const std::type_identity_t<nn::Loss<T>>& loss, Index size,
               const std::type_identity_t<CutUnitsOptions<T>>& options) {
  if (!(options.step > 0 && options.step < 1)) {
    throw Error(in_cut_units, "a step of ", options.step, ": expected a share between 0 and 1");
  }
  if (options.rows < 1) throw Error(in_cut_units, options.rows, " rows: expected 1 at least");
  if (!loss) throw Error(in_cut_units, "no loss: expected one");
  data::check_rows(data, in_cut_units);
  if (data.rows() == 0) throw Error(in_cut_units, "no rows: expected 1 at least");
  if (chain_size(model, options.measure) <= size) return;
  const Index smallest = ChainSizes(matrices_of(model), options.measure).smallest();
  if (size < smallest) {
    throw Error(in_cut_units, "a size of ", size, ": expected ", smallest,
                " at least, which is left when every layer has one unit");
  }
  check_dense(model);
  const KeepRandomState keep;
  const data::Dataset<T> some = spaced_rows(data, options.rows);
  while (chain_size(model, options.measure) > size) {
    const Index before = chain_size(model, options.measure);
    nn::Sequential<T> less = model;
    cut_some(less, some, loss, size, options);
    less = shrink(less, {.examples = data.inputs(), .threshold = 0.0, .tolerance = 1e-2}).model;
    if (chain_size(less, options.measure) >= before) {
      throw Error(in_cut_units,
                  "units cannot be cut one by one: expected layers between the matrices that "
                  "treat each unit by itself");
    }
    if (options.train) options.train(less);
    model = std::move(less);
  }
}

template <class T> Index chain_size(const nn::Sequential<T>& model, SizeMeasure measure) {
  return ChainSizes(matrices_of(model), measure).size();
}

#define TAPER_INSTANTIATE(T)                                                                      \
  template void cut_units(nn::Sequential<T>&, const data::Dataset<T>&, const nn::Loss<T>&, Index, \
                          const CutUnitsOptions<T>&);                                             \
  template Index chain_size(const nn::Sequential<T>&, SizeMeasure);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity

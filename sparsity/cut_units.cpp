#include <taper/sparsity/cut_units.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include <taper/instantiate.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>
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

template <class T>
std::vector<Unit> units_of(nn::Sequential<T>& model, const Matrices<nn::Sequential<T>>& matrices,
                           const Sample<T>& sample) {
  Tape<T> tape(Mode::evaluation);
  Var<T> at = tape.constant(sample.x);
  std::vector<Var<T>> entering;
  for (std::size_t k = 0; k < model.size(); ++k) {
    if (entering.size() < matrices.size() && matrices[entering.size()].part == k) entering.push_back(at);
    at = model[k](at);
  }
  const double loss = static_cast<double>(sample.loss(at, tape.constant(sample.y)).item());
  if (!std::isfinite(loss)) throw Error(in_cut_units, "the loss is ", loss, ": expected a finite one");
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

/// Leaves out the units of one step, the cheapest first.
template <class T>
void cut_some(nn::Sequential<T>& model, const Sample<T>& sample, Index size, SizeMeasure measure,
              double step) {
  const Matrices<nn::Sequential<T>> matrices = matrices_of(model);
  ChainSizes sizes(matrices, measure);
  std::vector<Unit> units = units_of(model, matrices, sample);
  const Index before = sizes.size();
  const auto share = [&](const Unit& unit) {
    return unit.rise / static_cast<double>(sizes.saved(unit.matrix));
  };
  // A unit whose loss is not finite without it comes last.
  std::ranges::stable_sort(units, [&](const Unit& a, const Unit& b) {
    const double of_a = share(a), of_b = share(b);
    return std::isfinite(of_a) && (!std::isfinite(of_b) || of_a < of_b);
  });
  for (const Unit& unit : units) {
    if (sizes.inputs(unit.matrix) == 1) continue;
    leave_out(*matrices[unit.matrix].layer, unit.input, unit.mean);
    sizes.drop_input(unit.matrix);
    const Index now = sizes.size();
    if (now <= size || static_cast<double>(before - now) >= step * static_cast<double>(before)) break;
  }
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
  const Sample<T> sample{some.inputs(), some.targets(), loss};
  while (chain_size(model, options.measure) > size) {
    const Index before = chain_size(model, options.measure);
    nn::Sequential<T> less = model;
    cut_some(less, sample, size, options.measure, options.step);
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

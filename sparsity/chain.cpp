#include <taper/sparsity/chain.hpp>

#include <algorithm>
#include <numeric>
#include <typeinfo>

#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>

namespace taper::sparsity {
namespace {

/// Whether every operation that a module records keeps units apart, as the operations themselves say.
template <class T> bool is_elementwise(const nn::Layer<T>& module) {
  Tape<T> tape(Mode::evaluation);
  const Var<T> y = module(tape.input({1, 1}));
  return std::ranges::all_of(tape.nodes(),
                             [&](const Node<T>& node) {
                               return node.op == nullptr ? node.writable : taper::is_elementwise(tape, node);
                             }) &&
         y.shape() == Shape{1, 1};
}

/// The frozen entries of a parameter, rows x columns.
template <class T, class Marks> void read_marks(const nn::Parameter<T>& parameter, Marks& marks) {
  const Mask mask = parameter.mask();
  for (Index i = 0; i < mask.size(); ++i) marks.data()[i] = mask.is_frozen(i);
}

/// Freezes what is marked.
template <class T, class Marks> void write_marks(const Marks& marks, nn::Parameter<T>& parameter) {
  parameter.freeze(Mask::frozen(parameter.shape(), [&](Index i) { return marks.data()[i]; }));
}

/// The positions of entries that are to stay.
std::vector<Index> where(const Eigen::Array<bool, Eigen::Dynamic, 1>& keep) {
  std::vector<Index> positions;
  for (Index i = 0; i < keep.size(); ++i) {
    if (keep(i)) positions.push_back(i);
  }
  return positions;
}

}  // namespace

template <class T> Chain<T>::Chain(nn::Sequential<T>& model) : model_(&model) {
  for (std::size_t part = 0; part < model.size(); ++part) {
    nn::Layer<T>& module = model[part];
    // Exactly Linear: a class derived from it may compute something else.
    if (typeid(module) == typeid(nn::Linear<T>)) {
      const auto& linear = static_cast<const nn::Linear<T>&>(module);
      Layer layer;
      layer.weight = linear.weight.materialize().matrix().template cast<double>();
      layer.has_bias = linear.bias.has_value();
      layer.bias = Eigen::VectorXd::Zero(linear.outputs());
      if (layer.has_bias) layer.bias = linear.bias->materialize().vector().template cast<double>();
      layer.frozen_weight = Marks::Constant(layer.weight.rows(), layer.weight.cols(), false);
      layer.frozen_bias = Marks::Constant(layer.bias.size(), 1, false);
      read_marks(linear.weight, layer.frozen_weight);
      if (layer.has_bias) read_marks(*linear.bias, layer.frozen_bias);
      if (!layers_.empty() && layers_.back().weight.rows() != layer.weight.cols()) {
        throw Error("shrink", module.describe(), " at position ", part, ": expected ",
                    layers_.back().weight.rows(), " inputs");
      }
      layers_.push_back(std::move(layer));
    } else if (const auto* select = dynamic_cast<const nn::Select<T>*>(&module)) {
      throw Error("shrink", select->describe(), " at position ", part,
                  ": this network has been shrunk already");
    } else if (is_elementwise(module)) {
      (layers_.empty() ? before_ : layers_.back().after).push_back(part);
    } else {
      throw Error("shrink", module.describe(), " at position ", part,
                  ": expected Linear layers and elementwise modules");
    }
  }
  if (layers_.empty())
    throw Error("shrink", "a chain of ", model.size(), " modules: expected a Linear layer");
  input_width_ = layers_.front().weight.cols();
  inputs_.resize(static_cast<std::size_t>(input_width_));
  std::iota(inputs_.begin(), inputs_.end(), 0);
}

template <class T> void Chain<T>::zero_below(double threshold) {
  for (Layer& layer : layers_) {
    if (layer.weight.size() == 0) continue;
    const Eigen::VectorXd columns = layer.weight.colwise().norm(), rows = layer.weight.rowwise().norm();
    for (Index j = 0; j < columns.size(); ++j) {
      if (columns(j) <= threshold * columns.maxCoeff()) layer.weight.col(j).setZero();
    }
    if (&layer == &layers_.back()) continue;  // an output of the network stays, however small
    for (Index i = 0; i < rows.size(); ++i) {
      if (rows(i) <= threshold * rows.maxCoeff()) layer.weight.row(i).setZero();
    }
  }
}

template <class T> bool Chain<T>::drop_unread(std::size_t layer) {
  Layer& reader = layers_[layer];
  const std::vector<Index> keep = where((reader.weight.array() != 0).colwise().any().transpose());
  if (static_cast<Index>(keep.size()) == reader.weight.cols()) return false;
  reader.weight = Eigen::MatrixXd(reader.weight(Eigen::all, keep));
  reader.frozen_weight = Marks(reader.frozen_weight(Eigen::all, keep));
  if (layer == 0) {
    std::vector<Index> left;
    for (const Index column : keep) left.push_back(inputs_[static_cast<std::size_t>(column)]);
    inputs_ = left;
  } else {
    Layer& writer = layers_[layer - 1];
    writer.weight = Eigen::MatrixXd(writer.weight(keep, Eigen::all));
    writer.bias = Eigen::VectorXd(writer.bias(keep));
    writer.frozen_weight = Marks(writer.frozen_weight(keep, Eigen::all));
    writer.frozen_bias = Marks(writer.frozen_bias(keep, Eigen::all));
  }
  return true;
}

template <class T> bool Chain<T>::fold_constants(std::size_t layer) {
  Layer &writer = layers_[layer], &reader = layers_[layer + 1];
  const Eigen::Array<bool, Eigen::Dynamic, 1> varies = (writer.weight.array() != 0).rowwise().any();
  if (varies.all()) return false;
  for (Index unit = 0; unit < varies.size(); ++unit) {
    if (varies(unit)) continue;
    reader.bias += reader.weight.col(unit) * constant_output(writer, writer.bias(unit));
    reader.has_bias |= reader.bias.any();
    reader.weight.col(unit).setZero();  // now nobody reads it
  }
  return drop_unread(layer + 1);
}

template <class T> double Chain<T>::constant_output(const Layer& layer, double bias) const {
  Tape<T> tape(Mode::evaluation);
  const T start = static_cast<T>(bias);
  Var<T> x = tape.constant(View<const T>(&start, {1, 1}));
  for (const std::size_t part : layer.after) x = (*model_)[part](x);
  return static_cast<double>(x.item());
}

template <class T> void Chain<T>::cut() {
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) changed |= drop_unread(layer);
    for (std::size_t layer = 0; layer + 1 < layers_.size(); ++layer) changed |= fold_constants(layer);
  }
}

template <class T> nn::Sequential<T> Chain<T>::build(const nn::Sequential<T>& model) const {
  nn::Sequential<T> result;
  if (static_cast<Index>(inputs_.size()) < input_width_)
    result.push_back(nn::Select<T>(inputs_, input_width_));
  for (const std::size_t part : before_) result.push_back_copy(model, part);
  for (const Layer& layer : layers_) {
    nn::Linear<T> linear(layer.weight.cols(), layer.weight.rows(), layer.has_bias);
    linear.weight.value().matrix() = layer.weight.template cast<T>();
    if (layer.has_bias) linear.bias->value().vector() = layer.bias.template cast<T>();
    write_marks(layer.frozen_weight, linear.weight);
    if (layer.has_bias) write_marks(layer.frozen_bias, *linear.bias);
    result.push_back(std::move(linear));
    for (const std::size_t part : layer.after) result.push_back_copy(model, part);
  }
  return result;
}

template <class T> Index Chain<T>::parameters() const {
  Index total = 0;
  for (const Layer& layer : layers_) total += layer.weight.size() + (layer.has_bias ? layer.bias.size() : 0);
  return total;
}

template <class T> std::vector<Index> Chain<T>::widths() const {
  std::vector<Index> result;
  for (const Layer& layer : layers_) result.push_back(layer.weight.cols());
  result.push_back(layers_.back().weight.rows());
  return result;
}

template class Chain<float>;
template class Chain<double>;

}  // namespace taper::sparsity

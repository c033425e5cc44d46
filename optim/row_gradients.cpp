#include <taper/optim/row_gradients.hpp>

#include <algorithm>
#include <string_view>
#include <utility>
#include <variant>

#include <taper/autodiff/attribute_value.hpp>

namespace taper::optim {
namespace {

bool is_parameter(const Node<double>& node) {
  return node.op == nullptr && node.requires_grad;
}

std::optional<Activation> activation_of(const Node<double>& node) {
  std::optional<Activation> result;
  for_attributes(*node.op, node.attributes, [&](std::string_view name, const AttributeValue& value) {
    if (name != "activation") return;
    const auto word = std::get<std::string_view>(value);
    if (word == "none") result = Activation::none;
    if (word == "relu") result = Activation::relu;
    if (word == "tanh") result = Activation::tanh;
    if (word == "sigmoid") result = Activation::sigmoid;
  });
  return result;
}

/// The derivative, given the value.
double slope(Activation activation, double value) {
  switch (activation) {
    case Activation::relu:
      return value > 0 ? 1 : 0;
    case Activation::tanh:
      return 1 - value * value;
    case Activation::sigmoid:
      return value * (1 - value);
    default:
      return 1;
  }
}

}  // namespace

std::optional<RowGradients> RowGradients::of(const Tape<double>& tape, const Block<double>& block,
                                             Index rows) {
  RowGradients result;
  const auto nodes = tape.nodes();
  std::vector<std::uint8_t> used(nodes.size());
  // The place of a parameter, or -1 for another one or one that was used already.
  const auto place = [&](std::uint32_t k) -> Index {
    if (!is_parameter(nodes[k]) || nodes[k].writable || std::exchange(used[k], 1) != 0) return -1;
    return nodes[k].value - block.values.data();
  };
  for (std::size_t k = 0; k < nodes.size(); ++k) {
    const Node<double>& node = nodes[k];
    if (node.op == nullptr) continue;
    const auto inputs = tape.inputs(node);
    const auto reads = [&](std::uint32_t input) { return is_parameter(nodes[input]); };
    if (std::ranges::none_of(inputs, reads)) continue;
    const bool is_affine = node.op->name == "affine" && !reads(inputs[0]);
    if (!is_affine || node.shape.rank() != 2 || node.shape[0] != rows) return {};
    const auto activation = activation_of(node);
    Layer layer{inputs[0], k, nodes[inputs[0]].shape.columns(), node.shape[1], -1, -1, Activation::none};
    if (!activation) return {};
    layer.activation = *activation;
    if (reads(inputs[1]) && (layer.weight = place(inputs[1])) < 0) return {};
    if (inputs.size() == 3 && reads(inputs[2]) && (layer.bias = place(inputs[2])) < 0) return {};
    result.layers_.push_back(layer);
  }
  return result;
}

void RowGradients::write(const Tape<double>& tape, Index row, double* to) const {
  for (const Layer& layer : layers_) {
    const Node<double>&input = tape.nodes()[layer.input], &output = tape.nodes()[layer.output];
    const double* const x = input.value + row * layer.inputs;
    const double* const y = output.value + row * layer.outputs;
    const double* const g = output.gradient + row * layer.outputs;
    for (Index o = 0; o < layer.outputs; ++o) {
      const double factor = g[o] * slope(layer.activation, y[o]);
      if (layer.bias >= 0) to[layer.bias + o] = factor;
      if (layer.weight < 0) continue;
      double* const weight = to + layer.weight + o * layer.inputs;
      for (Index i = 0; i < layer.inputs; ++i) weight[i] = factor * x[i];
    }
  }
}

}  // namespace taper::optim

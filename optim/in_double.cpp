#include <taper/optim/in_double.hpp>

#include <algorithm>

#include <taper/instantiate.hpp>

namespace taper::optim {
namespace {

/// Whether the output depends on each node.
template <class T> std::vector<bool> leading_to(const Tape<T>& tape, Index output) {
  std::vector<bool> needed(static_cast<std::size_t>(output) + 1);
  needed.back() = true;
  for (std::size_t k = needed.size(); k-- > 0;) {
    if (!needed[k] || tape.nodes()[k].op == nullptr) continue;
    for (const std::uint32_t input : tape.inputs(tape.nodes()[k])) needed[input] = true;
  }
  return needed;
}

template <class T> Tensor<double> to_double(const Node<T>& leaf) {
  Tensor<double> result(leaf.shape);
  std::transform(leaf.value, leaf.value + leaf.shape.size(), result.data(),
                 [](T entry) { return static_cast<double>(entry); });
  return result;
}

}  // namespace

template <class T> DoubleLayout<T>::DoubleLayout(const nn::Parameters<T>& parameters) {
  constexpr Index unit = alignment / sizeof(double);
  for (const auto& entry : parameters.entries()) {
    pieces_.push_back({entry.offset, entry.shape.size(), size_});
    size_ += (entry.shape.size() + unit - 1) / unit * unit;
  }
  std::ranges::sort(pieces_, {}, &Piece::from);
}

template <class T> Index DoubleLayout<T>::position(Index in_model) const {
  // Empty parameters have the place of the one after them.
  const auto behind = std::ranges::upper_bound(pieces_, in_model, {}, &Piece::from);
  for (auto piece = behind; piece != pieces_.begin();) {
    --piece;
    if (in_model < piece->from + piece->size) return piece->to + (in_model - piece->from);
  }
  throw Error("in_double", "position ", in_model, " of a block: expected an element of a parameter");
}

template <class T>
Var<double> record_in_double(const Tape<T>& from, Index output, const nn::Parameters<T>& parameters,
                             const DoubleLayout<T>& layout, std::span<const Index> inputs, Tape<double>& to,
                             const std::shared_ptr<Block<double>>& block, std::vector<Var<double>>& recorded,
                             const char* where) {
  recorded.clear();
  for (const Index input : inputs) {
    const Node<T>& leaf = from.nodes()[static_cast<std::size_t>(input)];
    recorded.push_back(to.input(leaf.shape, from.path(leaf)));
    recorded.back().assign(to_double(leaf));
  }
  const std::vector<bool> needed = leading_to(from, output);
  std::vector<Var<double>> vars(needed.size()), operands;
  const T* const values = parameters.block()->values.data();
  for (std::size_t k = 0; k < needed.size(); ++k) {
    if (!needed[k]) continue;
    const Node<T>& node = from.nodes()[k];
    const auto input = std::ranges::find(inputs, static_cast<Index>(k));
    if (input != inputs.end()) {
      vars[k] = recorded[static_cast<std::size_t>(input - inputs.begin())];
    } else if (node.op == nullptr && node.requires_grad && !node.writable) {
      const Index place = node.shape.size() == 0 ? 0 : layout.position(node.value - values);
      vars[k] = to.parameter(block, place, node.shape, from.path(node));
    } else if (node.op == nullptr) {
      vars[k] = to.constant(to_double(node), from.path(node));
    } else {
      const Op<double>* const op = Op<double>::find(node.op->name);
      const InLayer layer{from.path(node)};
      if (op == nullptr) {
        throw Error(where, "operation ", node.op->name, " for one scalar", layer,
                    ": expected one that there is for double, too");
      }
      const typename Tape<double>::Scope scope(to, layer.path);
      operands.clear();
      for (const std::uint32_t operand : from.inputs(node)) operands.push_back(vars[operand]);
      vars[k] = to.record(*op, operands, node.attributes);
    }
  }
  return vars.back();
}

#define TAPER_INSTANTIATE(T)                                                                           \
  template Var<double> record_in_double(                                                               \
      const Tape<T>&, Index, const nn::Parameters<T>&, const DoubleLayout<T>&, std::span<const Index>, \
      Tape<double>&, const std::shared_ptr<Block<double>>&, std::vector<Var<double>>&, const char*);
TAPER_INSTANTIATE_CLASS(DoubleLayout)
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::optim

#include <taper/autodiff/structure.hpp>

#include <algorithm>

#include <taper/autodiff/tape.hpp>
#include <taper/instantiate.hpp>

namespace taper {

void Structure::same(Index input, Index input_axis, Index output_axis, Index size) {
  links.push_back({input, {input_axis, 0, size}, {output_axis, 0, size}, size});
}

void Structure::contract(Index input_a, Index axis_a, Index input_b, Index axis_b, bool partial) {
  contractions.push_back({input_a, axis_a, input_b, axis_b, partial});
}

void Structure::add_bias(Index input, Index output_axis) {
  bias = input;
  bias_axis = output_axis;
}

void Structure::reduce(Index input, Index axis, Reduce by) {
  reductions.push_back({input, axis, by});
}

void Structure::gate(Index factor, Index input) {
  gates.push_back({factor, input});
}

bool Structure::is_literal(Index output_axis) const {
  return std::ranges::find(literal_axes, output_axis) != literal_axes.end();
}

bool Structure::reads(Index input, Index axis, Index index) const {
  bool linked = false;
  for (const Link& link : links) {
    if (link.input != input || link.from.axis != axis) continue;
    if (link.from.class_of(index, link.classes) >= 0) return true;
    linked = true;
  }
  return !linked;
}

template <class T> Index multiply_adds_of(const Tape<T>& tape, const Node<T>& node) {
  if (node.op == nullptr || node.op->multiply_adds == nullptr) return 0;
  std::vector<const Shape*> shapes;
  for (const std::uint32_t input : tape.inputs(node)) shapes.push_back(&tape.nodes()[input].shape);
  return node.op->multiply_adds(Signature{shapes, node.attributes});
}

template <class T> Structure structure_of(const Tape<T>& tape, const Node<T>& node) {
  if (node.op == nullptr) throw Error("structure", "a leaf of a tape: expected an operation");
  Structure structure;
  if (node.op->structure == nullptr) {
    structure.pinned = true;
    return structure;
  }
  std::vector<const Shape*> shapes;
  for (const std::uint32_t input : tape.inputs(node)) shapes.push_back(&tape.nodes()[input].shape);
  node.op->structure(Signature{shapes, node.attributes}, node.shape, structure);
  return structure;
}

template <class T> bool is_elementwise(const Tape<T>& tape, const Node<T>& node) {
  return node.op != nullptr && structure_of(tape, node).elementwise;
}

#define TAPER_INSTANTIATE(T)                                       \
  template Structure structure_of(const Tape<T>&, const Node<T>&); \
  template Index multiply_adds_of(const Tape<T>&, const Node<T>&); \
  template bool is_elementwise(const Tape<T>&, const Node<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper

#include <taper/autodiff/structure.hpp>

#include <algorithm>

#include <taper/autodiff/tape.hpp>

namespace taper {

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

template Structure structure_of(const Tape<float>&, const Node<float>&);
template Structure structure_of(const Tape<double>&, const Node<double>&);
template bool is_elementwise(const Tape<float>&, const Node<float>&);
template bool is_elementwise(const Tape<double>&, const Node<double>&);

}  // namespace taper

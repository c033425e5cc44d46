#include <taper/autodiff/finite.hpp>

#include <taper/autodiff/tape.hpp>
#include <taper/instantiate.hpp>

namespace taper {

template <class T> void throw_not_finite_value(const Tape<T>& tape, const Node<T>& node) {
  const Index bad = first_not_finite(node.value, node.shape.size());
  if (bad < 0) return;
  for (const std::uint32_t k : tape.inputs(node)) {
    const Node<T>& input = tape.nodes()[k];
    const Index given = first_not_finite(input.value, input.shape.size());
    if (given < 0) continue;
    throw Error(node.op->name, "was given ", input.value[given], " at entry ", given, " of %", k, " (",
                tape.path(input), ")", InLayer{tape.path(node)});
  }
  throw Error(node.op->name, "made ", node.value[bad], " at entry ", bad, " of %",
              &node - tape.nodes().data(), ", ", node.shape, InLayer{tape.path(node)});
}

template <class T> void throw_not_finite_gradient(const Tape<T>& tape, const Node<T>& node) {
  for (const std::uint32_t k : tape.inputs(node)) {
    const Node<T>& input = tape.nodes()[k];
    if (input.written != node.written) continue;
    const Index bad = first_not_finite(input.gradient, input.shape.size());
    if (bad < 0) continue;
    throw Error(node.op->name, "made ", input.gradient[bad], " at entry ", bad, " of the gradient of %", k,
                ", ", input.shape, InLayer{tape.path(node)});
  }
}

#define TAPER_INSTANTIATE(T)                                            \
  template void throw_not_finite_value(const Tape<T>&, const Node<T>&); \
  template void throw_not_finite_gradient(const Tape<T>&, const Node<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper

#include <taper/sparsity/costs.hpp>

#include <algorithm>
#include <set>

#include <taper/instantiate.hpp>

namespace taper::sparsity {
namespace {

template <class T> double multiply_adds(const Tape<T>& tape, const Node<T>& node) {
  const Index stated = multiply_adds_of(tape, node);
  return static_cast<double>(stated > 0 ? stated : node.shape.size());
}

}  // namespace

template <class T> Costs multiply_add_costs(const nn::Module<T>& model, const std::vector<Shape>& inputs) {
  const char* const where = "multiply_add_costs";
  if (inputs.empty()) throw Error(where, "no inputs: expected the shape of one at least");
  for (const Shape& shape : inputs) {
    if (shape.rank() == 0 || shape[0] == 0) {
      throw Error(where, "an input ", shape, ": expected rows, one at least");
    }
  }
  Tape<T> tape(Mode::evaluation);
  const nn::ModuleScope<T> scope(tape, model);
  std::vector<Var<T>> given;
  for (const Shape& shape : inputs) given.push_back(tape.input(shape));
  model.record(given);
  const std::size_t recorded = tape.nodes().size();  // what is bound below and new is not read

  Costs costs;
  std::map<std::size_t, std::string> weights;  // by their positions
  model.for_parameters([&](const std::string& name, const nn::Parameter<T>& parameter) {
    costs[name] = 0;
    weights[static_cast<std::size_t>(parameter.bind(tape).index())] = name;
  });
  // Of each node whether the inputs go into it, and of others the parameters that they are made of.
  std::vector<bool> varies(recorded);
  std::vector<std::set<std::string>> made_of(recorded);
  for (const Var<T>& input : given) varies[static_cast<std::size_t>(input.index())] = true;
  const auto rows = static_cast<double>(inputs[0][0]);
  for (std::size_t n = 0; n < recorded; ++n) {
    const Node<T>& node = tape.nodes()[n];
    if (const auto weight = weights.find(n); weight != weights.end()) {
      made_of[n] = {weight->second};
      continue;
    }
    if (node.op == nullptr) continue;
    const auto read = tape.inputs(node);
    varies[n] = std::ranges::any_of(read, [&](std::uint32_t input) { return varies[input]; });
    std::set<std::string> parameters;
    for (const std::uint32_t input : read) parameters.insert(made_of[input].begin(), made_of[input].end());
    if (varies[n]) {
      for (const std::string& name : parameters) costs[name] += multiply_adds(tape, node) / rows;
    } else {
      made_of[n] = std::move(parameters);
    }
  }
  return costs;
}

#define TAPER_INSTANTIATE(T) \
  template Costs multiply_add_costs(const nn::Module<T>&, const std::vector<Shape>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity

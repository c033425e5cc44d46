#include <taper/io/architecture/write.hpp>

#include <algorithm>
#include <cmath>
#include <typeinfo>
#include <utility>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/instantiate.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/dtype.hpp>

namespace taper::io {
namespace architecture {

using data::quote;
using Ordered = nlohmann::ordered_json;

const char* word_for(double value) {
  if (std::isnan(value)) return "nan";
  return !std::isinf(value) ? nullptr : value > 0 ? "inf" : "-inf";
}

namespace {

std::vector<Index> dimensions_of(const Shape& shape, Index from = 0) {
  std::vector<Index> dimensions;
  for (Index axis = from; axis < shape.rank(); ++axis) dimensions.push_back(shape[axis]);
  return dimensions;
}

Ordered json_of(const AttributeValue& value, const std::string& what) {
  const auto write = [&](const auto& given) -> Ordered {
    using Given = std::decay_t<decltype(given)>;
    if constexpr (std::is_same_v<Given, const void*>) {
      throw Error("save", what, ", a pointer: expected a value that can be written to a file");
    } else if constexpr (std::is_same_v<Given, double>) {
      const char* const word = word_for(given);
      return word == nullptr ? Ordered(given) : Ordered(word);
    } else if constexpr (std::is_same_v<Given, std::string_view>) {
      return std::string(given);
    } else if constexpr (std::is_same_v<Given, IndexList>) {
      return std::vector<Index>(given.begin(), given.end());
    } else {
      return given;
    }
  };
  return std::visit(write, value);
}

}  // namespace

template <class T>
Ordered parametrization_json(const nn::Parametrization<T>& made, const Shape& shape,
                             const std::string& name) {
  // Nothing that is derived from these: it may compute something else.
  if (typeid(made) == typeid(nn::Simplex<T>)) return {{"kind", "simplex"}};
  if (typeid(made) != typeid(nn::Hadamard<T>)) {
    throw Error("save", "a parametrization of ", quote(name),
                " that files have no word for: expected Hadamard or Simplex, or the parameter collapsed");
  }
  const auto& product = static_cast<const nn::Hadamard<T>&>(made);
  std::vector<double> weights;
  for (Index group = 0; group < product.group_count(shape); ++group) weights.push_back(product.weight(group));
  if (std::ranges::all_of(weights, [](double weight) { return weight == 1; })) weights.clear();
  return {{"kind", "hadamard"},
          {"groups", product.groups().str()},
          {"depth", product.depth()},
          {"weights", weights}};
}

namespace {

template <class T>
Ordered json_of(const typename nn::Graph<T>::Program& program, const LeafNames<T>& name_of) {
  Ordered instructions = Ordered::array(), outputs = Ordered::array(), assignments = Ordered::array();
  for (const auto& instruction : program.instructions) {
    Ordered& line = instructions.emplace_back(Ordered::object());
    line["operation"] = std::string(instruction.op->name);
    for (const auto& input : instruction.inputs) line["inputs"].push_back(name_of(input));
    for_attributes(
        *instruction.op, instruction.attributes, [&](std::string_view name, const AttributeValue& value) {
          line["settings"][std::string(name)] =
              json_of(value, concatenate("the setting ", quote(name), " of ", instruction.op->name));
        });
    if (!instruction.path.empty()) line["layer"] = instruction.path;
  }
  for (const auto& output : program.outputs) outputs.push_back(name_of(output));
  for (const auto& [buffer, value] : program.assignments) {
    assignments.push_back({name_of(buffer), name_of(value)});
  }
  return {{"instructions", instructions}, {"outputs", outputs}, {"assignments", assignments}};
}

template <class T> Ordered json_of(const nn::Graph<T>& graph) {
  const auto& parts = graph.parts();
  const LeafNames<T> name_of(graph);
  Ordered inputs = Ordered::array(), parameters = Ordered::array(), buffers = Ordered::array();
  for (std::size_t k = 0; k < parts.inputs.size(); ++k) {
    inputs.push_back({{"name", name_of.inputs[k]}, {"shape", dimensions_of(parts.inputs[k], 1)}});
  }
  for (const auto& [name, parameter] : parts.parameters) {
    Ordered& entry =
        parameters.emplace_back(Ordered({{"name", name}, {"shape", dimensions_of(parameter.shape())}}));
    if (parameter.parametrization() == nullptr) continue;
    for (const nn::Parameter<T>& factor : parameter.factors()) {
      if (factor.parametrization() == nullptr) continue;
      throw Error("save", quote(name), ", whose factors have factors: expected them collapsed");
    }
    entry["parametrization"] = parametrization_json(*parameter.parametrization(), parameter.shape(), name);
  }
  for (const auto& [name, buffer] : parts.buffers) {
    buffers.push_back({{"name", name}, {"shape", dimensions_of(buffer.shape())}});
  }
  Ordered evaluation = json_of<T>(parts.evaluation, name_of), training = json_of<T>(parts.training, name_of);
  if (training == evaluation) training = same_program;
  return {{"version", architecture_version},
          {"scalar", dtype_of<T>},
          {"inputs", inputs},
          {"parameters", parameters},
          {"buffers", buffers},
          {"evaluation", evaluation},
          {"training", training}};
}

}  // namespace
}  // namespace architecture

template <class T> std::string architecture_of(const nn::Graph<T>& graph) {
  try {
    return architecture::json_of(graph).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error("save", "a model with names that are not UTF-8: expected text");
  }
}

#define TAPER_INSTANTIATE(T)                                                                        \
  template std::string architecture_of(const nn::Graph<T>&);                                        \
  template nlohmann::ordered_json architecture::parametrization_json(const nn::Parametrization<T>&, \
                                                                     const Shape&, const std::string&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io

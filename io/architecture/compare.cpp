#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <taper/instantiate.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/architecture/read.hpp>

namespace taper::io {
namespace architecture {
namespace {

/// What a model computes in evaluation, line by line, and how its factors are tied.
template <class T> struct Description {
  using Program = typename nn::Graph<T>::Program;
  using Value = typename nn::Graph<T>::Value;

  std::vector<std::string> lines;
  std::map<std::string, std::string> factors;  // by the name of the parameter

  /// Writes a program, without instructions that nothing needs. Inputs go by their number, as their names in
  /// a file are its own, and "%" begins no name of a parameter or buffer.
  void add(const Program& program, const LeafNames<T>& names) {
    const auto is_result = [](const Value& value) { return value.kind == Value::Kind::result; };
    std::set<Index> needed;
    const auto need = [&](const Value& value) {
      if (is_result(value)) needed.insert(value.index);
    };
    for (const Value& output : program.outputs) need(output);
    for (const auto& [buffer, value] : program.assignments) need(value);
    for (std::size_t k = program.instructions.size(); k-- > 0;) {
      if (!needed.contains(static_cast<Index>(k))) continue;
      for (const Value& input : program.instructions[k].inputs) need(input);
    }
    std::map<Index, std::string> results;
    const auto name_of = [&](const Value& value) {
      if (value.kind == Value::Kind::input) return "%input" + std::to_string(value.index);
      return is_result(value) ? results.at(value.index) : names(value);
    };
    for (const Index k : needed) {
      const auto& instruction = program.instructions[static_cast<std::size_t>(k)];
      results[k] = '%' + std::to_string(lines.size());
      std::string line = results[k] + " = ";
      line += instruction.op == nullptr ? "?" : instruction.op->name;
      const char* separator = "(";
      for (const Value& input : instruction.inputs) {
        line += separator + name_of(input);
        separator = ", ";
      }
      if (instruction.op != nullptr) {
        for_attributes(*instruction.op, instruction.attributes,
                       [&](std::string_view name, const AttributeValue& value) {
                         line += concatenate(separator, name, '=', value);
                         separator = ", ";
                       });
      }
      lines.push_back(line + ')');
    }
    std::string outputs = "outputs";
    for (const Value& output : program.outputs) outputs += ' ' + name_of(output);
    lines.push_back(outputs);
  }
};

/// The first difference; empty when there is none.
template <class T> std::string difference(const Description<T>& file, const Description<T>& model) {
  const auto said = [](const std::string& here, const std::string& there) {
    return "has " + here + " where the model has " + there;
  };
  for (std::size_t k = 0; k < std::max(file.lines.size(), model.lines.size()); ++k) {
    const std::string here = k < file.lines.size() ? file.lines[k] : "nothing more",
                      there = k < model.lines.size() ? model.lines[k] : "nothing more";
    if (here != there) return said(here, there);
  }
  for (const auto& [name, factors] : file.factors) {
    const auto found = model.factors.find(name);
    if (found == model.factors.end() || found->second == factors) continue;
    return said("factors of " + data::quote(name) + " by " + factors, found->second);
  }
  return {};
}

/// What a file says; names are those of the model.
template <class T> Description<T> described(const Source& source, Reader<T>& reader, const Rename& rename) {
  LeafNames<T> names = reader.names();
  for (std::string& name : names.parameters) name = rename(name);
  for (std::string& name : names.buffers) name = rename(name);
  Description<T> result;
  result.add(reader.program("evaluation"), names);
  std::size_t k = 0;
  for (const Json& entry : source.list_of(source.root, "parameters")) {
    const std::string& name = names.parameters[k++];
    const Factors<T> factors = reader.factors(entry);
    if (factors.parametrization == nullptr) continue;
    result.factors[name] =
        parametrization_json(*factors.parametrization, source.shape_of(entry), name).dump();
  }
  return result;
}

template <class T> Description<T> described(const nn::Graph<T>& graph) {
  Description<T> result;
  result.add(graph.parts().evaluation, LeafNames<T>(graph));
  for (const auto& [name, parameter] : graph.parts().parameters) {
    if (parameter.parametrization() == nullptr) continue;
    result.factors[name] = parametrization_json(*parameter.parametrization(), parameter.shape(), name).dump();
  }
  return result;
}

}  // namespace
}  // namespace architecture

template <class T>
Comparison compare_architecture(const nn::Module<T>& model, const Archive& archive, const Rename& rename) {
  if (!archive.metadata().contains(architecture_key)) return {};
  const architecture::Source source(archive);
  if (source.version > architecture_version) return {};
  architecture::Reader<T> reader(source);
  const auto file = architecture::described(source, reader, rename);
  if (!reader.knows_all()) return {};
  constexpr Index most_entries = Index{1} << 22;  // of an input that is made up for it
  for (const Shape& shape : reader.inputs()) {
    if (shape.size() > most_entries) return {};
  }
  try {
    const auto ours = architecture::described(nn::Graph<T>::trace(model, reader.inputs()));
    return {true, architecture::difference(file, ours)};
  } catch (const Error&) {
    return {};
  }
}

#define TAPER_INSTANTIATE(T) \
  template Comparison compare_architecture(const nn::Module<T>&, const Archive&, const Rename&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io

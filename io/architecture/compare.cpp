#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/data/checksum.hpp>
#include <taper/instantiate.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/architecture/read.hpp>
#include <taper/io/dtype.hpp>
#include <taper/nn/traced.hpp>

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

/// A constant by its elements, rounded to float where one of the two sides is in float; of many, by the first
/// ones and a checksum of all.
template <class T> std::string constant_text(View<const T> value, bool rounded) {
  constexpr Index most = 8;
  std::string text = concatenate("constant ", value.shape(), " [");
  std::uint64_t sum = 0;
  for (Index i = 0; i < value.size(); ++i) {
    const double element = rounded ? double{static_cast<float>(value[i])} : double{value[i]};
    sum = data::checksum({reinterpret_cast<const char*>(&element), sizeof element}, sum);
    if (i < most) text += concatenate(i == 0 ? "" : ", ", AttributeValue(element));
  }
  return text + (value.size() > most ? ", ...] with the checksum " + std::to_string(sum) : "]");
}

/// The names of tensors that stand for constants in the code: buffers that are called so and never assigned.
std::set<std::string> constants_of(const Source& source) {
  constexpr std::string_view begin = "constant";
  std::set<std::string> names;
  for (const Json& entry : source.list_of(source.root, "buffers")) {
    const std::string& name = source.text_of(entry, "name");
    if (name.starts_with(begin) && name.size() > begin.size() &&
        name.find_first_not_of("0123456789", begin.size()) == name.npos) {
      names.insert(name);
    }
  }
  for (const char* mode : {"evaluation", "training"}) {
    const Json& program = source.member(source.root, mode);
    if (program.is_string()) continue;
    for (const Json& pair : source.list_of(program, "assignments")) {
      if (pair.is_array() && !pair.empty() && pair[0].is_string()) names.erase(pair[0].get<std::string>());
    }
  }
  return names;
}

/// The names of a model's parts.
template <class T> LeafNames<T> names_of(const nn::Module<T>& model) {
  LeafNames<T> names;
  model.for_parameters(
      [&](const std::string& name, const nn::Parameter<T>&) { names.parameters.push_back(name); });
  model.for_buffers([&](const std::string& name, const nn::Buffer<T>&) { names.buffers.push_back(name); });
  return names;
}

/// What a file says; names are those of the model, and constants that are not in its buffers are told by
/// their elements.
template <class T>
Description<T> described(const Source& source, Reader<T>& reader, const Rename& rename,
                         const std::vector<std::string>& buffers) {
  LeafNames<T> names = reader.names();
  for (std::string& name : names.parameters) name = rename(name);
  const std::set<std::string> constants = constants_of(source);
  for (std::string& name : names.buffers) {
    const std::string renamed = rename(name);
    const bool is_constant = constants.contains(name) && std::ranges::find(buffers, renamed) == buffers.end();
    name = is_constant ? constant_text<T>(source.archive.read<T>(name, {.convert = true}),
                                          source.scalar() != dtype_of<T>)
                       : renamed;
  }
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

template <class T>
Description<T> described(const nn::Module<T>& model, const std::vector<Shape>& inputs, bool rounded) {
  const nn::Traced<T> traced = nn::traced(model, inputs, false);
  LeafNames<T> names = names_of(model);
  for (const auto& [name, value] : traced.constants) {
    names.buffers.push_back(constant_text<T>(value.value(), rounded));
  }
  Description<T> result;
  result.add(traced.evaluation, names);
  model.for_parameters([&](const std::string& name, const nn::Parameter<T>& parameter) {
    if (parameter.parametrization() == nullptr) return;
    result.factors[name] = parametrization_json(*parameter.parametrization(), parameter.shape(), name).dump();
  });
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
  const auto file = architecture::described(source, reader, rename, architecture::names_of(model).buffers);
  if (!reader.knows_all()) return {};
  constexpr Index most_entries = Index{1} << 22;  // of an input that is made up for it
  for (const Shape& shape : reader.inputs()) {
    if (shape.size() > most_entries) return {};
  }
  try {
    const auto ours = architecture::described(model, reader.inputs(), source.scalar() != dtype_of<T>);
    return {true, architecture::difference(file, ours)};
  } catch (const Error&) {
    return {};
  }
}

std::set<std::string> constants_in(const Archive& archive) {
  if (!archive.metadata().contains(architecture_key)) return {};
  try {
    const architecture::Source source(archive);
    return source.version > architecture_version ? std::set<std::string>()
                                                 : architecture::constants_of(source);
  } catch (const Error&) {
    return {};
  }
}

#define TAPER_INSTANTIATE(T) \
  template Comparison compare_architecture(const nn::Module<T>&, const Archive&, const Rename&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io

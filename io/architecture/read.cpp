#include <taper/io/architecture/read.hpp>

#include <algorithm>
#include <limits>
#include <utility>

#include <taper/instantiate.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/dtype.hpp>
#include <taper/io/model.hpp>

namespace taper::io {
namespace architecture {

using data::quote;

template <class T> Reader<T>::Reader(const Source& source) : source_(source) {
  source_.require_known();
  const auto add = [&](const char* key, Kind kind, std::vector<std::string>& names) {
    for (const Json& entry : source_.list_of(source_.root, key)) {
      if (kind == Kind::parameter) {
        source_.members(entry, {"name", "shape", "parametrization"});
      } else {
        source_.members(entry, {"name", "shape"});
      }
      names.push_back(source_.text_of(entry, "name"));
      const Value value{kind, static_cast<Index>(names.size()) - 1};
      if (!leaves_.emplace(names.back(), value).second) {
        source_.fail("with two parts named ", quote(names.back()));
      }
    }
  };
  add("inputs", Kind::input, names_.inputs);
  add("parameters", Kind::parameter, names_.parameters);
  add("buffers", Kind::buffer, names_.buffers);
  for (const Json& input : source_.list_of(source_.root, "inputs")) {
    inputs_.push_back(source_.shape_of(input, 1));
  }
}

template <class T> auto Reader<T>::read(bool convert) -> Graph {
  const ReadOptions options{.convert = convert};
  const std::string& scalar = source_.scalar();
  if (!convert && scalar != dtype_of<T>) {
    source_.archive.fail("has a model of ", scalar, ": expected ", dtype_of<T>, ", or `convert`");
  }
  typename Graph::Parts parts;
  parts.inputs = inputs_;
  for (const Json& entry : source_.list_of(source_.root, "parameters")) {
    parts.parameters.emplace_back(source_.text_of(entry, "name"), parameter(entry, options));
  }
  for (const Json& entry : source_.list_of(source_.root, "buffers")) {
    const std::string& name = source_.text_of(entry, "name");
    const Shape shape = source_.shape_of(entry);
    source_.archive.require<T>(name, shape, options);
    parts.buffers.emplace_back(name, nn::Buffer<T>(shape));
  }
  parts.evaluation = program("evaluation");
  parts.training = program("training");
  require_known();
  try {
    return Graph(std::move(parts));
  } catch (const Error& error) {
    source_.fail("that does not fit together, ", error.what());
  }
}

template <class T>
nn::Parameter<T> Reader<T>::parameter(const Json& entry, const ReadOptions& options) const {
  const std::string& name = source_.text_of(entry, "name");
  const Shape shape = source_.shape_of(entry);
  const auto [parametrization, gates] = factors(entry);
  if (parametrization == nullptr) {
    source_.archive.require<T>(name, shape, options);
    return nn::Parameter<T>(shape);
  }
  const std::vector<std::string> names = parametrization->factor_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    source_.archive.require<T>(name + '.' + names[i], i == 0 ? shape : gates, options);
  }
  try {
    nn::Parameter<T> made(shape);
    std::ranges::fill(made.value(), T{1});  // which any of them can compute
    made.parametrize(parametrization);
    return made;
  } catch (const Error& error) {
    fail_factors(name, error);
  }
}

template <class T> void Reader<T>::fail_factors(const std::string& name, const Error& error) const {
  source_.fail("with factors of ", quote(name), " that cannot be, ", error.what());
}

template <class T> Factors<T> Reader<T>::factors(const Json& entry) const {
  const Json* const made = source_.find(entry, "parametrization");
  return made == nullptr ? Factors<T>()
                         : factors(*made, source_.shape_of(entry), source_.text_of(entry, "name"));
}

template <class T>
Factors<T> Reader<T>::factors(const Json& json, const Shape& shape, const std::string& name) const {
  const std::string& kind = source_.text_of(json, "kind");
  if (kind == "simplex") {
    source_.members(json, {"kind"});
    return {std::make_shared<nn::Simplex<T>>(), shape};
  }
  if (kind != "hadamard") source_.fail("with the parametrization ", quote(kind), ", which is not known");
  source_.members(json, {"kind", "groups", "depth", "weights"});
  const std::string& word = source_.text_of(json, "groups");
  const auto groups = nn::Groups::from(word);
  if (!groups) source_.fail("with groups of ", quote(word), ", which are not known");
  std::vector<double> weights;
  for (const Json& weight : source_.list_of(json, "weights")) {
    if (!weight.is_number()) source_.fail("whose weights are no numbers");
    weights.push_back(weight.get<double>());
  }
  const Index depth = source_.whole(source_.member(json, "depth"), "depth");
  try {
    const auto made = std::make_shared<nn::Hadamard<T>>(*groups, depth, std::move(weights));
    made->group_count(shape);  // as many as there are weights
    return {made, groups->gates(shape)};
  } catch (const Error& error) {
    fail_factors(name, error);
  }
}

template <class T> auto Reader<T>::program(const char* mode) -> typename Graph::Program {
  const Json& json = source_.member(source_.root, mode);
  if (json == same_program && std::string_view(mode) != same_program) return program(same_program);
  source_.members(json, {"instructions", "outputs", "assignments"});
  typename Graph::Program result;
  std::map<std::string, Value> values = leaves_;
  const auto value = [&](const Json& entry) {
    const std::string& word = source_.text(entry, "values");
    const auto found = values.find(word);
    if (found == values.end()) source_.fail("that reads ", quote(word), " where there is no such value yet");
    return found->second;
  };
  for (const Json& line : source_.list_of(json, "instructions")) {
    source_.members(line, {"operation", "inputs", "settings", "layer"});
    typename Graph::Instruction instruction;
    const std::string& operation = source_.text_of(line, "operation");
    for (const Json& input : source_.list_of(line, "inputs")) {
      instruction.inputs.push_back(value(input));
    }
    if (const Json* const layer = source_.find(line, "layer"))
      instruction.path = source_.text(*layer, "layer");
    instruction.op = Op<T>::find(operation);
    if (instruction.op == nullptr) {
      unknown_operations_.insert(operation);
    } else {
      set(instruction, source_.find(line, "settings"));
    }
    const auto index = static_cast<Index>(result.instructions.size());
    if (!values.emplace('%' + std::to_string(index), Value{Kind::result, index}).second) {
      source_.fail("with a part named ", quote('%' + std::to_string(index)));
    }
    result.instructions.push_back(std::move(instruction));
  }
  for (const Json& output : source_.list_of(json, "outputs")) {
    result.outputs.push_back(value(output));
  }
  for (const Json& pair : source_.list_of(json, "assignments")) {
    if (source_.list(pair, "assignments").size() != 2) source_.fail("whose assignments are no pairs");
    result.assignments.emplace_back(value(pair[0]), value(pair[1]));
  }
  return result;
}

/// Gives an instruction its settings: all that the operation has.
template <class T> void Reader<T>::set(typename Graph::Instruction& instruction, const Json* settings) {
  const Op<T>& op = *instruction.op;
  instruction.attributes = default_attributes(op);
  if (settings != nullptr) {
    if (!settings->is_object()) source_.fail("whose settings are no object");
    for (const auto& item : settings->items()) {
      if (op.attributes.find(item.key()) == nullptr) {
        unknown_settings_.insert(item.key() + " of " + std::string(op.name));
      }
    }
  }
  for (const AttributeField& field : op.attributes.list) {
    const auto found =
        settings == nullptr ? Json::const_iterator() : settings->find(std::string(field.name()));
    if (settings == nullptr || found == settings->end()) {
      source_.fail("that lacks the setting ", quote(field.name()), " of ", op.name);
    }
    const bool real = std::holds_alternative<double>(field.get(instruction.attributes));
    try {
      field.set(instruction.attributes, setting(*found, real), op.name);
    } catch (const Error& error) {
      source_.fail("with a setting that cannot be, ", error.what());
    }
  }
}

/// The text of a word stays that of the JSON.
template <class T> AttributeValue Reader<T>::setting(const Json& json, bool real) const {
  switch (json.type()) {
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return source_.whole(json, "setting");
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::string: {
      const std::string& word = json.get_ref<const std::string&>();
      constexpr double infinity = std::numeric_limits<double>::infinity();
      for (const double special : {infinity, -infinity, std::numeric_limits<double>::quiet_NaN()}) {
        if (real && word == word_for(special)) return special;
      }
      return std::string_view(word);
    }
    case Json::value_t::array: {
      std::vector<Index> list;
      for (const Json& entry : json) list.push_back(source_.whole(entry, "list"));
      return IndexList(list);
    }
    default:
      source_.fail("with a setting that is neither number, word nor list");
  }
}

template <class T> void Reader<T>::require_known() const {
  const auto some = [](const std::set<std::string>& names) {
    return data::quote_some(std::vector<std::string>(names.begin(), names.end()));
  };
  if (!unknown_operations_.empty()) {
    source_.archive.fail("has a model of operations that are not known: ", some(unknown_operations_),
                         ": expected those of this Taper, and those that the program has made");
  }
  if (!unknown_settings_.empty()) {
    source_.archive.fail("has a model of settings that are not known: ", some(unknown_settings_),
                         ": expected those of this Taper's operations");
  }
}

TAPER_INSTANTIATE_CLASS(Reader)

}  // namespace architecture

template <class T> nn::Graph<T> graph_of(const Archive& archive, bool convert) {
  const architecture::Source source(archive);
  return architecture::Reader<T>(source).read(convert);
}

std::string scalar_of_model(const Archive& archive) {
  const architecture::Source source(archive);
  source.require_known();
  return source.scalar();
}

#define TAPER_INSTANTIATE(T) template nn::Graph<T> graph_of(const Archive&, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io

#include <taper/nn/graph.hpp>

#include <algorithm>
#include <ostream>
#include <sstream>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/instantiate.hpp>
#include <taper/nn/traced.hpp>

namespace taper::nn {
namespace {

template <class T> using Value = typename Graph<T>::Value;
template <class T> using Kind = typename Graph<T>::Value::Kind;

/// The shape of one row of an input.
Shape one_row(const Shape& shape) {
  if (shape.rank() < 1) throw Error("graph", "an input ", shape, ": expected rows");
  return shape.with(0, 1);
}

[[noreturn]] void throw_no_inputs() {
  throw Error("graph", "no inputs: expected one at least, which says on what tape");
}

/// Not the name of any parameter or buffer.
template <class T> std::string input_name(const Graph<T>& graph, Index index) {
  std::string name = "input" + std::to_string(index);
  const auto is_taken = [&](const auto& part) { return part.first == name; };
  while (std::ranges::any_of(graph.parts().parameters, is_taken) ||
         std::ranges::any_of(graph.parts().buffers, is_taken)) {
    name += '_';
  }
  return name;
}

template <class T> std::string name_of(const Graph<T>& graph, Value<T> value) {
  const auto k = static_cast<std::size_t>(value.index);
  switch (value.kind) {
    case Kind<T>::input:
      return input_name(graph, value.index);
    case Kind<T>::parameter:
      return graph.parts().parameters[k].first;
    case Kind<T>::buffer:
      return graph.parts().buffers[k].first;
    default:
      return '%' + std::to_string(value.index);
  }
}

template <class T>
std::string line(const Graph<T>& graph, const typename Graph<T>::Instruction& instruction) {
  std::ostringstream text;
  text << instruction.op->name << '(';
  const char* separator = "";
  for (const Value<T>& input : instruction.inputs) {
    text << separator << name_of(graph, input);
    separator = ", ";
  }
  for_attributes(
      *instruction.op, instruction.attributes,
      [&](std::string_view name, const AttributeValue& value) { text << ", " << name << '=' << value; });
  text << ')';
  return text.str();
}

/// Whether two programs compute the same in the same way.
template <class T> bool same(const typename Graph<T>::Program& a, const typename Graph<T>::Program& b) {
  using Instruction = typename Graph<T>::Instruction;
  const auto same_instruction = [](const Instruction& one, const Instruction& other) {
    return one.op == other.op && one.inputs == other.inputs &&
           one.op->attributes.same(one.attributes, other.attributes);
  };
  return a.outputs == b.outputs && a.assignments == b.assignments &&
         std::ranges::equal(a.instructions, b.instructions, same_instruction);
}

/// All that there is to compare, line by line.
template <class T> std::vector<std::string> lines(const Graph<T>& graph) {
  std::vector<std::string> result;
  const auto& parts = graph.parts();
  for (std::size_t k = 0; k < parts.inputs.size(); ++k) {
    std::string rest = parts.inputs[k].str();
    result.push_back(
        input_name(graph, static_cast<Index>(k)) + "  " +
        rest.replace(0, rest.find_first_of("x") == rest.npos ? rest.size() : rest.find('x'), "?"));
  }
  for (const auto& part : parts.parameters) {
    const std::string& name = part.first;  // clang does not let a lambda capture a structured binding
    std::string line = name + "  parameter " + part.second.shape().str();
    part.second.for_leaves(name, [&](const std::string& path, const Parameter<T>& leaf) {
      if (path != name) line += ", " + path + " " + leaf.shape().str();
    });
    result.push_back(line);
  }
  for (const auto& [name, buffer] : parts.buffers)
    result.push_back(name + "  buffer " + buffer.shape().str());
  const auto add = [&](const typename Graph<T>::Program& program) {
    Index number = 0;
    for (const auto& instruction : program.instructions) {
      result.push_back('%' + std::to_string(number++) + " = " + line(graph, instruction) +
                       (instruction.path.empty() ? "" : "  " + instruction.path));
    }
    std::string outputs = "outputs";
    for (const Value<T>& output : program.outputs) outputs += ' ' + name_of(graph, output);
    result.push_back(outputs);
    for (const auto& [buffer, value] : program.assignments) {
      result.push_back(name_of(graph, buffer) + " gets " + name_of(graph, value));
    }
  };
  add(parts.evaluation);
  result.push_back("training:");
  const std::size_t begin = result.size();
  add(parts.training);
  // Most models compute the same in training.
  const std::size_t length = result.size() - begin;
  if (begin > length && std::equal(result.begin() + static_cast<std::ptrdiff_t>(begin), result.end(),
                                   result.begin() + static_cast<std::ptrdiff_t>(begin - 1 - length))) {
    result.resize(begin);
    result.back() = "training: the same";
  }
  return result;
}

}  // namespace

template <class T> Graph<T>::Graph(Parts parts) : parts_(std::move(parts)) {
  this->for_parameters([](const std::string&, const Parameter<T>&) {});  // throws for names that are taken
  if (parts_.inputs.empty()) throw_no_inputs();
  for (Shape& shape : parts_.inputs) shape = one_row(shape);
  check(parts_.evaluation);
  check(parts_.training);
}

/// By shapes alone: the program may come from an untrusted file, so nothing is computed or allocated for it.
template <class T> void Graph<T>::check(const Program& program) const {
  // Two rows, of which a batch has moments.
  std::vector<Shape> inputs = parts_.inputs, results;
  for (Shape& shape : inputs) shape = shape.with(0, 2);
  results.reserve(program.instructions.size());  // references to them stay
  const auto shape_of = [&](const Value& value) -> const Shape& {
    const std::size_t counts[] = {parts_.inputs.size(), parts_.parameters.size(), parts_.buffers.size(),
                                  results.size()};
    const std::size_t count = counts[static_cast<std::size_t>(value.kind)];
    if (value.index < 0 || value.index >= static_cast<Index>(count)) {
      throw Error("graph", "value ", value.index, " of ", count, ": expected one that there is");
    }
    const auto k = static_cast<std::size_t>(value.index);
    switch (value.kind) {
      case Value::Kind::input:
        return inputs[k];
      case Value::Kind::parameter:
        return parts_.parameters[k].second.shape();
      case Value::Kind::buffer:
        return parts_.buffers[k].second.shape();
      default:
        return results[k];
    }
  };
  std::vector<const Shape*> shapes;
  for (const Instruction& instruction : program.instructions) {
    if (instruction.op == nullptr) {
      throw Error("graph", "an instruction without an operation", InLayer{instruction.path},
                  ": expected one");
    }
    const Op<T>& op = *instruction.op;
    shapes.clear();
    for (const Value& input : instruction.inputs) shapes.push_back(&shape_of(input));
    if (shapes.empty()) throw Error("graph", op.name, " without inputs: expected some");
    const InLayer layer{instruction.path};
    if (!op.arity.includes(static_cast<Index>(shapes.size()))) {
      throw Error(op.name, shapes.size(), shapes.size() == 1 ? " input" : " inputs", ": expected ", op.arity,
                  layer);
    }
    if (!op.attributes.fit(instruction.attributes)) {
      throw Error(op.name, "settings of another operation, or none: expected its own", layer);
    }
    try {
      results.push_back(op.shape(Signature{shapes, instruction.attributes}));
    } catch (const Error& error) {
      throw error.at(op.name, layer);
    }
  }
  for (const Value& output : program.outputs) shape_of(output);
  for (const auto& [buffer, value] : program.assignments) {
    if (buffer.kind != Value::Kind::buffer) throw Error("graph", "an assignment to what is no buffer");
    const Shape &target = shape_of(buffer), &assigned = shape_of(value);
    if (target != assigned) {
      throw Error("graph", "a value ", assigned, " for buffer '",
                  parts_.buffers[static_cast<std::size_t>(buffer.index)].first, "': expected ", target);
    }
  }
}

template <class T> Graph<T> Graph<T>::trace(const Module<T>& model, const std::vector<Shape>& inputs) {
  Traced<T> made = traced(model, inputs, true);
  Parts parts;
  for (const Shape& shape : inputs) parts.inputs.push_back(one_row(shape));
  model.for_parameters([&](const std::string& name, const Parameter<T>& parameter) {
    parts.parameters.emplace_back(name, parameter);
  });
  model.for_buffers(
      [&](const std::string& name, const Buffer<T>& buffer) { parts.buffers.emplace_back(name, buffer); });
  for (auto& constant : made.constants) parts.buffers.push_back(std::move(constant));
  parts.evaluation = std::move(made.evaluation), parts.training = std::move(made.training);
  return Graph(std::move(parts));
}

template <class T> const typename Graph<T>::Program& Graph<T>::program(const Tape<T>& tape) const {
  // The two differ at most where a layer asks for the mode: then it must be stated.
  const bool differ = !same<T>(parts_.training, parts_.evaluation);
  return differ && tape.training() ? parts_.training : parts_.evaluation;
}

template <class T>
Var<T> Graph<T>::bind(const Value& value, std::span<const Var<T>> inputs,
                      std::span<const Var<T>> results) const {
  const auto k = static_cast<std::size_t>(value.index);
  switch (value.kind) {
    case Value::Kind::input:
      return inputs[k];
    case Value::Kind::parameter:
      return parts_.parameters[k].second.bind(inputs[0].tape());
    case Value::Kind::buffer:
      return parts_.buffers[k].second.bind(inputs[0].tape());
    default:
      return results[k];
  }
}

template <class T> std::vector<Var<T>> Graph<T>::record_all(std::span<const Var<T>> given) const {
  if (given.size() != parts_.inputs.size()) {
    throw Error("graph", given.size(), " inputs: expected ", parts_.inputs.size());
  }
  for (std::size_t k = 0; k < given.size(); ++k) {
    const Shape &shape = given[k].shape(), &expected = parts_.inputs[k];
    if (shape.rank() == expected.rank() && shape.with(0, 1) == expected) continue;
    throw Error("graph", "input ", k, ", ", shape, ": expected rows like ", expected);
  }
  if (given.empty()) throw_no_inputs();
  Tape<T>& tape = given[0].tape();
  std::vector<Var<T>> results, inputs;
  for (const Instruction& instruction : program(tape).instructions) {
    const typename Tape<T>::Scope scope(tape, instruction.path);
    inputs.clear();
    for (const Value& input : instruction.inputs) inputs.push_back(bind(input, given, results));
    results.push_back(tape.record(*instruction.op, inputs, instruction.attributes));
  }
  return results;
}

template <class T> std::vector<Var<T>> Graph<T>::run(std::span<const Var<T>> given) const {
  const std::vector<Var<T>> results = record_all(given);
  Tape<T>& tape = given[0].tape();
  const Program& recorded = program(tape);
  std::vector<Var<T>> outputs;
  for (const Value& output : recorded.outputs) outputs.push_back(bind(output, given, results));
  for (const auto& [buffer, value] : recorded.assignments) {
    parts_.buffers[static_cast<std::size_t>(buffer.index)].second.assign_later(tape,
                                                                               bind(value, given, results));
  }
  return outputs;
}

template <class T> std::vector<Var<T>> Graph<T>::record(std::span<const Var<T>> inputs) const {
  if (inputs.empty()) return run(inputs);
  const ModuleScope<T> scope(inputs[0].tape(), *this);
  return run(inputs);
}

template <class T> Var<T> Graph<T>::forward(Var<T> x) const {
  const std::vector<Var<T>> outputs = run({&x, 1});
  if (outputs.size() != 1)
    throw Error("graph", "a graph with ", outputs.size(), " outputs as a layer: expected one");
  return outputs[0];
}

template <class T> void Graph<T>::visit(Visitor<T>& v) const {
  for (const auto& [name, parameter] : parts_.parameters) v(name, parameter);
  for (const auto& [name, buffer] : parts_.buffers) v(name, buffer);
}

template <class T> std::ostream& operator<<(std::ostream& out, const Graph<T>& graph) {
  for (const std::string& text : lines(graph)) out << text << '\n';
  return out;
}

template <class T> std::string difference(const Graph<T>& graph, const Graph<T>& other) {
  const std::vector<std::string> here = lines(graph), there = lines(other);
  for (std::size_t k = 0; k < std::max(here.size(), there.size()); ++k) {
    const std::string ours = k < here.size() ? here[k] : "nothing more",
                      theirs = k < there.size() ? there[k] : "nothing more";
    if (ours != theirs) return "has " + ours + " where the other has " + theirs;
  }
  return {};
}

TAPER_INSTANTIATE_CLASS(Graph)
#define TAPER_INSTANTIATE(T)                                         \
  template std::ostream& operator<<(std::ostream&, const Graph<T>&); \
  template std::string difference(const Graph<T>&, const Graph<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::nn

#include <taper/sparsity/shrink/graph_parts.hpp>

#include <algorithm>
#include <set>

#include <taper/instantiate.hpp>

namespace taper::sparsity::shrinking {
namespace {

template <class T> using Value = typename nn::Graph<T>::Value;

/// "fc1.bias" for "fc1.weight", or another name that is free.
template <class T> std::string name_of_bias(const typename nn::Graph<T>::Parts& parts, std::string name) {
  name = name.ends_with("weight") ? name.substr(0, name.size() - 6) + "bias" : name + ".bias";
  const auto taken = [&](const std::string& candidate) {
    const auto same = [&](const auto& part) { return part.first == candidate; };
    return std::ranges::any_of(parts.parameters, same) || std::ranges::any_of(parts.buffers, same);
  };
  std::string result = name;
  for (Index number = 0; taken(result); ++number) result = name + std::to_string(number);
  return result;
}

template <class T> Index uses(const typename nn::Graph<T>::Program& program, const Value<T>& value) {
  Index count = std::ranges::count(program.outputs, value);
  for (const auto& instruction : program.instructions) count += std::ranges::count(instruction.inputs, value);
  return count;
}

template <class T, class F> void for_values(typename nn::Graph<T>::Parts& parts, const F& f) {
  for (auto* const program : {&parts.evaluation, &parts.training}) {
    for (auto& instruction : program->instructions) {
      for (Value<T>& input : instruction.inputs) f(input);
    }
    for (Value<T>& output : program->outputs) f(output);
    for (auto& [buffer, value] : program->assignments) {
      f(buffer);
      f(value);
    }
  }
}

/// Takes parameters (or buffers) out that do not stay. Nothing may read them.
template <class T, class Named>
void keep(typename nn::Graph<T>::Parts& parts, typename Value<T>::Kind kind, std::vector<Named>& list,
          const std::vector<char>& stays) {
  std::vector<Index> position(list.size());
  std::vector<Named> kept;
  for (std::size_t k = 0; k < list.size(); ++k) {
    position[k] = static_cast<Index>(kept.size());
    if (stays[k] != 0) kept.push_back(std::move(list[k]));
  }
  list = std::move(kept);
  for_values<T>(parts, [&](Value<T>& value) {
    if (value.kind == kind) value.index = position[static_cast<std::size_t>(value.index)];
  });
}

template <class T> std::set<Index> buffers_read(const typename nn::Graph<T>::Program& program) {
  std::set<Index> read;
  const auto note = [&](const Value<T>& value) {
    if (value.kind == Value<T>::Kind::buffer) read.insert(value.index);
  };
  for (const auto& instruction : program.instructions) std::ranges::for_each(instruction.inputs, note);
  std::ranges::for_each(program.outputs, note);
  return read;
}

/// Takes out of a program what neither its outputs need nor buffers that somebody reads: `others` are those
/// that the other program does.
template <class T>
void eliminate_dead(typename nn::Graph<T>::Program& program, const std::set<Index>& others) {
  using Kind = typename Value<T>::Kind;
  std::set<Index> read = others;
  std::vector<char> live(program.instructions.size()), assigned(program.assignments.size());
  for (bool changed = true; changed;) {
    changed = false;
    const auto need = [&](const Value<T>& value) {
      if (value.kind == Kind::buffer) changed |= read.insert(value.index).second;
      if (value.kind == Kind::result) live[static_cast<std::size_t>(value.index)] = 1;
    };
    std::ranges::for_each(program.outputs, need);
    for (std::size_t k = 0; k < assigned.size(); ++k) {
      const auto& [buffer, value] = program.assignments[k];
      assigned[k] = read.contains(buffer.index);
      if (assigned[k] != 0) need(value);
    }
    for (std::size_t k = live.size(); k-- > 0;) {
      if (live[k] != 0) std::ranges::for_each(program.instructions[k].inputs, need);
    }
  }
  std::vector<Index> position(live.size());
  Index next = 0;
  for (std::size_t k = 0; k < live.size(); ++k) position[k] = live[k] != 0 ? next++ : -1;
  const auto move = [&](Value<T>& value) {
    if (value.kind == Kind::result) value.index = position[static_cast<std::size_t>(value.index)];
  };
  std::size_t k = 0;
  std::erase_if(program.instructions, [&](const auto&) { return live[k++] == 0; });
  k = 0;
  std::erase_if(program.assignments, [&](const auto&) { return assigned[k++] == 0; });
  for (auto& instruction : program.instructions) std::ranges::for_each(instruction.inputs, move);
  std::ranges::for_each(program.outputs, move);
  for (auto& [buffer, value] : program.assignments) move(value);
}

}  // namespace

template <class T> nn::Graph<T> without_unread(const nn::Graph<T>& graph, ShrinkReport& report) {
  using Kind = typename Value<T>::Kind;
  typename nn::Graph<T>::Parts parts = graph.parts();
  eliminate_dead<T>(parts.evaluation, {});
  eliminate_dead<T>(parts.training, buffers_read<T>(parts.evaluation));
  std::vector<char> parameters(parts.parameters.size()), buffers(parts.buffers.size());
  for_values<T>(parts, [&](const Value<T>& value) {
    if (value.kind == Kind::parameter) parameters[static_cast<std::size_t>(value.index)] = 1;
    if (value.kind == Kind::buffer) buffers[static_cast<std::size_t>(value.index)] = 1;
  });
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    if (parameters[k] != 0) continue;
    const auto& [name, parameter] = parts.parameters[k];
    report.parameters_before += parameter.shape().size();
    parameter.for_leaves(name, [&](const std::string& path, const nn::Parameter<T>& leaf) {
      report.removed.emplace_back(path, leaf.shape());
    });
  }
  for (std::size_t k = 0; k < buffers.size(); ++k) {
    const auto& [name, buffer] = parts.buffers[k];
    if (buffers[k] == 0) report.removed.emplace_back(name, buffer.shape());
  }
  keep<T>(parts, Kind::parameter, parts.parameters, parameters);
  keep<T>(parts, Kind::buffer, parts.buffers, buffers);
  return nn::Graph<T>(std::move(parts));
}

template <class T>
OpenBiases<T>::OpenBiases(const nn::Graph<T>& graph)
    : graph_(graph), first_(graph.parts().parameters.size()) {
  Tape<T> tape(Mode::evaluation);
  const nn::ModuleScope<T> scope(tape, graph);
  std::vector<Var<T>> inputs;
  for (const Shape& shape : graph.parts().inputs) inputs.push_back(tape.input(shape));
  const std::vector<Var<T>> results = graph.record_all(inputs);
  typename nn::Graph<T>::Parts parts = graph.parts();
  for (std::size_t k = 0; k < results.size(); ++k) {
    const auto& instruction = graph.parts().evaluation.instructions[k];
    const Node<T>& node = tape.nodes()[static_cast<std::size_t>(results[k].index())];
    const Structure rule = structure_of(tape, node);
    if (rule.bias != node.inputs) continue;
    for (const Link& link : rule.links) {
      const Value<T> weight = instruction.inputs[static_cast<std::size_t>(link.input)];
      if (link.to.axis != rule.bias_axis || weight.kind != Value<T>::Kind::parameter ||
          uses<T>(parts.evaluation, weight) != 1)
        continue;
      const Value<T> bias{Value<T>::Kind::parameter, static_cast<Index>(parts.parameters.size())};
      parts.parameters.emplace_back(
          name_of_bias<T>(parts, parts.parameters[static_cast<std::size_t>(weight.index)].first),
          nn::Parameter<T>(Shape{node.shape[link.to.axis]}));
      for (auto* const program : {&parts.evaluation, &parts.training}) {
        for (auto& reader : program->instructions) {
          if (reader.op == instruction.op && static_cast<Index>(reader.inputs.size()) == rule.bias &&
              reader.inputs[static_cast<std::size_t>(link.input)] == weight)
            reader.inputs.push_back(bias);
        }
      }
      break;  // one bias, whatever else is a parameter
    }
  }
  graph_ = nn::Graph<T>(std::move(parts));
}

template <class T> void OpenBiases<T>::close(nn::Graph<T>& cut, ShrinkReport& report) const {
  typename nn::Graph<T>::Parts parts = cut.parts();
  std::vector<char> stays(parts.parameters.size(), 1);
  for (std::size_t k = first_; k < parts.parameters.size(); ++k) {
    const std::string& name = parts.parameters[k].first;
    const nn::Parameter<T>& parameter = parts.parameters[k].second;
    const View<const T> value = parameter.value();
    stays[k] = std::ranges::any_of(value, [](T entry) { return entry != 0; });
    std::erase_if(report.rows, [&](const auto& row) { return row.name == name; });
    std::erase_if(report.reasons, [&](const auto& reason) { return reason.parameter == name; });
    report.parameters_before -= graph_.parts().parameters[k].second.shape().size();
    if (stays[k] != 0) {
      report.grown.emplace_back(name, parameter.shape());
    } else {
      report.parameters_after -= parameter.shape().size();
    }
  }
  for (auto* const program : {&parts.evaluation, &parts.training}) {
    for (auto& instruction : program->instructions) {
      const Value<T>& last = instruction.inputs.back();
      if (last.kind == Value<T>::Kind::parameter && stays[static_cast<std::size_t>(last.index)] == 0)
        instruction.inputs.pop_back();
    }
  }
  keep<T>(parts, Value<T>::Kind::parameter, parts.parameters, stays);
  cut = nn::Graph<T>(std::move(parts));
}

#define TAPER_INSTANTIATE(T) template nn::Graph<T> without_unread(const nn::Graph<T>&, ShrinkReport&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE
TAPER_INSTANTIATE_CLASS(OpenBiases)

}  // namespace taper::sparsity::shrinking

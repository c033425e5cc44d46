#include <taper/nn/traced.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>

namespace taper::nn {
namespace {

template <class T> using TracedValue = typename Graph<T>::Value;
template <class T> using TracedKind = typename Graph<T>::Value::Kind;

/// A model recorded once, and what each of its leaves is.
template <class T> struct Recording {
  Tape<T> tape;
  std::vector<std::size_t> outputs;
  std::map<std::size_t, TracedValue<T>> leaves;  // by position on the tape

  Recording(const Module<T>& model, const std::vector<Shape>& shapes, Index rows, Mode mode) : tape(mode) {
    const ModuleScope<T> scope(tape, model);
    std::vector<Var<T>> given;
    for (const Shape& shape : shapes) {
      given.push_back(tape.input(shape.with(0, rows)));
      const auto index = static_cast<Index>(given.size()) - 1;
      leaves[static_cast<std::size_t>(given.back().index())] = {TracedKind<T>::input, index};
    }
    for (const Var<T>& output : model.record(given))
      outputs.push_back(static_cast<std::size_t>(output.index()));
    const std::size_t recorded = tape.nodes().size();
    Index parameters = 0, buffers = 0;
    model.for_parameters([&](const std::string&, const Parameter<T>& parameter) {
      leaves[static_cast<std::size_t>(parameter.bind(tape).index())] = {TracedKind<T>::parameter,
                                                                        parameters++};
    });
    // Bound again, a buffer that has been assigned to would be its new value.
    model.for_buffers([&](const std::string&, const Buffer<T>& buffer) {
      const T* const place = buffer.value().data();
      for (std::size_t node = 0; node < recorded; ++node) {
        const Node<T>& leaf = tape.nodes()[node];
        // Empty ones may all be at the same place.
        if (leaf.op == nullptr && leaf.value == place && leaf.shape == buffer.shape()) {
          leaves.emplace(node, TracedValue<T>{TracedKind<T>::buffer, buffers});
        }
      }
      ++buffers;
    });
  }
};

std::string place(const std::string& path) {
  return path.empty() ? "" : " (layer " + path + ")";
}

[[noreturn]] void throw_depends_on_rows(const std::string& what) {
  throw Error("graph", what,
              " depends on the number of rows: expected a model that records the same for any");
}

template <class T> bool same_bits(View<const T> a, View<const T> b) {
  return a.shape() == b.shape() &&
         (a.size() == 0 ||
          std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0);
}

/// The settings of an operation for any number of rows. Of a list of dimensions, the one that is the number
/// of rows is worked out from the others.
template <class T>
Attributes free_of_rows(const Node<T>& one, const Node<T>& other, const std::string& path) {
  Attributes result = one.attributes;
  for (const AttributeField& field : one.op->attributes.list) {
    if (field.same(one.attributes, other.attributes)) continue;
    const AttributeValue value = field.get(one.attributes);
    const auto* const given = std::get_if<IndexList>(&value);
    IndexList list;
    Index open = 0;
    if (given != nullptr && given->size() == one.shape.rank()) {
      list = *given;
      for (Index axis = 0; axis < list.size(); ++axis) {
        const bool differs = one.shape[axis] != other.shape[axis];
        list[axis] = differs ? -1 : one.shape[axis];
        open += differs;
      }
    }
    if (open != 1) {
      throw_depends_on_rows("the setting '" + std::string(field.name()) + "' of " +
                            std::string(one.op->name) + place(path));
    }
    field.set(result, list, "graph");
  }
  return result;
}

/// The names of the parts of a model, and how many buffers it has.
template <class T> struct PartNames {
  std::set<std::string> names;
  Index buffers = 0;

  explicit PartNames(const Module<T>& model) {
    model.for_parameters([&](const std::string& name, const Parameter<T>&) { names.insert(name); });
    model.for_buffers([&](const std::string& name, const Buffer<T>&) { names.insert(name), ++buffers; });
  }
};

/// Makes a program of a model that was recorded for two numbers of rows, and buffers of its constants.
template <class T> class Tracer {
 public:
  using Constants = std::vector<std::pair<std::string, Buffer<T>>>;

  Tracer(const Recording<T>& one, const Recording<T>& other, const PartNames<T>& parts, Constants& constants)
      : one_(one), other_(other), parts_(parts), constants_(constants) {}

  typename Graph<T>::Program trace() {
    if (one_.tape.nodes().size() != other_.tape.nodes().size())
      throw_depends_on_rows("how many operations there are");
    std::set<std::size_t> needed;
    for (const std::size_t output : one_.outputs) need(output, needed);
    for (const auto& [buffer, value] : one_.tape.assignments()) need(value, needed);
    for (const std::size_t node : needed) values_[node] = convert(node);  // in the order of computation
    for (const std::size_t output : one_.outputs) program_.outputs.push_back(values_.at(output));
    for (const auto& [buffer, value] : one_.tape.assignments()) {
      program_.assignments.emplace_back(one_.leaves.at(buffer), values_.at(value));
    }
    return std::move(program_);
  }

 private:
  /// Notes a node and all that it is computed from.
  void need(std::size_t from, std::set<std::size_t>& needed) const {
    std::vector<std::size_t> open{from};
    while (!open.empty()) {
      const std::size_t node = open.back();
      open.pop_back();
      if (!needed.insert(node).second || one_.leaves.contains(node)) continue;
      for (const std::uint32_t input : one_.tape.inputs(one_.tape.nodes()[node])) open.push_back(input);
    }
  }

  TracedValue<T> convert(std::size_t index) {
    if (const auto leaf = one_.leaves.find(index); leaf != one_.leaves.end()) return leaf->second;
    const Node<T>&node = one_.tape.nodes()[index], &other = other_.tape.nodes()[index];
    if (node.op == nullptr) return constant(node, other);
    const std::string path = one_.tape.path(node);
    const auto inputs = one_.tape.inputs(node), others = other_.tape.inputs(other);
    if (node.op != other.op || !std::ranges::equal(inputs, others)) {
      throw_depends_on_rows("the operation " + std::string(node.op->name) + place(path));
    }
    typename Graph<T>::Instruction instruction{node.op, {}, free_of_rows(node, other, path), path};
    for (const std::uint32_t input : inputs) instruction.inputs.push_back(values_.at(input));
    program_.instructions.push_back(std::move(instruction));
    return {TracedKind<T>::result, static_cast<Index>(program_.instructions.size()) - 1};
  }

  TracedValue<T> constant(const Node<T>& node, const Node<T>& other) {
    if (node.requires_grad) {
      throw Error("graph", "'", one_.tape.path(node), "' ", node.shape,
                  ", which requires a gradient: expected parameters of the model, each as a whole");
    }
    const View<const T> value(node.value, node.shape);
    if (!same_bits<T>(value, {other.value, other.shape})) {
      throw_depends_on_rows("a constant " + node.shape.str());
    }
    const auto taken = [&](const std::string& name) {
      const auto has = [&](const auto& constant) { return constant.first == name; };
      return parts_.names.contains(name) || std::ranges::any_of(constants_, has);
    };
    std::size_t k = 0;
    while (k < constants_.size() && !same_bits<T>(std::as_const(constants_[k].second).value(), value)) ++k;
    if (k == constants_.size()) {
      std::size_t number = k;
      while (taken("constant" + std::to_string(number))) ++number;
      Buffer<T> buffer(node.shape);
      buffer = value;
      constants_.emplace_back("constant" + std::to_string(number), std::move(buffer));
    }
    return {TracedKind<T>::buffer, parts_.buffers + static_cast<Index>(k)};
  }

  const Recording<T>&one_, &other_;
  const PartNames<T>& parts_;
  Constants& constants_;
  typename Graph<T>::Program program_;
  std::map<std::size_t, TracedValue<T>> values_;
};

template <class T>
typename Graph<T>::Program program_of(const Module<T>& model, const std::vector<Shape>& inputs, Mode mode,
                                      const PartNames<T>& names, typename Tracer<T>::Constants& constants) {
  // Numbers of rows that no other dimension is likely to be.
  const Recording<T> one(model, inputs, 3, mode), other(model, inputs, 5, mode);
  return Tracer<T>(one, other, names, constants).trace();
}

}  // namespace

template <class T>
Traced<T> traced(const Module<T>& model, const std::vector<Shape>& inputs, bool with_training) {
  const KeepRandomState keep;
  const PartNames<T> names(model);
  for (const Shape& shape : inputs) {
    if (shape.rank() < 1) throw Error("graph", "an input ", shape, ": expected rows");
  }
  Traced<T> result;
  result.evaluation = program_of(model, inputs, Mode::evaluation, names, result.constants);
  if (with_training) {
    result.training = program_of(model, inputs, Mode::training, names, result.constants);
  }
  return result;
}

#define TAPER_INSTANTIATE(T) template Traced<T> traced(const Module<T>&, const std::vector<Shape>&, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::nn

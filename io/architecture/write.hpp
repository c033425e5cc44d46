#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include <taper/data/quote.hpp>
#include <taper/nn/graph.hpp>

namespace taper::io::architecture {

/// In place of the program for training, when it is the one for evaluation.
inline constexpr const char* same_program = "evaluation";

/// How a real number is written that JSON has none for; null for all others.
const char* word_for(double value);

/// The names of the values of a graph that no instruction makes.
template <class T> struct LeafNames {
  std::vector<std::string> inputs, parameters, buffers;

  LeafNames() = default;
  explicit LeafNames(const nn::Graph<T>& graph) {
    const auto& parts = graph.parts();
    std::set<std::string> taken;
    const auto add = [&](const auto& named, std::vector<std::string>& names) {
      for (const auto& [name, part] : named) {
        if (name.starts_with('%')) {
          throw Error("save", "a part named ", data::quote(name), ": expected no name that begins with '%'");
        }
        taken.insert(name);
        names.push_back(name);
      }
    };
    add(parts.parameters, parameters);
    add(parts.buffers, buffers);
    for (std::size_t k = 0; k < parts.inputs.size(); ++k) {
      inputs.push_back("input" + std::to_string(k));
      while (!taken.insert(inputs.back()).second) inputs.back() += '_';
    }
  }

  std::string operator()(const typename nn::Graph<T>::Value& value) const {
    using Kind = typename nn::Graph<T>::Value::Kind;
    const auto k = static_cast<std::size_t>(value.index);
    return value.kind == Kind::input       ? inputs[k]
           : value.kind == Kind::parameter ? parameters[k]
           : value.kind == Kind::buffer    ? buffers[k]
                                           : '%' + std::to_string(k);
  }
};

/// How factors make up a parameter of this shape, in JSON. Throws Error for what has no form there.
template <class T>
nlohmann::ordered_json parametrization_json(const nn::Parametrization<T>& made, const Shape& shape,
                                            const std::string& name);

}  // namespace taper::io::architecture

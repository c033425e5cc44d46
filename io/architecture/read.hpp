#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/io/architecture/source.hpp>
#include <taper/io/architecture/write.hpp>
#include <taper/nn/graph.hpp>

namespace taper::io::architecture {

/// How factors make up a parameter, and the shape of all but the first, which is the parameter's own.
template <class T> struct Factors {
  std::shared_ptr<const nn::Parametrization<T>> parametrization;
  Shape gates;
};

/// Reads the parts of a graph from what a file says. All that it does throws Error for an architecture that
/// is damaged.
template <class T> class Reader {
 public:
  using Graph = nn::Graph<T>;

  /// Reads what there is, by name. Throws Error for a newer version.
  explicit Reader(const Source& source);

  const LeafNames<T>& names() const { return names_; }
  /// Of one row.
  const std::vector<Shape>& inputs() const { return inputs_; }
  /// "evaluation" or "training". What is not known there is noted; an operation is null then.
  typename Graph::Program program(const char* mode);
  /// Throws Error for operations and settings that were noted, with their names.
  void require_known() const;
  bool knows_all() const { return unknown_operations_.empty() && unknown_settings_.empty(); }
  /// The factors of one of the "parameters"; null for one without.
  Factors<T> factors(const Json& entry) const;

  /// The graph. Throws Error, too, for what is not known and what does not fit together, and for tensors that
  /// the file does not have: memory is taken for no others.
  Graph read(bool convert);

 private:
  using Value = typename Graph::Value;
  using Kind = typename Value::Kind;

  nn::Parameter<T> parameter(const Json& entry, const ReadOptions& options) const;
  Factors<T> factors(const Json& json, const Shape& shape, const std::string& name) const;
  [[noreturn]] void fail_factors(const std::string& name, const Error& error) const;
  void set(typename Graph::Instruction& instruction, const Json* settings);
  AttributeValue setting(const Json& json, bool real) const;

  const Source& source_;
  std::vector<Shape> inputs_;
  LeafNames<T> names_;
  std::map<std::string, Value> leaves_;  // by name
  std::set<std::string> unknown_operations_, unknown_settings_;
};

}  // namespace taper::io::architecture

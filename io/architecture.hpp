#pragma once

#include <set>
#include <string>

#include <taper/io/archive.hpp>
#include <taper/io/rename.hpp>
#include <taper/nn/graph.hpp>

/// How a model computes, as text in a file. It is JSON, beside the tensors, which hold the elements:
///
///     {"version": 1, "scalar": "F32",
///      "inputs": [{"name": "input0", "shape": [8]}],                   // of one row, without the rows
///      "parameters": [{"name": "0.weight", "shape": [2, 8],
///                      "parametrization": {"kind": "hadamard", "groups": "inputs", "depth": 2, "weights":
///                      []}},
///                     {"name": "0.bias", "shape": [2]}],
///      "buffers": [{"name": "running", "shape": [8]}],
///      "evaluation": {"instructions": [{"operation": "affine", "inputs": ["input0", "0.weight", "0.bias"],
///                                       "settings": {"activation": "none"}, "layer": "0"},
///                                      {"operation": "leaky_relu", "inputs": ["%0"],
///                                       "settings": {"slope": 0.25}, "layer": "1"}],
///                     "outputs": ["%1"],
///                     "assignments": [["running", "%0"]]},
///      "training": "evaluation"}                                       // the same, or a program of its own
///
/// Groups are "elements", "outputs" (axis 0), "inputs" (axis 1), "axis 2" or "axis 3".
/// "%0" is the result of the first instruction. Settings have the types of AttributeValue: whole numbers,
/// real ones ("inf", "-inf" and "nan" are texts), true and false, words, lists. Every setting is there, and
/// nothing else may be: something unknown could change what the model computes. A change of this format
/// increases the version.
namespace taper::io {

/// The newest version that is known, which is the one that is written.
inline constexpr int architecture_version = 1;

/// What the metadata of a file call it.
inline constexpr const char* architecture_key = "taper.model";

/// The text for a graph. Throws Error for what cannot be written: parametrizations other than Hadamard and
/// Simplex, and those of factors; settings that are pointers; names that are no UTF-8 or begin with "%".
template <class T> std::string architecture_of(const nn::Graph<T>& graph);

/// The graph that a file describes, whose elements are still to be loaded. The shapes of its tensors are
/// compared with the file first, so that it takes no more memory than they need. Throws Error, with the path,
/// for a file without an architecture or with one that is damaged, of a newer version, of another scalar
/// (unless `convert`), or that does not fit together; operations and settings that are not known are named.
template <class T> nn::Graph<T> graph_of(const Archive& archive, bool convert);

/// Whether a model computes what a file says.
struct Comparison {
  bool known = false;      ///< Whether they could be compared.
  std::string difference;  ///< The first one, as "has ... where the model has ..."; empty when there is none.
};
/// Compares what is computed in evaluation, constants in the code to the bit (to that of float, where one is
/// in float and the other is not), and, where both have factors, how these are tied; names of the file are
/// renamed. The model is recorded for it. It cannot be compared with
/// a file that does not say how it computes or says so in a newer version, when it cannot be traced with such
/// inputs (see nn::Graph::trace), or has what cannot be written. Throws Error for an architecture that is
/// damaged.
template <class T>
Comparison compare_architecture(const nn::Module<T>& model, const Archive& archive, const Rename& rename);

/// The tensors of a file that stand for constants in the code of its model, which `load` does not look for in
/// another one: "constant0" and so on. None of a file without an architecture, or with one that is damaged or
/// newer.
std::set<std::string> constants_in(const Archive& archive);

}  // namespace taper::io

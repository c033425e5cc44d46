#pragma once

#include <map>
#include <string>
#include <vector>

#include <taper/io/archive.hpp>
#include <taper/nn/graph.hpp>

namespace taper::io {

/// Writes a model with its architecture: a file as `save` writes it, which other programs read by the names
/// of the tensors. Its metadata hold, under "taper.model", what the model computes (see architecture.hpp).
/// The file appears as a whole or not at all.
///
/// Throws Error like `save`, and for what has no form in a file: parametrizations other than Hadamard and
/// Simplex, settings of operations that are pointers.
template <class T>
void save_model(const nn::Graph<T>& graph, const std::string& path,
                const std::map<std::string, std::string>& metadata = {});
/// The same for any model, with the shapes of its inputs, of which the rows do not matter: its graph is
/// saved, with the constants that stand in the code. Throws Error like nn::Graph::trace, too.
template <class T>
void save_model(const nn::Module<T>& model, const std::vector<Shape>& inputs, const std::string& path,
                const std::map<std::string, std::string>& metadata = {});

struct ModelOptions {
  /// Whether a model of float is read in double, and the other way round, see ReadOptions. Without it,
  /// another scalar is an Error.
  bool convert = false;
};

/// Reads what save_model has written: a graph that computes the same bits, in training as well, with the same
/// masks and factors. Operations that a program has made are known where their records are.
///
/// Throws Error for a file that is missing, damaged or without an architecture; for an architecture of a
/// newer version; and for operations and settings that are not known, which it names. The sizes in a file are
/// checked before memory is allocated: a graph takes as much of it as its tensors. Running it is another
/// matter: a model from an untrusted source may compute for any time and allocate any amount of memory.
template <class T> nn::Graph<T> load_model(const std::string& path, const ModelOptions& options = {});
/// The same from a file that is open.
template <class T> nn::Graph<T> load_model(const Archive& archive, const ModelOptions& options = {});

/// What the elements of a model in a file are, "F32" for float or "F64" for double. Throws Error like
/// load_model.
std::string scalar_of_model(const Archive& archive);

}  // namespace taper::io

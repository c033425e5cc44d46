#pragma once

#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include <taper/io/archive.hpp>
#include <taper/io/rename.hpp>
#include <taper/nn/module.hpp>

namespace taper::io {

struct LoadOptions {
  /// Whether to take tensors of another floating-point dtype (F16, BF16, F32, F64), see ReadOptions.
  bool convert = false;
  /// Whether the file may have tensors that the model does not have, and lack some that it has. The shapes of
  /// those that both have must agree all the same.
  bool partial = false;
  /// What tensors of the file are called in the model. A mask follows its tensor.
  Rename rename = {};
  /// Whether masks are loaded: a parameter without one in the file is then free as a whole. If not, those of
  /// the file are left out, and the model keeps its own.
  bool masks = true;
  /// Whether the model must compute in evaluation what the file says, where it does (save_model) and the two
  /// can be compared: the same operations with the same settings, in the same order. With `partial` they are
  /// not compared. To compare them, the model is recorded.
  bool architecture = true;
};

/// What has been loaded; names are the model's, except those left over.
struct LoadReport {
  std::vector<std::string> loaded;   ///< parameters, factors of them, and buffers
  std::vector<std::string> missing;  ///< what the file lacks; these are as they were
  /// Tensors of the file that the model does not have, other than constants in the code of what was saved,
  /// and PyTorch's count of batches beside the statistics of a batch norm (`num_batches_tracked`), which
  /// nothing is computed with.
  std::vector<std::string> surplus;
  std::vector<std::string> converted;  ///< those of another dtype in the file
  /// Parameters that the file has as one tensor and the model in factors, with the names of these.
  std::vector<std::pair<std::string, std::vector<std::string>>> factorized;
  /// Whether the model was compared with what the file says that it computes, and was the same. If not, the
  /// names and shapes of its tensors are all that is known to fit.
  bool same_architecture = false;
};

/// "4 loaded, 2 converted, missing "2.bias", left over "fc.bias"", and so on.
std::ostream& operator<<(std::ostream& out, const LoadReport& report);

/// Reads a file that `save` or `save_model` has written, or another program, into a model of the same
/// structure: the same names with the same shapes and dtype, as far as the options do not allow for others.
/// Values become the same to the bit and masks the same. A factorized parameter takes the tensor of the whole
/// parameter, too: "0.weight" for "0.weight.u" and "0.weight.v" is decomposed as by Parameter::parametrize.
/// The elements stay where they are in memory, so tapes and optimizers go on with the new ones.
///
/// Throws Error for a file that is missing, damaged or for another model, with all names that are missing,
/// surplus or of another shape (the first of many); for another architecture in the file, with the first
/// difference; for a dtype or an element that cannot be converted; for two names that become one; for a
/// tensor that does not decompose; and where `partial` finds nothing at all to load. The model is then as it
/// was. The one exception is a file that another program writes to while its elements are copied, where the
/// system cannot keep it from that (see FileBytes): the model has to be loaded again.
template <class T>
LoadReport load(nn::Module<T>& model, const std::string& path, const LoadOptions& options = {});
/// The same from a file that is open.
template <class T>
LoadReport load(nn::Module<T>& model, const Archive& archive, const LoadOptions& options = {});

}  // namespace taper::io

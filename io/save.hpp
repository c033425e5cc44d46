#pragma once

#include <map>
#include <string>

#include <taper/nn/module.hpp>

namespace taper::io {

/// Writes all elements and masks of a model to a file in the safetensors format, which other tools read:
/// eight bytes with the length of the header (little-endian), the header in JSON, {"name": {"dtype", "shape",
/// "data_offsets"}}, and the raw elements, little-endian and row-major
/// (https://huggingface.co/docs/safetensors).
///
/// There is one tensor for each parameter and buffer by its name in the model, "0.weight" for example, with
/// dtype F32 or F64; of a factorized parameter one for each factor, whereas depth and weights of groups
/// belong to the structure. A parameter with frozen entries has a second tensor "0.weight.mask" of the same
/// shape with dtype BOOL, 1 where an entry is free. What an optimizer remembers is not saved. `metadata` is
/// any text by name, which Archive::metadata() reads; there is "format": "taper" beside it, unless it has
/// another "format".
///
/// The file appears as a whole or not at all (see AtomicFile), so a failed save leaves an older file as it
/// was. Throws Error when that cannot be done, when the path leads to something else than a file, for names
/// and texts that are no UTF-8, for names that are needed twice, for so many parameters that the header would
/// pass what readers take, and for metadata with the architecture of a model ("taper.model"), which might be
/// of another one: only save_model writes that.
template <class T>
void save(const nn::Module<T>& model, const std::string& path,
          const std::map<std::string, std::string>& metadata = {});

}  // namespace taper::io

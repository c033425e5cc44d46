#pragma once

#include <filesystem>

#include <taper/nn/module.hpp>

namespace taper::io {

/// Writes all numbers and masks of a model to a file in the safetensors format, which other tools read: eight
/// bytes with the length of the header (little-endian), the header in JSON, {"name": {"dtype", "shape",
/// "data_offsets"}}, and the raw numbers, little-endian and row-major
/// (https://huggingface.co/docs/safetensors).
///
/// There is one tensor for each parameter by its name as in Module::parameters(), "0.weight" for example,
/// with dtype F32 or F64; of a factorized parameter one for each factor, whereas depth and weights of groups
/// belong to the structure. One with frozen entries has a second tensor "0.weight.mask" of the same shape
/// with dtype BOOL, 1 where an entry is free. What an optimizer remembers is not saved.
///
/// The file appears as a whole or not at all (see AtomicFile), so a failed save leaves an older file as it
/// was. Throws Error when that cannot be done, when the path leads to something else than a file, for names
/// that are no UTF-8 or are needed twice, and for so many parameters that the header would pass what readers
/// take.
template <class T> void save(nn::Module<T>& model, const std::filesystem::path& path);

/// Reads what `save` has written into a model of the same structure: the same names with the same shapes and
/// dtype. Values become the same to the bit and masks the same: a parameter without a mask in the file is
/// free as a whole. The numbers stay where they are in memory, so tapes and optimizers go on with the new
/// ones.
///
/// Throws Error for a file that is missing, damaged or for another model, naming what is missing, surplus or
/// different; then the model is as it was.
template <class T> void load(nn::Module<T>& model, const std::filesystem::path& path);

#define TAPER_EXTERN(T)                                                    \
  extern template void save(nn::Module<T>&, const std::filesystem::path&); \
  extern template void load(nn::Module<T>&, const std::filesystem::path&);
TAPER_EXTERN(float)
TAPER_EXTERN(double)
#undef TAPER_EXTERN

}  // namespace taper::io

#pragma once

#include <optional>
#include <string>

#include <taper/autodiff/error.hpp>
#include <taper/train/trainer_state.hpp>

namespace taper::io {

/// Reads a checkpoint. Of a file that is damaged (that cannot be read, is no whole safetensors file, or has
/// other contents than were written), it returns nothing, and in `damage` what is wrong. Throws Error for a
/// whole file that is no checkpoint of this version and scalar.
template <class T>
std::optional<train::TrainerState<T>> read_unless_damaged(const std::string& path,
                                                          std::optional<Error>& damage);

}  // namespace taper::io

#pragma once

#include <string>

#include <taper/data/preprocessing.hpp>

namespace taper::io {

/// The version of what to_json writes.
inline constexpr int preprocessing_version = 2;

/// A preprocessing as JSON in one line, for the metadata of a model's file: the columns with their kinds,
/// categories and fills, the features with means and scales, the target with its classes. Numbers are read
/// again to the bit. Throws Error for names that are no UTF-8 and numbers that are not finite.
std::string to_json(const data::Preprocessing& preprocessing);

/// Reads what to_json has written. `source` names the file in errors. Throws Error for text that is no such
/// JSON, for another version, which it names, and for values that do not fit each other: features of columns
/// and categories that are not there, scales that are not above 0.
data::Preprocessing preprocessing_from_json(const std::string& text, const std::string& source);

}  // namespace taper::io

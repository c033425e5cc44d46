#pragma once

#include <vector>

#include <taper/data/preprocessing.hpp>

/// What learning and applying a preprocessing have in common: questions about one column.
namespace taper::data {

/// The values that are there.
std::vector<double> present_values(const Column& column);
bool has_missing(const Column& column);
/// Whether labels tell nothing, as each of them is in one row only: they number the rows, or name them.
bool all_different(const Column& column);
/// A column of numbers as one of labels, which are the numbers.
Column as_labels(const Column& column);

/// Throws Error for columns of different lengths.
void check_lengths(const Table& table);

/// Mean and scale of a target that is a number. Throws Error where they leave the range of double.
void set_target_scale(TargetColumn& target, const Column& column);

constexpr Index unknown_category = -1, missing_category = -2;
/// The place of each label of a column among these categories, or unknown_category.
std::vector<Index> category_of(const Column& column, const std::vector<std::string>& categories);

}  // namespace taper::data

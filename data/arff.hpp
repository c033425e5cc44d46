#pragma once

#include <string_view>

#include <taper/data/table.hpp>

namespace taper::data {

/// Whether a text is ARFF: it begins, behind comments, with @relation.
bool is_arff(std::string_view text);

/// Reads the attribute-relation file format of Weka (Witten, Frank and Hall, "Data mining", 3rd ed. 2011,
/// section 2.4): attributes of type numeric, real and integer become columns of numbers; of a list {a, b,
/// ...}, of type string and of type date columns of labels. Rows are cells between commas, or, in braces,
/// pairs of a position (from 0) and a cell, where all others are 0, or the first label. ? is a missing cell
/// and becomes NaN. Text may stand in single or double quotes; % begins a comment line.
///
/// Throws Error, naming `source` and line, for anything else: relational attributes, two of one name, a cell
/// that is no finite number or not in the list, a row of too few or too many cells, text behind a row in
/// braces, no rows, and rows in braces that make a table too large for what they hold (see
/// check_written_out).
Table parse_arff(std::string_view text, std::string_view source = "text");

}  // namespace taper::data

#pragma once

#include <string>
#include <vector>

#include <taper/data/table.hpp>

/// From a table as it was read to one of numbers alone.
namespace taper::data {

/// Puts the labels of a column in order: by value where all are numbers, else by the alphabet (byte by byte).
/// The values follow. A column of numbers stays as it is.
void sort_labels(Column& column);

/// The classes of a target, named as in the table.
struct Classes {
  std::string zero, one;
};

/// Turns a column of two labels, or of two values, into 0 and 1. `positive` names the class that becomes 1,
/// letter for letter or, where none is written so, as a number of the same value; without it that is the
/// second one in the order of sort_labels. A missing cell stays. Throws Error for a column of more or fewer
/// classes, and for a name that is not among them.
Classes encode_classes(Column& column, const std::string& positive = "");

/// Whether a column holds whole numbers that rise from row to row, as the number of a row does; for three
/// rows and more.
bool looks_like_row_number(const Column& column);

/// What a missing cell becomes: that of a number the mean or the median of the others in its column;
/// `indicator` is the mean and a further column, 1 where the cell is missing and else 0. A missing label
/// becomes the label "missing".
enum class Fill { mean, median, indicator };

/// A column in which cells were filled.
struct FilledColumn {
  std::string name;
  Index cells = 0;        ///< How many were missing.
  double value = 0;       ///< What they became, for a column of numbers.
  std::string indicator;  ///< Name of the further column, "NAME missing"; empty where there is none.
};

/// Fills every missing cell. Means and medians are those of all the rows of the table that have a value.
/// Throws Error for a column without any, and for a name that is there already.
std::vector<FilledColumn> fill_missing(Table& table, Fill fill);

/// What became of a column of labels.
struct OneHotColumn {
  std::string name;                  ///< Of the column of labels.
  std::vector<std::string> columns;  ///< Of those in its place, "NAME=LABEL"; none for a single label.
};

/// Replaces each column of labels by columns of 0 and 1, one for each label, in the order of sort_labels; of
/// two labels by one column, which is 1 for the second; one label by nothing. Labels that are all words for
/// true and false (TRUE, False, ...) become one column of the same name, 1 for true. Throws Error for missing
/// cells, and for a name that is there already.
std::vector<OneHotColumn> one_hot(Table& table);

}  // namespace taper::data

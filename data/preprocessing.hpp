#pragma once

#include <optional>
#include <string>
#include <vector>

#include <taper/autodiff/tensor.hpp>
#include <taper/data/libsvm.hpp>
#include <taper/data/table.hpp>

/// From a table as people have it to the numbers that a model takes, learned once and applied again.
namespace taper::data {

/// What a model is to say about its target.
enum class TargetKind {
  regression,   ///< a number
  two_classes,  ///< which of two
  classes,      ///< which of more
};

struct TargetColumn {
  std::string name;
  TargetKind kind = TargetKind::regression;
  std::vector<std::string> classes;  ///< In the order of sort_labels; none for regression.
  double mean = 0, scale = 1;        ///< Of a number: models see (y - mean) / scale.
};

/// What a target is, by its values: text is classes, two different numbers are, and so are whole numbers from
/// 0 or 1 on without a gap, 3 to 20 of them, of which each has five rows at least. Other numbers are a
/// regression. `kind` decides otherwise: numbers as classes (at most 1000 of them), or as a regression.
/// Throws Error for a column without values, of one value, of text that differs in every row, and for text as
/// a regression.
TargetColumn decide_target(const Column& column, std::optional<TargetKind> kind = {});

enum class ColumnKind {
  number,
  category,  ///< text, one feature for each category
  date,      ///< text that is dates in each cell (see parse_date); its number is days since 1970-01-01
  unused,    ///< nothing to learn from, see InputColumn::reason
};

/// A column of the table that was learned from.
struct InputColumn {
  std::string name;
  ColumnKind kind = ColumnKind::number;
  std::vector<std::string> categories;  ///< of a category, those with a feature of their own
  double fill = 0;                      ///< of a number or date: what a missing cell becomes, the mean
  std::string reason;                   ///< of an unused one: why
  bool missing = false;                 ///< whether training rows had missing cells here,
  bool others = false;                  ///< or categories beside those above
};

/// One of the numbers that a model takes for each row.
struct Feature {
  enum class Kind {
    value,     ///< the number of the cell
    missing,   ///< 1 where the cell is missing, else 0
    category,  ///< 1 where the cell is this category, else 0
    other,     ///< 1 where it is a category without a feature of its own
  };
  std::string name;  ///< "age", "age missing", "color=red", "color=other"
  Index column = 0;  ///< in Preprocessing::columns
  Kind kind = Kind::value;
  Index category = 0;          ///< in InputColumn::categories
  double mean = 0, scale = 1;  ///< The model takes (number - mean) / scale.
};

struct PreprocessingOptions {
  /// Categories of a column with a feature of their own at most, the most frequent ones; the others share
  /// one.
  Index most_categories = 32;
  std::vector<std::string> missing_words = {};  ///< Preprocessing::missing_words
};

/// How the columns of a table become the features of a model: missing cells are filled and marked, categories
/// become 0 and 1, dates numbers, and all features are standardized. It is learned from training rows alone
/// (fit_preprocessing), applied to any table that has the same columns by name, in any order, and is data: it
/// can be kept in a file (io::to_json).
struct Preprocessing {
  std::vector<InputColumn> columns;
  std::vector<Feature> features;
  TargetColumn target;
  /// Cells that count as missing, beside those that always do (CsvOptions::missing_words), in the table that
  /// was learned from and in all others.
  std::vector<std::string> missing_words = {};

  /// The features of a table, rows x features, standardized. Columns that no feature reads need not be there,
  /// and others may. A missing cell of a number is the mean of the training rows, and where these had missing
  /// cells in the column, it is marked; a missing or unknown category is as the average training row where
  /// these had none like it. What is filled so is told in `notes`, in sentences. Throws Error for columns
  /// that are not there, which it names, for text where numbers were, and for numbers that leave the range of
  /// double when they are standardized.
  Tensor<double> apply(const Table& table, std::vector<std::string>& notes) const;
  /// The same for LIBSVM, where a column that is not there is zero.
  Tensor<double> apply(const SparseSet& set, std::vector<std::string>& notes) const;
  /// The target as models are trained on: standardized, or 0, 1, 2, ... by the order of the classes. Throws
  /// Error for missing cells, classes that are not known, and text in place of numbers.
  std::vector<double> apply_target(const Column& column) const;

  /// Keeps these features, in this order, and the columns that they read. Throws Error for one that is not
  /// there.
  void keep(const std::vector<Index>& kept);
  /// The names of the columns that the features read, in the order of the table.
  std::vector<std::string> inputs() const;
};

/// Learns from a table of training rows that has the target among its columns. A number that is the same in
/// every row (or missing in every row) is unused; in a column with missing cells they have a feature of their
/// own. Two categories without missing cells are one feature. Throws Error for text that is different in
/// every row, for a table without other columns than the target or without any that can be used, and for
/// columns of different lengths.
Preprocessing fit_preprocessing(const Table& training, TargetColumn target,
                                const PreprocessingOptions& options = {});
/// The same for LIBSVM: every column is a feature, as it is.
Preprocessing fit_preprocessing(const SparseSet& training, TargetColumn target);

/// These rows of a table, with all its labels. Throws Error for a row that does not exist.
Table rows(const Table& table, const std::vector<Index>& chosen);

}  // namespace taper::data

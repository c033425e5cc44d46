#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <taper/autodiff/shape.hpp>
#include <vector>

/// Figures by gnuplot: a script and its numbers are written, and drawn where gnuplot is installed.
namespace taper::apps {

/// A block of numbers in the data file of a figure, row by row; NaN is a hole.
struct Series {
  std::string name;                  ///< what the script finds it by: plot data index "name"
  std::vector<std::string> columns;  ///< what the columns are, for a reader of the file
  std::vector<std::vector<double>> rows;
};

/// One figure. Its commands see the string `data`, the name of the data file, and the colours of the house:
/// ink, blue, red, grey and pale.
struct Figure {
  std::string name;           ///< of its files: name.gp, name.dat, name.svg, name.png
  int width = 0, height = 0;  ///< in points, 72 to an inch
  std::string commands;       ///< of gnuplot, behind the style that all figures share
  std::vector<Series> series;
};

/// Whether figures can be written to a folder, which need not exist yet; asked before the work is done.
bool can_hold_figures(const std::string& folder);

/// Writes the script and the numbers of the figures to a folder, which is made when it is not there, and has
/// gnuplot draw each as SVG and PNG. Where that is not installed, or fails, the files stay and the sentence
/// that is returned says so; else it says what was drawn. Throws Error for a folder that cannot be written,
/// and before anything is written where one of these files is one that this program has read or written.
std::string draw(const std::vector<Figure>& figures, const std::string& folder);

/// Heights for labels of one size beside `at`, in the same order: moved as little (in squares) as it takes to
/// be `apart` and between `low` and `high`. Where these have no room for all, `apart` shrinks.
std::vector<double> spread(const std::vector<double>& at, double apart,
                           double low = -std::numeric_limits<double>::infinity(),
                           double high = std::numeric_limits<double>::infinity());

/// Which of the places `at`, rising, carry a name: the first, and each that is `apart` from the one before.
std::vector<bool> thinned(const std::vector<double>& at, double apart);

/// Names of tics, on one format, at multiples of a step between two ends, at most `count` + 1 of them.
struct Tics {
  std::vector<double> at;
  std::vector<std::string> names;

  /// As gnuplot takes them: ("0" 0, "1" 1).
  std::string text() const;
  /// Characters of the longest name.
  Index widest() const;
};
Tics tics_between(double low, double high, int count);

/// The width in points of a text in UTF-8 at a size of letters, or somewhat more: each character counts with
/// the larger of its widths in Helvetica and in DejaVu Sans, which often stands in for that.
double text_width(const std::string& text, double size);

/// The least of 1, 2 or 5 times a power of ten that divides a range, more than 0, in at most so many parts.
double step(double range, int count);

/// Text in quotes for gnuplot, which shows it letter for letter where the command says `noenhanced`.
std::string quoted(const std::string& text);

}  // namespace taper::apps

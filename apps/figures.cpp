#include "figures.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

namespace taper::apps {
namespace {

/// A whole number with a minus sign of its width.
std::string exponent(int power) {
  return power < 0 ? fmt::format("−{}", -power) : fmt::format("{}", power);
}

/// Positions and names of tics at 0 and powers of ten on an axis of asinh(x / scale); names keep `apart`,
/// tics between them have none.
std::string asinh_tics(double scale, double most, double apart) {
  std::vector<double> at{0};
  std::vector<int> powers{0};
  for (int power = static_cast<int>(std::round(std::log10(scale))); std::pow(10, power) <= most; ++power) {
    at.push_back(std::asinh(std::pow(10, power) / scale));
    powers.push_back(power);
  }
  const std::vector<bool> named = thinned(at, apart);
  std::string tics = "(\"0\" 0";
  for (std::size_t k = 1; k < at.size(); ++k) {
    const std::string name = named[k] ? fmt::format("10^{{{}}}", exponent(powers[k])) : "";
    tics += fmt::format(", \"{0}\" {2:.6g}, \"{1}{0}\" {3:.6g}", name, named[k] ? "−" : "", at[k], -at[k]);
  }
  return tics + ")";
}

/// Black boxes, as large as they can be: runs in a row, over all rows that have the same run. Boxes that
/// touch would show seams.
void add_boxes(const Pattern& layer, double left, double top, Series& to) {
  using Run = std::pair<std::size_t, std::size_t>;
  std::map<Run, std::size_t> open;  // with the row that each began in
  for (std::size_t i = 0; i <= layer.outputs; ++i) {
    std::map<Run, std::size_t> here;
    for (std::size_t j = 0; i < layer.outputs && j < layer.inputs; ++j) {
      const std::size_t from = j;
      while (j < layer.inputs && layer.nonzero[i * layer.inputs + j]) ++j;
      if (j == from) continue;
      const auto before = open.find({from, j});
      here[{from, j}] = before == open.end() ? i : before->second;
    }
    for (const auto& [run, began] : open) {
      if (here.contains(run)) continue;
      const double x = left + static_cast<double>(run.first), right = left + static_cast<double>(run.second);
      const double above = top - static_cast<double>(began), below = top - static_cast<double>(i);
      to.rows.push_back({(x + right) / 2, (above + below) / 2, x, right, below, above});
    }
    open = std::move(here);
  }
}

}  // namespace

Figure coefficients_figure(const std::vector<double>& exact, const std::vector<double>& found,
                           const std::string& method) {
  Series in{"in", {"exact", "found"}, {}}, out{"out", {"exact", "found"}, {}};
  double most = 0;
  for (std::size_t j = 0; j < exact.size(); ++j) {
    (exact[j] != 0 ? in : out).rows.push_back({exact[j], found[j]});
    most = std::max({most, std::abs(exact[j]), std::abs(found[j])});
  }
  const double scale = std::pow(10, std::floor(std::log10(most > 0 ? most : 1)) - 2);
  const double end = std::asinh(1.2 * (most > 0 ? most : 1) / scale);
  Figure figure{"coefficients", 360, 350, {}, {}};
  figure.commands = fmt::format("  s = {:.9g}\n  set xrange [{:.6g}:{:.6g}]; set yrange [{:.6g}:{:.6g}]\n",
                                scale, -end, end, -end, end);
  const std::string tics = asinh_tics(scale, 1.2 * most, 36.0 / 260 * 2 * end);  // names of 36 points on 260
  figure.commands += "  set xtics " + tics + "; set ytics " + tics + "\n";
  figure.commands +=
      "  set size square; set xlabel \"exact coefficient\"; set lmargin 12; set ylabel \"coefficient by " +
      method + "\" offset -1.5,0\n  set key left top reverse Left\n";
  std::string lines = "x linestyle 3 linewidth 0.6";
  for (const auto& [series, style] : {std::pair{&out, "2"}, {&in, "1"}}) {
    if (series->rows.empty()) continue;
    lines += fmt::format(
        ", data index \"{0}\" using (asinh($1/s)):(asinh($2/s)) with points linestyle {1} title \"exact "
        "{2}zero "
        "({3})\"",
        series->name, style, series == &in ? "non" : "", series->rows.size());
    figure.series.push_back(*series);
  }
  figure.commands += "  plot " + lines;
  return figure;
}

Figure convergence_figure(const std::vector<double>& excess, double proximal, double floor,
                          const std::string& unit) {
  const double hole = std::numeric_limits<double>::quiet_NaN();
  Series curve{"curve", {unit, "excess"}, {}};
  double least = std::numeric_limits<double>::infinity(), most = 0, last = hole, last_at = hole;
  const auto shown = [&](double value) {
    if (!std::isfinite(value)) return hole;
    value = std::max(value, floor);
    least = std::min(least, value), most = std::max(most, value);
    return value;
  };
  for (std::size_t k = 0; k < excess.size(); ++k) {
    const double at = static_cast<double>(k + 1);
    curve.rows.push_back({at, shown(excess[k])});
    if (std::isfinite(excess[k])) last = curve.rows.back()[1], last_at = at;
  }
  proximal = shown(proximal);
  if (!(most > 0)) least = 0.1, most = 1;
  const double bottom = std::floor(std::log10(0.8 * least)), top = std::ceil(std::log10(most));
  Figure figure{"convergence", 430, 290, {}, {std::move(curve)}};
  const double end = static_cast<double>(std::max<std::size_t>(excess.size(), 2));
  figure.commands = fmt::format(
      "  set logscale y; set format y \"10^{{%T}}\"; set mytics {}\n  set rmargin 15\n"
      "  set xrange [0:{:.9g}]; set yrange [{:.3g}:{:.3g}]\n"
      "  set xlabel \"{}\"; set ylabel \"objective − minimum\" offset 0,0\n",
      top - bottom <= 8 ? 10 : 1, end, std::pow(10, bottom), std::pow(10, top), unit);
  std::string lines = "data index \"curve\" using 1:2 with lines linestyle 1";
  struct Mark {
    const char* name;
    double at, value;
    const char *colour, *shape;
  };
  std::vector<Mark> marks;
  if (last > 0) marks.push_back({"final", last_at, last, "blue", "7"});
  if (proximal > 0) marks.push_back({"proximal", end, proximal, "red", "6"});
  std::vector<double> heights;
  for (const Mark& mark : marks) heights.push_back(std::log10(mark.value));
  heights = spread(heights, 0.055 * (top - bottom));
  for (std::size_t i = 0; i < marks.size(); ++i) {
    const auto& [name, at, value, colour, shape] = marks[i];
    const double power = std::floor(std::log10(value));
    figure.series.push_back({name, {unit, "excess"}, {{at, value}}});
    figure.commands += fmt::format(
        "  set label \"{}{} {:.1f}×10^{{{}}}\" at graph 1.03, first {:.9g} font \",9\" textcolor rgb {}\n",
        name, value == floor ? " <" : "", value / std::pow(10, power), exponent(static_cast<int>(power)),
        std::pow(10, heights[i]), colour);
    lines += fmt::format(
        ", data index \"{}\" using 1:2 with points pointtype {} pointsize 0.6 linewidth 1.4 linecolor rgb {}",
        name, shape, colour);
  }
  figure.commands += "  plot " + lines;
  return figure;
}

Figure layers_figure(const std::vector<Pattern>& layers) {
  constexpr double gap = 12;  // in weights, as all lengths here
  double width = gap, height = 0;
  for (const Pattern& layer : layers) {
    width += static_cast<double>(layer.inputs) + gap;
    height = std::max(height, static_cast<double>(layer.outputs));
  }
  const double points = std::min(460 / width, 320 / height);
  const double line = 13 / points;  // of text
  Figure figure{"layers", 0, 0, {}, {}};
  figure.width = static_cast<int>(std::ceil(width * points));
  figure.height = static_cast<int>(std::ceil((height + 5.2 * line) * points));
  figure.commands = fmt::format(
      "  unset border; unset tics; set margins 0,0,0,0; set style fill solid 1 border\n"
      "  set xrange [0:{:.6g}]; set yrange [{:.6g}:{:.6g}]\n",
      width, -3.6 * line, height + 1.6 * line);
  Series black{"nonzero", {"x", "y", "left", "right", "below", "above"}, {}};
  double left = gap;
  figure.commands += fmt::format(
      "  set label \"black: not zero; rows: outputs, columns: inputs\" at {:.6g},{:.6g} center font \",9\" "
      "textcolor rgb grey\n",
      width / 2, -2.9 * line);
  for (std::size_t number = 0; number < layers.size(); ++number) {
    const Pattern& layer = layers[number];
    const double rows = static_cast<double>(layer.outputs), columns = static_cast<double>(layer.inputs);
    const double top = (height + rows) / 2, bottom = top - rows, middle = left + columns / 2;
    add_boxes(layer, left, top, black);
    figure.commands += fmt::format(
        "  set object rectangle from {:.6g},{:.6g} to {:.6g},{:.6g} front fillstyle empty border rgb ink "
        "linewidth "
        "0.5\n",
        left, bottom, left + columns, top);
    const char* const label = "  set label \"{}\" at {:.6g},{:.6g} center font \",{}\" textcolor rgb ink\n";
    figure.commands +=
        fmt::format(fmt::runtime(label), fmt::format("layer {}", number + 1), middle, top + 0.8 * line, 10);
    figure.commands += fmt::format(fmt::runtime(label),
                                   fmt::format("{} × {}\\n{} nonzero", layer.outputs, layer.inputs,
                                               std::ranges::count(layer.nonzero, true)),
                                   middle, bottom - 0.9 * line, 9);
    left += columns + gap;
  }
  figure.commands +=
      "  plot " +
      std::string(
          black.rows.empty()
              ? "NaN"
              : "data index \"nonzero\" using 1:2:3:4:5:6 with boxxyerror linecolor rgb ink linewidth 0.15");
  figure.series.push_back(std::move(black));
  return figure;
}

}  // namespace taper::apps

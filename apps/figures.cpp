#include "figures.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

namespace taper::apps {
namespace {

/// A series of some columns of the path, behind the lambdas.
Series columns_of(const Path& path, const char* name, const std::vector<std::size_t>& columns) {
  Series series{name, {"lambda"}, {}};
  for (const std::size_t j : columns) series.columns.push_back(quoted(path.names[j]));
  for (std::size_t k = 0; k < path.lambdas.size(); ++k) {
    std::vector<double> row{path.lambdas[k]};
    for (const std::size_t j : columns) row.push_back(path.coefficients[k][j]);
    series.rows.push_back(std::move(row));
  }
  return series;
}

Series losses_of(const Path& path) {
  Series series{"loss", {"lambda", "loss", "minus_se", "plus_se"}, {}};
  for (std::size_t k = 0; k < path.lambdas.size(); ++k) {
    const double loss = path.loss[k], error = path.standard_error[k];
    series.rows.push_back({path.lambdas[k], loss, loss - error, loss + error});
  }
  return series;
}

/// The names of the largest coefficients at the end of the path, beside it.
std::string names_at_end(const Path& path, double range) {
  constexpr std::size_t most = 12;
  const std::vector<double>& end = path.coefficients.back();
  std::vector<std::size_t> named;
  for (std::size_t j = 0; j < end.size(); ++j) {
    if (end[j] != 0) named.push_back(j);
  }
  std::ranges::stable_sort(named, std::ranges::greater(), [&](std::size_t j) { return std::abs(end[j]); });
  named.resize(std::min(named.size(), most));
  const double apart = 0.055 * range;
  std::vector<double> heights;
  for (bool crowded = true; crowded;) {  // a name far from its line helps nobody
    heights.clear();
    for (const std::size_t j : named) heights.push_back(end[j]);
    heights = spread(heights, apart);
    crowded = false;
    for (std::size_t i = 0; i < named.size(); ++i) {
      crowded = crowded || std::abs(heights[i] - end[named[i]]) > apart;
    }
    if (crowded) named.pop_back();
  }
  std::string labels;
  for (std::size_t i = 0; i < named.size(); ++i) {
    const bool chosen = path.coefficients[path.one_standard_error][named[i]] != 0;
    labels +=
        fmt::format("  set label {} noenhanced at graph 1.015, first {:.6g} font \",9\" textcolor rgb {}\n",
                    quoted(path.names[named[i]]), heights[i], chosen ? "blue" : "grey");
  }
  return labels;
}

/// Lines at both choices, from the axis to a little above the panel.
std::string marks(const Path& path, double above) {
  std::string text;
  for (const auto& [place, dashes] : {std::pair{path.one_standard_error, "dashtype 2"}, {path.best, ""}}) {
    text += fmt::format(
        "  set arrow from first {0:.9g}, graph 0 to first {0:.9g}, graph {1} nohead {2} linewidth 0.8 "
        "linecolor rgb ink\n",
        path.lambdas[place], above, dashes);
  }
  return text;
}

std::string names_of_marks(const Path& path) {
  const char* const format =
      "  set label \"{}\" at first {:.9g}, graph 1.06 {} font \",9\" textcolor rgb ink\n";
  const double best = path.lambdas[path.best], sparse = path.lambdas[path.one_standard_error];
  if (best == sparse)
    return fmt::format(fmt::runtime(format), "best, one s.e.", best, "left offset character -1,0");
  return fmt::format(fmt::runtime(format), "one s.e.", sparse, "right offset character 1.5,0") +
         fmt::format(fmt::runtime(format), "best", best, "left offset character -1,0");
}

/// Tics with names at 1, 2 and 5 times the powers of ten of a range with few of those.
std::string tics_between(double low, double high) {
  std::string tics;
  for (double power = std::pow(10, std::floor(std::log10(low))); power <= high; power *= 10) {
    for (const int digit : {1, 2, 5}) {
      const double at = digit * power;
      if (at >= low && at <= high)
        tics += fmt::format("{}\"{:.3g}\" {:.9g}", tics.empty() ? "" : ", ", at, at);
    }
  }
  return "(" + tics + ")";
}

/// A name for the vertical axis, at the same place in every panel.
std::string side(const std::string& name) {
  return fmt::format("  set label \"{}\" at screen 0.03, graph 0.5 center rotate textcolor rgb ink\n", name);
}

/// A whole number with a minus sign of its width.
std::string exponent(int power) {
  return power < 0 ? fmt::format("−{}", -power) : fmt::format("{}", power);
}

/// Positions and names of tics at 0 and powers of ten on an axis of asinh(x / scale).
std::string asinh_tics(double scale, double most) {
  std::string tics = "(\"0\" 0";
  for (int power = static_cast<int>(std::round(std::log10(scale))); std::pow(10, power) <= most; ++power) {
    const double at = std::asinh(std::pow(10, power) / scale);
    tics += fmt::format(", \"10^{{{0}}}\" {1:.6g}, \"−10^{{{0}}}\" {2:.6g}", exponent(power), at, -at);
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

Figure path_figure(const Path& path) {
  std::vector<std::size_t> chosen, others;
  double low = 0, high = 0;
  for (std::size_t j = 0; j < path.names.size(); ++j) {
    bool ever = false;
    for (const std::vector<double>& at : path.coefficients) {
      low = std::min(low, at[j]), high = std::max(high, at[j]);
      ever = ever || at[j] != 0;
    }
    if (ever) (path.coefficients[path.one_standard_error][j] != 0 ? chosen : others).push_back(j);
  }
  Figure figure{"path", 460, 430, {}, {losses_of(path)}};
  std::string lines = "0 linestyle 3 linewidth 0.5";
  if (!others.empty()) {
    figure.series.push_back(columns_of(path, "others", others));
    lines += fmt::format(", for [k=2:{}] data index \"others\" using 1:k with lines linestyle 3",
                         others.size() + 1);
  }
  if (!chosen.empty()) {
    figure.series.push_back(columns_of(path, "chosen", chosen));
    lines += fmt::format(", for [k=2:{}] data index \"chosen\" using 1:k with lines linestyle 1",
                         chosen.size() + 1);
  }
  double least = path.loss.front(), most = least;
  for (std::size_t k = 0; k < path.loss.size(); ++k) {
    least = std::min(least, path.loss[k] - path.standard_error[k]);
    most = std::max(most, path.loss[k] + path.standard_error[k]);
  }
  const double margin = high > low ? 0.06 * (high - low) : 1, pad = most > least ? 0.05 * (most - least) : 1;
  const double left = path.lambdas.front();
  const double right = path.lambdas.size() > 1 ? path.lambdas.back() : left / 2;

  figure.commands = "  set multiplot\n  set lmargin at screen 0.14; set rmargin at screen 0.87\n";
  figure.commands +=
      fmt::format("  set logscale x; set xrange [{:.9g}:{:.9g}]; set format x \"\"\n", left, right);
  figure.commands +=
      fmt::format("  set tmargin at screen 0.93; set bmargin at screen 0.42\n  set yrange [{:.6g}:{:.6g}]\n",
                  low - margin, high + margin);
  figure.commands += side("coefficient per standard deviation") +
                     names_at_end(path, high - low + 2 * margin) + names_of_marks(path) + marks(path, 1.03);
  figure.commands += "  plot " + lines + "\n  unset label; unset arrow\n";
  figure.commands += fmt::format(
      "  set tmargin at screen 0.38; set bmargin at screen 0.12\n  set yrange [{:.6g}:{:.6g}]; set ytics "
      "{:.6g}\n",
      least - pad, most + pad, step(most - least + 2 * pad, 4));
  figure.commands += side(path.loss_name) + marks(path, 1.1);
  figure.commands += left < 100 * right ? "  set xtics add " + tics_between(right, left) + "\n"
                                        : std::string("  set format x \"10^{%T}\"\n");
  figure.commands += R"(  set xlabel "penalty {/:Italic λ}, decreasing"
  plot data index "loss" using 1:3:4 with filledcurves fillcolor rgb pale, \
       data index "loss" using 1:2 with lines linestyle 1 linecolor rgb ink
  unset multiplot)";
  return figure;
}

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
  const std::string tics = asinh_tics(scale, 1.2 * most);
  figure.commands += "  set xtics " + tics + "; set ytics " + tics + "\n";
  figure.commands += "  set size square; set xlabel \"exact coefficient\"; set ylabel \"coefficient by " +
                     method + "\"\n  set key left top reverse Left\n";
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

Figure sizes_figure(const std::vector<SizedLoss>& points, const std::string& loss_name) {
  Figure figure{"sizes", 400, 270, {}, {}};
  Series series{"path", {"alpha", "parameters", "loss", "refit_loss"}, {}};
  const auto by_size = [](const SizedLoss& a, const SizedLoss& b) { return a.parameters < b.parameters; };
  const auto [least, most] = std::ranges::minmax_element(points, by_size);
  const double low = std::max(1.0, least->parameters) / 1.25, high = std::max(1.0, most->parameters) * 1.25;
  bool again = false;
  for (const SizedLoss& point : points) {
    series.rows.push_back({point.alpha, point.parameters, point.loss, point.refit_loss});
    again = again || std::isfinite(point.refit_loss);
  }
  figure.series.push_back(std::move(series));
  std::string tics;
  for (double power = 1; power <= high; power *= 10) {
    for (const double digit : {1, 2, 5}) {
      const double at = digit * power;
      if (low <= at && at <= high) tics += fmt::format("{}{:.0f}", tics.empty() ? "" : ", ", at);
    }
  }
  figure.commands = fmt::format(
      "  set logscale x; set xrange [{:.6g}:{:.6g}]; set xtics ({})\n"
      "  set xlabel \"parameters of the shrunk network\"; set ylabel {}\n"
      "  set offsets graph 0, graph 0, graph 0.1, graph 0.05\n",
      low, high, tics, quoted(loss_name));
  for (const auto& end : {least, most}) {
    if (end == most && most->parameters == least->parameters) continue;  // on top of the first
    figure.commands += fmt::format(
        "  set label \"{{/:Italic α}} = {:.2g}\" at {:.6g},{:.6g} {} font \",9\" textcolor rgb grey\n",
        end->alpha, end->parameters, end->loss, end == least ? "left offset 0.8,0.3" : "right offset 0.3,-1");
  }
  figure.commands += "  plot data index \"path\" using 2:3 with linespoints linestyle 2 title \"as shrunk\"";
  if (again) {
    figure.commands +=
        ", \\\n       data index \"path\" using 2:4 with linespoints linestyle 1 title \"trained again\"";
  }
  return figure;
}

}  // namespace taper::apps

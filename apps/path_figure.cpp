#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <taper/data/utf8.hpp>
#include <utility>

#include "figures.hpp"

namespace taper::apps {
namespace {

// All lengths are in points, 72 to an inch.
constexpr double small = 9;        // the size of names,
constexpr double line_space = 11;  // the space between two,
constexpr double gap = 3.5;        // and that in front of one
constexpr double widest_name = 3000;
constexpr std::size_t most_names = 2000;
constexpr double character = 6.6;  // the width of an average one of a number on an axis
constexpr double panel_width = 336, loss_height = 112;
constexpr double top_space = 30, middle_space = 17, bottom_space = 52;

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

/// A name as it is drawn: one that is wider than figures can be, without its middle.
std::string shown(const std::string& name) {
  std::string result = name;
  for (std::size_t half = name.size() / 2; text_width(result, small) > widest_name; half = half * 15 / 16) {
    std::size_t head = half, tail = name.size() - half;
    while (head > 0 && data::continues_character(name[head])) --head;
    while (tail < name.size() && data::continues_character(name[tail])) ++tail;
    result = name.substr(0, head) + "…" + name.substr(tail);
  }
  return result;
}

/// Names beside the ends of their curves, with a line that is `lead` wide from one to the other.
std::string commands_of(const std::vector<EndLabel>& labels, const Path& path,
                        const std::vector<bool>& chosen, double lead) {
  std::string text;
  for (const auto& [j, height] : labels) {
    const char* const colour = chosen[j] ? "blue" : "grey";
    text += fmt::format(
        "  set arrow from graph 1, first {:.9g} to graph {:.6g}, first {:.9g} nohead linewidth 0.5 linecolor "
        "rgb {}\n"
        "  set label {} noenhanced at graph {:.6g}, first {:.9g} font \",9\" textcolor rgb {}\n",
        path.coefficients.back()[j], 1 + lead / panel_width, height, colour, quoted(shown(path.names[j])),
        1 + (lead + gap) / panel_width, height, colour);
  }
  return text;
}

/// Lines at both choices, from the axis to a little above the panel.
std::string marks(const Path& path, double height) {
  std::string text;
  for (const auto& [place, dashes] : {std::pair{path.one_standard_error, "dashtype 2"}, {path.best, ""}}) {
    text += fmt::format(
        "  set arrow from first {0:.9g}, graph 0 to first {0:.9g}, graph {1:.4g} nohead {2} linewidth 0.8 "
        "linecolor rgb ink\n",
        path.lambdas[place], 1 + 7 / height, dashes);
  }
  return text;
}

/// Their names above the lines, moved apart where they would touch.
std::string names_of_marks(const Path& path, double left, double right, double height) {
  const double best = path.lambdas[path.best], sparse = path.lambdas[path.one_standard_error];
  const auto share = [&](double lambda) { return std::log(left / lambda) / std::log(left / right); };
  const auto label = [&](const char* name, double at) {
    return fmt::format(
        "  set label \"{}\" at graph {:.6g}, graph {:.6g} center font \",9\" textcolor rgb ink\n", name, at,
        1 + 14 / height);
  };
  if (best == sparse) return label("best, one s.e.", share(best));
  const double apart = text_width("one s.e.best", small) / 2 + 8;  // of the middles of both
  const std::vector<double> at = spread({share(sparse), share(best)}, apart / panel_width);
  return label("one s.e.", at[0]) + label("best", at[1]);
}

/// Tics at the powers of ten, or on a short range at 1, 2 and 5 times these, or on a shorter one at some
/// places.
std::string lambda_tics(double low, double high) {
  if (high >= 100 * low) return "  set format x \"10^{%T}\"\n";
  std::string tics;
  int count = 0;
  for (double power = std::pow(10, std::floor(std::log10(low))); power <= high; power *= 10) {
    for (const int digit : {1, 2, 5}) {
      const double at = digit * power;
      if (at < low || at > high) continue;
      tics += fmt::format("{}\"{:.3g}\" {:.9g}", count++ == 0 ? "" : ", ", at, at);
    }
  }
  return "  set xtics add " + (count >= 2 ? "(" + tics + ")" : tics_between(low, high, 4).text()) + "\n";
}

/// A panel between two heights above the bottom of a figure, with its vertical axis and the name of that.
std::string panel(double bottom, double top, double height, double low, double high, const Tics& tics,
                  const std::string& name, double width) {
  return fmt::format(
      "  set bmargin at screen {:.6f}; set tmargin at screen {:.6f}\n  set yrange [{:.9g}:{:.9g}]; set ytics "
      "{}\n"
      "  set label \"{}\" at screen {:.6f}, graph 0.5 center rotate textcolor rgb ink\n",
      bottom / height, top / height, low, high, tics.text(), name, 10 / width);
}

}  // namespace

std::vector<EndLabel> end_labels(const std::vector<double>& ends, const std::vector<bool>& chosen,
                                 double apart, double low, double high, std::size_t most) {
  std::vector<std::size_t> named, others;
  for (std::size_t j = 0; j < ends.size(); ++j) {
    if (chosen[j])
      named.push_back(j);
    else if (ends[j] != 0)
      others.push_back(j);
  }
  const auto farthest_first = [&](std::vector<std::size_t>& curves) {
    std::ranges::stable_sort(curves, std::ranges::greater(),
                             [&](std::size_t j) { return std::abs(ends[j]); });
  };
  farthest_first(named), farthest_first(others);
  const auto room = static_cast<std::size_t>(std::floor((high - low) / apart * (1 + 1e-9))) + 1;
  named.resize(std::min(named.size(), room));
  const auto heights_of = [&](const std::vector<std::size_t>& curves) {
    std::vector<double> at;
    for (const std::size_t j : curves) at.push_back(ends[j]);
    return spread(at, apart, low, high);
  };
  std::vector<double> heights = heights_of(named);
  for (const std::size_t j : others) {
    if (named.size() >= std::min(most, room)) break;
    std::vector<std::size_t> more = named;
    more.push_back(j);
    const std::vector<double> moved = heights_of(more);
    bool crowded = false;
    for (std::size_t i = 0; i < more.size(); ++i) {
      const double before = i < heights.size() ? std::abs(heights[i] - ends[more[i]]) : 0;
      crowded = crowded || std::abs(moved[i] - ends[more[i]]) > std::max(apart, before);
    }
    if (!crowded) named = std::move(more), heights = moved;
  }
  std::vector<EndLabel> labels;
  for (std::size_t i = 0; i < named.size(); ++i) labels.push_back({named[i], heights[i]});
  std::ranges::stable_sort(labels, {}, &EndLabel::height);
  return labels;
}

Figure path_figure(const Path& path) {
  const std::size_t p = path.names.size();
  std::vector<bool> chosen(p);
  std::vector<std::size_t> in, others;
  double low = 0, high = 0;
  for (std::size_t j = 0; j < p; ++j) {
    bool ever = false;
    for (const std::vector<double>& at : path.coefficients) {
      low = std::min(low, at[j]), high = std::max(high, at[j]);
      ever = ever || at[j] != 0;
    }
    chosen[j] = path.coefficients[path.one_standard_error][j] != 0;
    if (ever) (chosen[j] ? in : others).push_back(j);
  }
  double least = path.loss.front(), most = least;
  for (std::size_t k = 0; k < path.loss.size(); ++k) {
    least = std::min(least, path.loss[k] - path.standard_error[k]);
    most = std::max(most, path.loss[k] + path.standard_error[k]);
  }
  const double margin = high > low ? 0.06 * (high - low) : 1, pad = most > least ? 0.05 * (most - least) : 1;
  low -= margin, high += margin, least -= pad, most += pad;
  const double left = path.lambdas.front();
  const double right = path.lambdas.size() > 1 ? path.lambdas.back() : left / 2;

  // The panel above is as high as the names need.
  const std::size_t names = std::min(in.size(), most_names);
  const double height = std::max(219.0, line_space * static_cast<double>(names));
  const double apart = line_space / height * (high - low);
  const std::vector<EndLabel> labels =
      end_labels(path.coefficients.back(), chosen, apart, low + apart / 2, high - apart / 2);
  double widest = 0, farthest = 0;
  for (const auto& [curve, at] : labels) {
    widest = std::max(widest, text_width(shown(path.names[curve]), small));
    farthest = std::max(farthest, std::abs(at - path.coefficients.back()[curve]) / (high - low) * height);
  }
  const double lead = std::clamp(farthest / 6, 11.5, 300.0);  // of lines to names: not too steep
  const Tics coefficient_tics = tics_between(low, high, 6), loss_tics = tics_between(least, most, 4);
  const auto digits = static_cast<double>(std::max(coefficient_tics.widest(), loss_tics.widest()));
  const double from = 34 + character * digits, to = from + panel_width;
  const double width = std::ceil(to + lead + gap + widest + 8);
  const double total = std::ceil(top_space + height + middle_space + loss_height + bottom_space);

  Figure figure{"path", static_cast<int>(width), static_cast<int>(total), {}, {losses_of(path)}};
  std::string lines = "0 linestyle 3 linewidth 0.5";
  const auto add = [&](const std::vector<std::size_t>& columns, const char* name, int style) {
    if (columns.empty()) return;
    figure.series.push_back(columns_of(path, name, columns));
    lines += fmt::format(", for [k=2:{}] data index \"{}\" using 1:k with lines linestyle {}",
                         columns.size() + 1, name, style);
  };
  add(others, "others", 3), add(in, "chosen", 1);
  figure.commands = fmt::format(
      "  set multiplot\n  set lmargin at screen {:.6f}; set rmargin at screen {:.6f}\n"
      "  set logscale x; set xrange [{:.9g}:{:.9g}]; set format x \"\"\n",
      from / width, to / width, left, right);
  figure.commands += panel(bottom_space + loss_height + middle_space, total - top_space, total, low, high,
                           coefficient_tics, "coefficient per standard deviation", width);
  figure.commands += commands_of(labels, path, chosen, lead) + names_of_marks(path, left, right, height) +
                     marks(path, height);
  if (names < in.size()) {
    figure.commands += fmt::format(
        "  set label \"named: {} of {} chosen\" at graph 1, graph {:.6g} right font \",9\" textcolor rgb "
        "grey\n",
        names, in.size(), 1 + 24 / height);
  }
  figure.commands += "  plot " + lines + "\n  unset label; unset arrow\n";
  figure.commands +=
      panel(bottom_space, bottom_space + loss_height, total, least, most, loss_tics, path.loss_name, width);
  figure.commands += marks(path, loss_height) + lambda_tics(right, left);
  figure.commands += R"(  set xlabel "penalty {/:Italic λ}, decreasing"
  plot data index "loss" using 1:3:4 with filledcurves fillcolor rgb pale, \
       data index "loss" using 1:2 with lines linestyle 1 linecolor rgb ink
  unset multiplot)";
  return figure;
}

}  // namespace taper::apps

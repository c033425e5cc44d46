#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "figures.hpp"

namespace taper::apps {
namespace {

/// One kind of network: for each penalty the mean over seeds of size and loss, and the range of the losses.
struct Curve {
  const char *name, *title, *style, *shape;
  double SizedLoss::*loss;
  int side;  ///< of the size: where bars of several seeds are drawn, or they would hide each other
};
constexpr Curve curves[] = {
    {"shrunk", "as shrunk", "red", "6", &SizedLoss::loss, -1},
    {"refit", "trained again", "blue", "7", &SizedLoss::refit_loss, 0},
    {"dense", "dense from the start", "ink", "4", &SizedLoss::dense_loss, 1},
};

struct Mean {
  double alpha = 0, size = 0, loss = 0;
  double least = std::numeric_limits<double>::infinity(), most = -least;
  int count = 0;
};

/// By size, the smallest first.
std::vector<Mean> means_of(const std::vector<SizedLoss>& points, double SizedLoss::*loss) {
  std::map<double, Mean> by_alpha;
  for (const SizedLoss& point : points) {
    const double value = point.*loss;
    if (!std::isfinite(value)) continue;
    Mean& mean = by_alpha[point.alpha];
    mean.alpha = point.alpha;
    mean.size += std::max(1.0, point.size), mean.loss += value;
    mean.least = std::min(mean.least, value), mean.most = std::max(mean.most, value);
    ++mean.count;
  }
  std::vector<Mean> means;
  for (auto& [alpha, mean] : by_alpha) {
    mean.size /= mean.count, mean.loss /= mean.count;
    means.push_back(mean);
  }
  std::ranges::stable_sort(means, {}, &Mean::size);
  return means;
}

/// Tics at 1, 2 and 5 times the powers of ten, those too near to the one before without a name.
std::string size_tics(double low, double high) {
  std::vector<double> at, places;
  for (double power = 1; power <= high; power *= 10) {
    for (const double digit : {1, 2, 5}) {
      if (low > digit * power || digit * power > high) continue;
      at.push_back(digit * power);
      places.push_back(std::log(at.back() / low) / std::log(high / low));
    }
  }
  if (at.size() < 2) return tics_between(low, high, 4).text();
  constexpr double width = 300, digit_width = 6.6;
  const std::string widest = at.empty() ? "" : fmt::format("{:.0f}", at.back());
  const std::vector<bool> named =
      thinned(places, (digit_width * static_cast<double>(widest.size()) + 6) / width);
  std::string tics;
  for (std::size_t k = 0; k < at.size(); ++k) {
    tics += fmt::format("{}\"{}\" {:.0f}", k == 0 ? "" : ", ", named[k] ? fmt::format("{:.0f}", at[k]) : "",
                        at[k]);
  }
  return "(" + tics + ")";
}

}  // namespace

std::vector<bool> on_front(const std::vector<double>& size, const std::vector<double>& loss) {
  std::vector<bool> front(size.size());
  for (std::size_t i = 0; i < size.size(); ++i) {
    front[i] = std::isfinite(size[i]) && std::isfinite(loss[i]);
    for (std::size_t k = 0; k < size.size() && front[i]; ++k) {
      const bool no_worse = size[k] <= size[i] && loss[k] <= loss[i];
      front[i] = !(no_worse && (size[k] < size[i] || loss[k] < loss[i]));
    }
  }
  return front;
}

Figure sizes_figure(const std::vector<SizedLoss>& points, const SizesAxes& axes) {
  Figure figure{"sizes", 440, 305, {}, {}};
  double low = std::numeric_limits<double>::infinity(), high = 1;
  for (const SizedLoss& point : points) {
    low = std::min(low, std::max(1.0, point.size)), high = std::max(high, point.size);
  }
  low /= 1.25, high *= 1.25;
  std::string plots;
  const auto plot = [&](const std::string& text) { plots += (plots.empty() ? "" : ", \\\n       ") + text; };
  const Mean *smallest = nullptr, *largest = nullptr;
  std::vector<Mean> first;
  for (const Curve& curve : curves) {
    const std::vector<Mean> means = means_of(points, curve.loss);
    if (means.empty()) continue;
    if (first.empty()) {
      first = means;
      smallest = &first.front(), largest = &first.back();
    }
    std::vector<double> size, loss;
    bool several = false;
    for (const Mean& mean : means) {
      size.push_back(mean.size), loss.push_back(mean.loss);
      several = several || mean.count > 1;
    }
    const std::vector<bool> front = on_front(size, loss);
    const std::string name = curve.name;
    // Four pixels of some 340.
    const double shift = several ? std::pow(high / low, 0.012 * curve.side) : 1;
    Series on{name, {"alpha", "size", "loss", "least", "most"}, {}}, off{"dominated_" + name, on.columns, {}};
    for (std::size_t k = 0; k < means.size(); ++k) {
      const Mean& mean = means[k];
      (front[k] ? on : off).rows.push_back({mean.alpha, mean.size, mean.loss, mean.least, mean.most});
    }
    const auto draw = [&](const Series& series, const std::string& style, const std::string& colour,
                          const std::string& title) {
      if (series.rows.empty()) return;
      const std::string places = fmt::format("data index \"{}\" using ($2*{:.6g}):3", series.name, shift);
      const std::string look = fmt::format("pointtype {} linecolor rgb {}", curve.shape, colour);
      if (several) plot(places + ":4:5 with yerrorbars pointsize 0.01 linewidth 0.7 " + look);
      plot(fmt::format("{} with {} pointsize 0.5 linewidth 1.2 {} {}", places, style, look, title));
      figure.series.push_back(series);
    };
    draw(off, "points",
         "\"#" +
             std::string(curve.loss == &SizedLoss::refit_loss ? "b5c8de"
                         : curve.loss == &SizedLoss::loss     ? "e6c0b8"
                                                              : "c4c4c4") +
             "\"",
         "");
    draw(on, "linespoints", curve.style, fmt::format("title \"{}\"", curve.title));
  }
  figure.commands = fmt::format(
      "  set tmargin 3.6; set key tmargin center horizontal reverse Left font \",9\" samplen 1.2 width -3\n"
      "  set logscale x; set xrange [{:.6g}:{:.6g}]; set xtics {}\n"
      "  set xlabel {}; set ylabel {} offset -0.5,0\n"
      "  set offsets graph 0, graph 0, graph 0.12, graph 0.08\n",
      low, high, size_tics(low, high), quoted(axes.size), quoted(axes.loss));
  for (const Mean* end : {smallest, largest}) {  // above the frame, clear of all curves
    if (!axes.alpha) break;
    if (end == nullptr || (end == largest && largest->size == smallest->size))
      continue;  // on top of the first
    // Two that are near grow away from each other.
    const bool near = std::log(largest->size / smallest->size) < 0.25 * std::log(high / low);
    const char* const alignment = !near || largest == smallest ? "center"
                                  : end == smallest            ? "right"
                                                               : "left";
    figure.commands += fmt::format(
        "  set label \"{{/:Italic α}} = {:.2g}\" at first {:.6g}, graph 1.05 {} font \",9\" textcolor "
        "rgb grey\n",
        end->alpha, end->size, alignment);
  }
  figure.commands += "  plot " + (plots.empty() ? std::string("NaN") : plots);
  return figure;
}

}  // namespace taper::apps

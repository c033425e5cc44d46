#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "figures.hpp"

namespace taper::apps {

Figure images_figure(const std::vector<std::vector<double>>& images, std::size_t side,
                     const std::string& label) {
  constexpr std::size_t most_across = 10;
  const std::size_t across = std::clamp<std::size_t>(images.size(), 1, most_across);
  const std::size_t down = std::max<std::size_t>((images.size() + across - 1) / across, 1);
  // One pixel of paper between images and round them.
  const std::size_t step = side + 1, columns = across * step + 1, rows = down * step + 1;
  std::vector<double> canvas(columns * rows, std::numeric_limits<double>::quiet_NaN());
  double least = 0, largest = 0;  // of magnitudes, the latter
  for (std::size_t k = 0; k < images.size(); ++k) {
    const std::size_t left = k % across * step + 1, top = k / across * step + 1;
    for (std::size_t i = 0; i < images[k].size(); ++i) {
      canvas[(top + i / side) * columns + left + i % side] = images[k][i];
      least = std::min(least, images[k][i]);
      largest = std::max(largest, std::abs(images[k][i]));
    }
  }
  Series pixels{"images", {"column", "row", "weight"}, {}};
  for (std::size_t i = 0; i < canvas.size(); ++i) {
    pixels.rows.push_back({static_cast<double>(i % columns), static_cast<double>(i / columns), canvas[i]});
  }
  Figure figure{"filters", 0, 0, {}, {}};
  const double points = std::min(400.0 / static_cast<double>(columns), 12.0);
  figure.width = static_cast<int>(std::ceil(points * static_cast<double>(columns))) + 70;
  figure.height = static_cast<int>(std::ceil(points * static_cast<double>(rows))) + 50;
  // Norms, of which none is negative, have the whole scale.
  const char* const colors =
      least < 0 ? "-1 \"#2c5aa0\", 0 \"#f4f4f4\", 1 \"#b03a2e\"" : "0 \"#f4f4f4\", 1 \"#b03a2e\"";
  figure.commands = fmt::format(
      "  unset border; unset tics; unset key; set size ratio -1; set lmargin 1\n"
      "  set xrange [-0.5:{}.5]; set yrange [{}.5:-0.5]\n"
      "  set palette defined ({}); set cbrange [{:.6g}:{:.6g}]\n"
      "  set colorbox; set cbtics font \",8\"\n"
      "  set xlabel {} noenhanced font \",9\"\n"
      "  plot data index \"images\" using 1:2:3 with image pixels\n",
      columns - 1, rows - 1, colors, least < 0 ? -largest : 0.0, largest > 0 ? largest : 1.0, quoted(label));
  figure.series.push_back(std::move(pixels));
  return figure;
}

}  // namespace taper::apps

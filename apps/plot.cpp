#include "plot.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <string_view>
#include <taper/autodiff/error.hpp>
#include <taper/data/utf8.hpp>

#include "output.hpp"

namespace taper::apps {
namespace {

namespace fs = std::filesystem;

// The style of all figures: axes left and below, no grid, one weight of line, colours that differ in print
// and for the colour-blind, too.
constexpr const char* common_style = R"(
  reset
  set encoding utf8
  ink = "#222222"; blue = "#2a5f9e"; red = "#b8442b"; grey = "#9b9b9b"; pale = "#dcdcdc"
  set border 3 linewidth 0.7 linecolor rgb ink
  set tics out nomirror scale 0.6,0.35 textcolor rgb ink
  set xlabel textcolor rgb ink offset 0,0.3
  set ylabel textcolor rgb ink offset 0.5,0
  set key noautotitle textcolor rgb ink samplen 1.6 spacing 1.15
  set style line 1 linewidth 1.4 linecolor rgb blue pointtype 7 pointsize 0.45
  set style line 2 linewidth 1.4 linecolor rgb red pointtype 6 pointsize 0.5
  set style line 3 linewidth 0.8 linecolor rgb grey
  set minussign
)";

std::string script(const Figure& figure) {
  // Three pixels to a point, as far as Cairo has room for them.
  constexpr double most_pixels = 8e7, longest_side = 32000;
  const double width = figure.width, height = figure.height;
  const double scale =
      std::min({3.0, std::sqrt(most_pixels / (width * height)), longest_side / std::max(width, height)});
  return fmt::format(
      "# Draws {0}.svg and {0}.png from {0}.dat: gnuplot {0}.gp\n"
      "do for [format in \"svg png\"] {{\n"
      "  if (format eq \"svg\") {{\n"
      "    set terminal svg size {1},{2} font \"Helvetica,11\" enhanced background \"white\"\n"
      "  }} else {{\n"
      "    set terminal pngcairo size {3:.0f},{4:.0f} font \"Helvetica,11\" fontscale {7:.4g} linewidth "
      "{8:.4g} "
      "pointscale {8:.4g} enhanced\n"
      "  }}\n"
      "  set output \"{0}.\".format\n"
      "  data = \"{0}.dat\"\n"
      "{5}\n{6}\n"
      "  unset output\n"
      "}}\n",
      figure.name, figure.width, figure.height, std::floor(scale * width), std::floor(scale * height),
      std::string_view(common_style).substr(1), figure.commands, 0.75 * scale, scale);
}

std::string numbers(const Figure& figure) {
  std::string text;
  for (const Series& series : figure.series) {
    text += "# " + series.name + "\n#";
    for (const std::string& column : series.columns) text += ' ' + column;
    text += '\n';
    for (const auto& row : series.rows) {
      for (const double value : row) text += std::isfinite(value) ? fmt::format("{:.9g} ", value) : "NaN ";
      text.back() = '\n';
    }
    text += "\n\n";
  }
  return text;
}

constexpr int not_found = 127;

/// Runs gnuplot on a script in its folder and returns its exit status. What it has to say is not for the
/// reader of a report.
int gnuplot(const std::string& folder, const std::string& file) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int nowhere = ::open("/dev/null", O_RDWR);
    for (const int stream : {0, 1, 2}) ::dup2(nowhere, stream);
    if (::chdir(folder.c_str()) == 0) ::execlp("gnuplot", "gnuplot", file.c_str(), nullptr);
    ::_exit(not_found);
  }
  if (child < 0) return -1;
  int status = -1;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

bool can_hold_figures(const std::string& folder) {
  if (folder.empty()) return false;
  fs::path path = fs::absolute(folder);
  std::error_code ignored;
  while (!fs::exists(path, ignored) && path.has_relative_path()) path = path.parent_path();
  return fs::is_directory(path, ignored) && ::access(path.c_str(), W_OK | X_OK) == 0;
}

std::string draw(const std::vector<Figure>& figures, const std::string& folder) {
  const std::string shown = data::valid_utf8(folder);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error("plot", "'", folder, "': expected a folder that can be written");
  const auto file = [&](const Figure& figure, const char* ending) {
    return fs::path(folder) / (figure.name + ending);
  };
  for (const Figure& figure : figures) {
    for (const char* const ending : {".gp", ".dat", ".svg", ".png"})
      require_unused(file(figure, ending), "plot");
  }
  for (const Figure& figure : figures) {
    write_file(file(figure, ".gp"), script(figure), "plot");
    write_file(file(figure, ".dat"), numbers(figure), "plot");
  }
  std::string drawn;
  for (const Figure& figure : figures) {
    const int status = gnuplot(folder, figure.name + ".gp");
    for (const char* const ending : {".svg", ".png"}) note_file(file(figure, ending));
    if (status == not_found) {
      return fmt::format("gnuplot is not installed: scripts and numbers of the figures are in {}", shown);
    }
    if (status != 0) {
      return fmt::format("gnuplot failed on {}/{}.gp: script and numbers are kept", shown, figure.name);
    }
    drawn += fmt::format("{}{}.svg, {}.png", drawn.empty() ? "" : ", ", figure.name, figure.name);
  }
  return fmt::format("figures in {}: {}", shown, drawn);
}

std::vector<double> spread(const std::vector<double>& at, double apart, double low, double high) {
  const double last = at.empty() ? 0 : static_cast<double>(at.size() - 1);
  if (last > 0 && apart * last > high - low) apart = (high - low) / last;
  std::vector<std::size_t> order(at.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return at[i]; });
  // Labels that touch are a block, centred on where they belong; blocks that touch become one.
  struct Block {
    double centre;
    std::size_t count;
    double half(double apart) const { return static_cast<double>(count) * apart / 2; }
  };
  std::vector<Block> blocks;
  for (const std::size_t i : order) {
    Block block{at[i], 1};
    while (!blocks.empty() &&
           blocks.back().centre + blocks.back().half(apart) > block.centre - block.half(apart)) {
      const Block below = blocks.back();
      blocks.pop_back();
      const std::size_t count = below.count + block.count;
      block = {(below.centre * static_cast<double>(below.count) +
                block.centre * static_cast<double>(block.count)) /
                   static_cast<double>(count),
               count};
    }
    blocks.push_back(block);
  }
  std::vector<double> result(at.size());
  auto next = order.begin();
  double below = 0;  // how many labels
  for (const Block& block : blocks) {
    for (std::size_t k = 0; k < block.count; ++k, ++below) {
      const double height = block.centre - block.half(apart) + (static_cast<double>(k) + 0.5) * apart;
      // Labels less those below them rise; so cut off they are still nearest (bounded isotonic regression).
      result[*next++] = std::max(std::min(height, high - (last - below) * apart), low + below * apart);
    }
  }
  return result;
}

std::vector<bool> thinned(const std::vector<double>& at, double apart) {
  std::vector<bool> named(at.size());
  double last = -std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < at.size(); ++k) {
    named[k] = at[k] - last >= apart;
    if (named[k]) last = at[k];
  }
  return named;
}

std::string Tics::text() const {
  std::string list;
  for (std::size_t k = 0; k < at.size(); ++k) {
    list += fmt::format("{}\"{}\" {:.12g}", k == 0 ? "" : ", ", names[k], at[k]);
  }
  return "(" + list + ")";
}

Index Tics::widest() const {
  Index most = 0;
  for (const std::string& name : names) most = std::max(most, data::characters(name));
  return most;
}

Tics tics_between(double low, double high, int count) {
  const double apart = step(high - low, count), most = std::max(std::abs(low), std::abs(high));
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(apart) + 1e-9)));
  const int digits = std::max(1, static_cast<int>(std::ceil(std::log10(most / apart) + 1e-9)) + 1);
  Tics tics;
  const double first = std::ceil(low / apart - 1e-9);
  for (double k = first; k * apart <= high + 1e-9 * apart; ++k) {
    const double at = k * apart;
    std::string name = k == 0                        ? "0"
                       : decimals <= 4 && most < 1e6 ? fmt::format("{:.{}f}", at, decimals)
                                                     : fmt::format("{:.{}g}", at, digits);
    for (std::size_t minus; (minus = name.find('-')) != name.npos;) name.replace(minus, 1, "−");
    tics.at.push_back(at);
    tics.names.push_back(std::move(name));
    if (tics.at.size() > static_cast<std::size_t>(count)) break;
  }
  return tics;
}

double text_width(const std::string& text, double size) {
  // Of space to ~, in hundredths of the size.
  static constexpr unsigned char widths[] = {
      32, 41, 46, 84, 64, 96, 78, 28, 40,  40, 50, 84, 32, 37, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
      64, 64, 34, 34, 84, 84, 84, 56, 102, 69, 69, 73, 78, 67, 62, 78, 76, 30, 50, 67, 56, 87, 75, 79,
      67, 79, 73, 67, 62, 74, 69, 99, 69,  67, 69, 40, 34, 40, 84, 56, 50, 62, 64, 55, 64, 62, 36, 64,
      64, 28, 28, 58, 28, 98, 64, 62, 64,  64, 42, 53, 40, 64, 60, 82, 60, 60, 53, 64, 34, 64, 84};
  double total = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= ' ' && byte <= '~')
      total += widths[byte - ' '];
    else if (!data::continues_character(c))
      total += byte < 0xe0 ? 110 : 145;  // the widest letters; signs and other scripts
  }
  return total * size / 100;
}

double step(double range, int count) {
  const double power = std::pow(10, std::floor(std::log10(range / count)));
  for (const double factor : {1, 2, 5}) {
    if (range / (factor * power) <= count) return factor * power;
  }
  return 10 * power;
}

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += c;
    result += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return result + '\'';
}

}  // namespace taper::apps

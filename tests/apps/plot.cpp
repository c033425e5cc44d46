// What figures are made of: places of labels, tics, and text in quotes.

#include "../../apps/figures.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <taper/autodiff/random.hpp>

using taper::apps::end_labels;
using taper::apps::EndLabel;
using taper::apps::Figure;
using taper::apps::on_front;
using taper::apps::Path;
using taper::apps::path_figure;
using taper::apps::quoted;
using taper::apps::spread;
using taper::apps::step;
using taper::apps::text_width;
using taper::apps::thinned;
using taper::apps::Tics;
using taper::apps::tics_between;

TEST_CASE("plot: labels that do not touch stay, others move apart around where they belong") {
  CHECK(spread({}, 1).empty());
  CHECK(spread({3, 1, 5}, 1) == std::vector<double>{3, 1, 5});
  CHECK(spread({2, 2}, 1) == std::vector<double>{1.5, 2.5});
  CHECK(spread({2.5, 2, 9}, 1) == std::vector<double>{2.75, 1.75, 9});
  CHECK(spread({0, 0, 0.75}, 1) == std::vector<double>{-0.75, 0.25, 1.25});  // a chain of three
}

TEST_CASE("plot: spread labels keep order and distance, and no block of them could move closer") {
  taper::Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> at;
    for (int i = 0; i < 1 + round % 12; ++i) at.push_back(rng.uniform(0, 6));
    const std::vector<double> to = spread(at, 1);
    std::vector<std::size_t> order(at.size());
    for (std::size_t i = 0; i < at.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](std::size_t i) { return at[i]; });
    for (std::size_t first = 0; first < order.size();) {
      std::size_t end = first + 1;
      while (end < order.size() && to[order[end]] - to[order[end - 1]] < 1 + 1e-9) {
        CHECK(to[order[end]] - to[order[end - 1]] > 1 - 1e-9);
        ++end;
      }
      double moved = 0;  // the sum of squares is least where a block is moved by nothing on average
      for (std::size_t i = first; i < end; ++i) moved += to[order[i]] - at[order[i]];
      CHECK(std::abs(moved) < 1e-9);
      first = end;
    }
  }
}

TEST_CASE("plot: spread labels stay between the ends, nearest to where they belong") {
  CHECK(spread({0, 0}, 1, 0, 5) == std::vector<double>{0, 1});
  CHECK(spread({5, 9, 7}, 1, 0, 7) == std::vector<double>{5, 7, 6});
  CHECK(spread({1, 1, 1}, 2, 0, 2) == std::vector<double>{0, 1, 2});  // no room for all: nearer
  CHECK(spread({-3}, 1, 0, 2) == std::vector<double>{0});
  taper::Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> at;
    for (int i = 0; i < 2 + round % 5; ++i) at.push_back(rng.uniform(-2, 8));
    const double high = 6;
    const std::vector<double> to = spread(at, 1, 0, high);
    const auto cost = [&](const std::vector<double>& heights) {
      double sum = 0;
      for (std::size_t i = 0; i < at.size(); ++i) sum += (heights[i] - at[i]) * (heights[i] - at[i]);
      return sum;
    };
    for (std::size_t i = 0; i < at.size(); ++i) {
      CHECK(to[i] >= 0);
      CHECK(to[i] <= high);
      for (std::size_t k = 0; k < i; ++k) {
        CHECK(std::abs(to[i] - to[k]) > 1 - 1e-9);
        if (at[i] != at[k]) CHECK((at[i] < at[k]) == (to[i] < to[k]));
      }
      // Random heights that also keep the distance are no nearer.
      std::vector<double> other = to;
      for (double& height : other) height = std::clamp(height + rng.uniform(-0.2, 0.2), 0.0, high);
      std::vector<double> sorted = other;
      std::ranges::sort(sorted);
      bool apart = true;
      for (std::size_t k = 1; k < sorted.size(); ++k) apart = apart && sorted[k] - sorted[k - 1] >= 1;
      bool in_order = true;
      for (std::size_t k = 0; k < at.size(); ++k)
        in_order = in_order && ((at[i] < at[k]) == (other[i] < other[k]));
      if (apart && in_order) CHECK(cost(other) >= cost(to) - 1e-9);
    }
  }
}

TEST_CASE("plot: every chosen curve has a name of its own, at its place among the ends") {
  // Twelve curves that end together: all are named, none touches another.
  std::vector<double> ends;
  for (int i = 0; i < 12; ++i) ends.push_back(0.01 * i);
  std::vector<EndLabel> labels = end_labels(ends, std::vector<bool>(12, true), 1, -8, 8);
  REQUIRE(labels.size() == 12);
  for (std::size_t i = 0; i < 12; ++i) CHECK(labels[i].curve == i);
  taper::Rng rng(4);
  for (int round = 0; round < 300; ++round) {
    ends.clear();
    std::vector<bool> chosen;
    for (int i = 0; i < 1 + round % 40; ++i) {
      ends.push_back(rng.below(5) == 0 ? 0 : rng.normal());
      chosen.push_back(rng.below(3) == 0);
    }
    const double apart = 0.2, low = -3, high = 3;  // room for 31
    labels = end_labels(ends, chosen, apart, low, high);
    const auto has = [&](std::size_t j) { return std::ranges::count(labels, j, &EndLabel::curve); };
    for (std::size_t j = 0; j < ends.size(); ++j) {
      CHECK(has(j) <= 1);
      if (chosen[j])
        CHECK(has(j) == 1);
      else if (ends[j] == 0)
        CHECK(has(j) == 0);
    }
    for (std::size_t i = 0; i < labels.size(); ++i) {
      CHECK(labels[i].height > low - 1e-9);
      CHECK(labels[i].height < high + 1e-9);
      if (i == 0) continue;
      CHECK(labels[i].height - labels[i - 1].height > apart - 1e-9);
      CHECK(ends[labels[i].curve] >= ends[labels[i - 1].curve]);
    }
  }
  // Where there is no room for all that are chosen, those that end farthest from 0.
  labels = end_labels({0.5, -3, 2, 0.1}, {true, true, true, true}, 1, -0.5, 0.5);
  REQUIRE(labels.size() == 2);
  CHECK(labels[0].curve == 1);
  CHECK(labels[1].curve == 2);
  CHECK(end_labels({}, {}, 1, 0, 1).empty());
}

TEST_CASE("plot: names of tics keep their distance, differ, and are no more than asked for") {
  CHECK(thinned({0, 0.5, 1, 1.5, 3}, 1) == std::vector<bool>{true, false, true, false, true});
  CHECK(thinned({}, 1).empty());
  CHECK(tics_between(-25, 25, 5).names == std::vector<std::string>{"−20", "−10", "0", "10", "20"});
  CHECK(tics_between(0, 0.25, 5).names ==
        std::vector<std::string>{"0", "0.05", "0.10", "0.15", "0.20", "0.25"});
  taper::Rng rng(5);
  for (int round = 0; round < 500; ++round) {
    const double range = std::pow(10, rng.uniform(-9, 9));
    const double low = rng.normal() * range * std::pow(10, rng.uniform(-2, 5));
    const Tics tics = tics_between(low, low + range, 5);
    CAPTURE(low);
    CAPTURE(range);
    CHECK(tics.at.size() >= 2);
    CHECK(tics.at.size() <= 6);
    CHECK(tics.widest() <= 16);
    for (std::size_t k = 1; k < tics.names.size(); ++k) CHECK(tics.names[k] != tics.names[k - 1]);
  }
}

namespace {

/// The figure of a path on which columns of these names are all chosen.
Figure figure_of(const std::vector<std::string>& names) {
  Path path{{1, 0.5, 0.25}, {}, names, {3, 2, 1}, {0.1, 0.1, 0.1}, "loss", 2, 1};
  for (int k = 0; k < 3; ++k) {
    path.coefficients.emplace_back();
    for (std::size_t j = 0; j < names.size(); ++j)
      path.coefficients.back().push_back(k * (1 + static_cast<double>(j % 7)));
  }
  return path_figure(path);
}

std::vector<std::string> numbered(const std::string& name, int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(name + std::to_string(i));
  return names;
}

}  // namespace

TEST_CASE("plot: the width of a text is at least that of its letters") {
  CHECK(text_width("", 9) == 0);
  CHECK(text_width("W", 100) == doctest::Approx(99));   // in DejaVu Sans 98.9, in Helvetica 94.4
  CHECK(text_width("@", 100) == doctest::Approx(102));  // in DejaVu Sans 100, in Helvetica 101.5
  CHECK(text_width("iil", 100) == doctest::Approx(84));
  CHECK(text_width("~ ", 50) == doctest::Approx(58));
  CHECK(text_width("\xc3\xa9", 10) > 6.2);         // é
  CHECK(text_width("\xe6\xbc\xa2", 10) > 10);      // a Chinese character
  CHECK(text_width("\xf0\x9f\x98\x80", 10) > 12);  // a face
}

TEST_CASE("plot: a path is as wide as its names, and as high as they are many") {
  const double none = figure_of({""}).width;
  for (const std::string name : {"i", "WIDTH_MMMM_WWWW_0", "a name of several words, and of some length"}) {
    const double width = figure_of({name}).width - none;
    CHECK(width >= text_width(name, 9) - 1);
    CHECK(width <= text_width(name, 9) + 1);
  }
  for (const int count : {3, 30, 500}) {
    const Figure figure = figure_of(numbered("WIDTH_MMMM_WWWW_", count));
    CHECK(figure.height > 11 * count);
    for (const std::string& name : numbered("WIDTH_MMMM_WWWW_", count))
      CHECK(figure.commands.find("'" + name + "'") != std::string::npos);
    CHECK(figure.commands.find(" chosen\"") == std::string::npos);
  }
  const std::string words(400, 'x');
  CHECK(figure_of({words}).commands.find("'" + words + "'") != std::string::npos);
}

TEST_CASE("plot: the key of sizes stands above the frame, clear of every point and bar") {
  const Figure figure = taper::apps::sizes_figure({{0.1, 10, 1, 2, 3}, {0.1, 12, 1.5, 2.5, 3.5}}, {"loss"});
  CHECK(figure.commands.find("set key tmargin") != std::string::npos);
}

TEST_CASE("plot: bars of several seeds stand beside each other, points of one seed on their sizes") {
  const auto places = [](const std::vector<taper::apps::SizedLoss>& points) {
    const std::string commands = taper::apps::sizes_figure(points, {"loss"}).commands;
    std::vector<std::string> found;  // the factor of the size, by curve
    for (const char* curve : {"shrunk", "refit", "dense"}) {
      const auto begin = commands.find("index \"" + std::string(curve) + "\" using ($2*");
      REQUIRE(begin != std::string::npos);
      const auto from = commands.find('*', begin) + 1;
      found.push_back(commands.substr(from, commands.find(')', from) - from));
    }
    return found;
  };
  CHECK(places({{0.1, 10, 1, 2, 3}, {0.2, 8, 2, 3, 4}}) == std::vector<std::string>{"1", "1", "1"});
  const auto several = places({{0.1, 10, 1, 2, 3}, {0.1, 12, 1.5, 2.5, 3.5}});
  CHECK(std::stod(several[0]) < 0.995);
  CHECK(several[1] == "1");
  CHECK(std::stod(several[2]) > 1.005);
  CHECK(std::stod(several[2]) < 1.02);
}

TEST_CASE("plot: what no figure has room for is said, or marked") {
  const Figure many = figure_of(numbered("x", 2100));
  CHECK(many.commands.find("\"named: 2000 of 2100 chosen\"") != std::string::npos);
  std::size_t drawn = 0;
  for (std::size_t at = 0; (at = many.commands.find("set label 'x", at)) != std::string::npos; ++at) ++drawn;
  CHECK(drawn == 2000);
  std::string name;
  for (int i = 0; i < 2000; ++i) name += "\xc3\xa9";
  const Figure wide = figure_of({"begin" + name + "end"});
  CHECK(wide.width < 3500);
  CHECK(wide.width > 3000);
  const auto from = wide.commands.find("'begin\xc3\xa9");
  REQUIRE(from != std::string::npos);
  const std::string shown = wide.commands.substr(from, wide.commands.find('\'', from + 1) - from);
  CHECK(shown.ends_with("\xc3\xa9\x65nd"));
  CHECK(shown.find("\xc3\xa9…\xc3\xa9") != std::string::npos);
  CHECK(wide.series.back().columns.back() == "'begin" + name + "end'");
}

TEST_CASE("plot: a front has no point that another is better than") {
  CHECK(on_front({1, 2, 3}, {3, 2, 1}) == std::vector<bool>{true, true, true});
  CHECK(on_front({3, 1, 2}, {1, 2, 2}) == std::vector<bool>{true, true, false});
  CHECK(on_front({1, 1}, {2, 2}) == std::vector<bool>{true, true});
  CHECK(on_front({1, 1, 2}, {2, 3, std::nan("")}) == std::vector<bool>{true, false, false});
  CHECK(on_front({}, {}).empty());
}

TEST_CASE("plot: steps between tics") {
  CHECK(step(10, 5) == 2);
  CHECK(step(10, 4) == 5);
  CHECK(step(1700, 4) == 500);
  CHECK(std::abs(step(0.03, 4) - 0.01) < 1e-15);
  taper::Rng rng(2);
  for (int round = 0; round < 100; ++round) {
    const double range = std::pow(10, rng.uniform(-5, 5));
    CHECK(range / step(range, 4) <= 4 * (1 + 1e-12));
    CHECK(range / step(range, 4) > 4 / 2.5 * (1 - 1e-12));  // a finer one would be too many
  }
}

TEST_CASE("plot: quotes for gnuplot") {
  CHECK(quoted("s1") == "'s1'");
  CHECK(quoted("a'b\n\"c\"\\") == "'a''b \"c\"\\'");
}

#include <taper/data/digits.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {
namespace {

constexpr Index classes = 10, side = 28;

struct Point {
  double x = 0, y = 0;
};

/// A line through control points, in a box from (0, 0), above on the left, to (1, 1).
struct Stroke {
  std::vector<Point> points;
  bool curved = false;  ///< a smooth curve, else straight from point to point
};
using Drawing = std::vector<Stroke>;

/// The variants of each digit.
const std::array<std::vector<Drawing>, classes>& drawings() {
  constexpr bool curved = true;
  static const std::array<std::vector<Drawing>, classes> all{{
      {{{{{0.5, 0}, {0.12, 0.2}, {0.05, 0.6}, {0.42, 1}, {0.85, 0.8}, {0.95, 0.35}, {0.5, 0}}, curved}}},
      {{{{{0.5, 0}, {0.5, 1}}}}, {{{{0.25, 0.28}, {0.55, 0}, {0.55, 1}}}}},
      {{{{{0.08, 0.28}, {0.3, 0.02}, {0.72, 0.03}, {0.88, 0.3}, {0.55, 0.65}, {0.08, 1}}, curved},
        {{{0.08, 1}, {0.95, 0.98}}}},
       {{{{0.1, 0.2}, {0.5, 0}, {0.85, 0.25}, {0.55, 0.7}, {0.2, 0.98}, {0.1, 0.8}, {0.4, 0.8}, {0.95, 1}},
         curved}}},
      {{{{{0.08, 0.1}, {0.5, 0}, {0.85, 0.2}, {0.4, 0.46}}, curved},
        {{{0.4, 0.46}, {0.92, 0.68}, {0.55, 1}, {0.05, 0.88}}, curved}}},
      {{{{{0.65, 0}, {0.05, 0.65}, {0.98, 0.65}}}, {{{0.7, 0.3}, {0.7, 1}}}},
       {{{{0.12, 0}, {0.1, 0.52}, {0.9, 0.52}}}, {{{0.78, 0}, {0.75, 1}}}}},
      {{{{{0.9, 0}, {0.2, 0.02}, {0.14, 0.44}}},
        {{{0.14, 0.44}, {0.6, 0.36}, {0.92, 0.66}, {0.6, 1}, {0.06, 0.92}}, curved}}},
      {{{{{0.75, 0}, {0.3, 0.3}, {0.08, 0.7}, {0.45, 1}, {0.9, 0.76}, {0.55, 0.5}, {0.12, 0.7}}, curved}}},
      {{{{{0.05, 0.02}, {0.95, 0}, {0.4, 1}}}},
       {{{{0.05, 0.02}, {0.95, 0}, {0.4, 1}}}, {{{0.35, 0.5}, {0.88, 0.5}}}}},
      {{{{{0.5, 0.47},
          {0.14, 0.25},
          {0.5, 0},
          {0.86, 0.25},
          {0.5, 0.47},
          {0.08, 0.75},
          {0.5, 1},
          {0.92, 0.75},
          {0.5, 0.47}},
         curved}}},
      {{{{{0.25, 1}, {0.7, 0.7}, {0.92, 0.3}, {0.55, 0}, {0.1, 0.24}, {0.45, 0.5}, {0.88, 0.3}}, curved}},
       {{{{0.86, 0.25}, {0.45, 0}, {0.1, 0.26}, {0.45, 0.5}, {0.86, 0.25}}, curved},
        {{{0.88, 0.1}, {0.82, 1}}}}},
  }};
  return all;
}

/// A stroke as short straight pieces: through control points p[k], a Catmull-Rom spline.
std::vector<Point> pieces(const Stroke& stroke) {
  if (!stroke.curved) return stroke.points;
  constexpr int parts = 5;  // of a curve between two control points
  const std::vector<Point>& p = stroke.points;
  std::vector<Point> line{p.front()};
  for (std::size_t k = 0; k + 1 < p.size(); ++k) {
    const Point a = p[k == 0 ? 0 : k - 1], b = p[k], c = p[k + 1], d = p[std::min(k + 2, p.size() - 1)];
    const auto at = [](double t, double a0, double b0, double c0, double d0) {
      return 0.5 *
             (2 * b0 + t * (c0 - a0 + t * (2 * a0 - 5 * b0 + 4 * c0 - d0 + t * (3 * (b0 - c0) + d0 - a0))));
    };
    for (int part = 1; part <= parts; ++part) {
      const double t = part / static_cast<double>(parts);
      line.push_back({at(t, a.x, b.x, c.x, d.x), at(t, a.y, b.y, c.y, d.y)});
    }
  }
  return line;
}

double distance(Point p, Point a, Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y, square = dx * dx + dy * dy;
  const double t = square > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / square, 0.0, 1.0) : 0.0;
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

using Image = std::array<double, static_cast<std::size_t>(side* side)>;

/// Draws a straight piece, in pixels: ink within half the width of the pen, with an edge of one pixel.
void draw(Point a, Point b, double width, double ink, Image& image) {
  const double reach = width / 2 + 1;
  const auto first = [&](double u, double v) {
    return static_cast<Index>(std::clamp(std::floor(std::min(u, v) - reach), 0.0, double{side}));
  };
  const auto last = [&](double u, double v) {
    return static_cast<Index>(std::clamp(std::ceil(std::max(u, v) + reach), 0.0, double{side}));
  };
  for (Index row = first(a.y, b.y); row < last(a.y, b.y); ++row) {
    for (Index column = first(a.x, b.x); column < last(a.x, b.x); ++column) {
      const Point centre{static_cast<double>(column) + 0.5, static_cast<double>(row) + 0.5};
      const double cover = std::clamp(width / 2 + 0.5 - distance(centre, a, b), 0.0, 1.0);
      double& pixel = image[static_cast<std::size_t>(row * side + column)];
      pixel = std::max(pixel, ink * cover);
    }
  }
}

/// From the box of a drawing to pixels: stretched, slanted, turned and shifted.
class Placement {
 public:
  Placement(double variation, Rng& rng) {
    const auto around = [&](double middle, double spread) {
      return middle + variation * rng.uniform(-spread, spread);
    };
    width_ = around(11.5, 3), height_ = around(17, 3);
    slant_ = around(0, 0.35), angle_ = around(0, 0.25);
    shift_ = {around(0, 3), around(0, 3)};
  }
  Point operator()(Point p) const {
    const double y = height_ * (p.y - 0.5), x = width_ * (p.x - 0.5) - slant_ * y;
    const double c = std::cos(angle_), s = std::sin(angle_);
    return {side / 2.0 + shift_.x + c * x - s * y, side / 2.0 + shift_.y + s * x + c * y};
  }

 private:
  double width_, height_, slant_, angle_;
  Point shift_;
};

void draw_digit(Index digit, const DigitsOptions& options, Rng& rng, Image& image) {
  const std::vector<Drawing>& variants = drawings()[static_cast<std::size_t>(digit)];
  const auto variant = static_cast<std::size_t>(rng.below(static_cast<Index>(variants.size())));
  const Placement placed(options.variation, rng);
  const double pen = 2.2 + options.variation * rng.uniform(-0.9, 0.9);
  const double ink = 1 - options.variation * rng.uniform(0, 0.3);
  const double shake = 0.035 * options.variation;
  for (Stroke stroke : variants[variant]) {
    for (Point& point : stroke.points) point.x += shake * rng.normal(), point.y += shake * rng.normal();
    const std::vector<Point> line = pieces(stroke);
    for (std::size_t k = 0; k + 1 < line.size(); ++k) {
      draw(placed(line[k]), placed(line[k + 1]), pen, ink, image);
    }
  }
  if (options.variation <= 0) return;
  const Point from{rng.uniform(0, side), rng.uniform(0, side)};
  const double angle = rng.uniform(0, 6.283185307179586), length = options.variation * rng.uniform(2, 6);
  draw(from, {from.x + length * std::cos(angle), from.y + length * std::sin(angle)}, pen, ink, image);
}

void check_option(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;
  throw Error("make_digits", name, ' ', value, ": expected ", low, " to ", high);
}

}  // namespace

template <class T> Dataset<T> make_digits(const DigitsOptions& options) {
  check_option("rows", static_cast<double>(options.rows), 1, 1e9);
  check_option("variation", options.variation, 0, 2);
  check_option("noise", options.noise, 0, 10);
  Rng rng(options.seed);
  std::vector<Index> order(static_cast<std::size_t>(options.rows));
  std::iota(order.begin(), order.end(), Index{0});
  rng.shuffle(order.begin(), order.end());
  Dataset<T> data{
      Tensor<T>(Shape{options.rows, 1, side, side}), Tensor<T>(Shape{options.rows, 1}), {}, "label"};
  Image image;
  T* x = data.x.data();
  for (Index row = 0; row < options.rows; ++row) {
    const Index digit = order[static_cast<std::size_t>(row)] % classes;
    data.y[row] = static_cast<T>(digit);
    image.fill(0);
    draw_digit(digit, options, rng, image);
    for (const double pixel : image) {
      *x++ = static_cast<T>(std::clamp(pixel + options.noise * rng.normal(), 0.0, 1.0));
    }
  }
  return data;
}

#define TAPER_INSTANTIATE(T) template Dataset<T> make_digits(const DigitsOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::data

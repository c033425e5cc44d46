#include <taper/data/augment.hpp>

#include <algorithm>
#include <set>

#include "../check.hpp"

using namespace taper;

namespace {

/// The image moved by hand.
double moved(const Tensor<double>& x, Index image, Index r, Index c, Index down, Index right) {
  const Shape& s = x.shape();
  const Index from_r = r - down, from_c = c - right, rows = s[s.rank() - 2], columns = s[s.rank() - 1];
  if (from_r < 0 || from_r >= rows || from_c < 0 || from_c >= columns) return 0;
  return x.data()[(image * rows + from_r) * columns + from_c];
}

}  // namespace

TEST_CASE("shift_images: each image moves as a whole, its channels together, every way") {
  for (const Shape& shape : {Shape{200, 2, 5, 4}, Shape{200, 5, 4}}) {
    Rng rng(1);
    Tensor<double> x(shape);
    for (double& entry : x) entry = rng.normal();
    Tensor<double> y = x;
    rng = Rng(1);
    data::shift_images<double>(y, 2, rng);
    const Index channels = shape.rank() == 4 ? 2 : 1;
    std::set<std::pair<Index, Index>> seen;
    for (Index i = 0; i < shape[0]; ++i) {
      Index ways = 0;
      for (Index down = -2; down <= 2; ++down) {
        for (Index right = -2; right <= 2; ++right) {
          bool same = true;
          for (Index k = 0; same && k < channels * 20; ++k) {
            const Index image = i * channels + k / 20, r = k / 4 % 5, c = k % 4;
            same = y.data()[i * channels * 20 + k] == moved(x, image, r, c, down, right);
          }
          if (same) seen.emplace(down, right), ++ways;
        }
      }
      REQUIRE(ways == 1);
    }
    CHECK(seen.size() == 25);
    // The same numbers, the same images; no shift, no change.
    Tensor<double> again = x, still = x;
    Rng same(1);
    data::shift_images<double>(again, 2, same);
    CHECK(std::ranges::equal(again, y));
    data::shift_images<double>(still, 0, same);
    CHECK(std::ranges::equal(still, x));
  }
}

TEST_CASE("shift_images: bad input") {
  Rng rng(1);
  Tensor<float> matrix({3, 4}), images({2, 3, 4}), none({0, 3, 4});
  CHECK_ERROR(data::shift_images<float>(matrix, 1, rng), "[shift_images]", "images 3x4",
              "n x rows x columns");
  CHECK_ERROR(data::shift_images<float>(images, 3, rng), "shifts of up to 3 in images of 3 x 4");
  CHECK_ERROR(data::shift_images<float>(images, -1, rng), "shifts of up to -1");
  data::shift_images<float>(none, 1, rng);
}

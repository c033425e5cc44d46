#include <taper/nn/mask.hpp>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/autodiff/tensor.hpp>

#include "../check.hpp"
#include "random_mask.hpp"

using namespace taper;

namespace {

/// "#.#" with a free entry for each "#".
std::string marks(const Mask& mask) {
  std::string text;
  for (Index i = 0; i < mask.size(); ++i) text += mask.is_free(i) ? '#' : '.';
  return text;
}

std::string flipped(std::string text) {
  for (char& c : text) c = c == '#' ? '.' : '#';
  return text;
}

/// Everything a mask tells agrees with these shape and marks.
void check_mask(const Mask& mask, const Shape& shape, const std::string& expected) {
  CHECK(mask.shape() == shape);
  CHECK(mask.size() == shape.size());
  CHECK(marks(mask) == expected);
  std::vector<Index> positions;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == '#') positions.push_back(static_cast<Index>(i));
    CHECK(mask.is_frozen(static_cast<Index>(i)) == (expected[i] == '.'));
  }
  CHECK(mask.free_positions() == positions);
  CHECK(mask.count_free() == static_cast<Index>(positions.size()));
  CHECK(mask.all_free() == (positions.size() == expected.size()));
  CHECK(mask.all_frozen() == positions.empty());
}

std::string printed(const Mask& mask) {
  std::ostringstream out;
  out << mask;
  return out.str();
}

}  // namespace

TEST_CASE("Mask: by itself, all free and all frozen") {
  check_mask(Mask(), {}, "#");
  check_mask(Mask::all_free({2, 3}), {2, 3}, "######");
  check_mask(Mask::all_frozen({2, 3}), {2, 3}, "......");
  check_mask(Mask::all_frozen({}), {}, ".");
  check_mask(Mask::all_free({0, 3}), {0, 3}, "");
}

TEST_CASE("Mask: from truth values") {
  check_mask(Mask::free({true, false, true, false}), {4}, "#.#.");
  check_mask(Mask::frozen({true, false, true, false}), {4}, ".#.#");
  check_mask(Mask::free({true}), {1}, "#");
}

TEST_CASE("Mask: from positions") {
  check_mask(Mask::free({3, 4}, {0, 5}), {3, 4}, "#....#......");
  check_mask(Mask::frozen({3, 4}, {0, 5}), {3, 4}, ".####.######");
  const std::vector<Index> positions{11, 2, 2, 1};  // in any order, also twice
  check_mask(Mask::free({3, 4}, positions), {3, 4}, ".##........#");
  check_mask(Mask::frozen({3, 4}, positions), {3, 4}, "#..########.");
  check_mask(Mask::free({2, 1, 2}, std::vector<Index>{}), {2, 1, 2}, "....");
  check_mask(Mask::frozen({2, 1, 2}, std::vector<Index>{}), {2, 1, 2}, "####");
  check_mask(Mask::free({}, {0}), {}, "#");
  CHECK_ERROR(Mask::free({3, 4}, {0, 12}), "[mask]", "position 12", "3x4", "expected 0 to 11");
  CHECK_ERROR(Mask::frozen({3, 4}, {-1}), "[mask]", "position -1", "3x4", "expected 0 to 11");
  CHECK_ERROR(Mask::free({3, 4}, std::vector<Index>{4, 99}), "[mask]", "position 99");
}

TEST_CASE("Mask: from a predicate of the position") {
  const auto odd = [](Index i) { return i % 2 == 1; };
  check_mask(Mask::free({2, 3}, odd), {2, 3}, ".#.#.#");
  check_mask(Mask::frozen({2, 3}, odd), {2, 3}, "#.#.#.");
  check_mask(Mask::free({3}, [](Index i) { return i; }), {3}, ".##");
}

TEST_CASE("Mask: from Eigen vectors and matrices of 0 and 1, in either storage order") {
  const std::string expected = "#..##.";
  Eigen::MatrixXd columns(2, 3);
  columns << 1, 0, 0,  //
      1, 1, 0;
  const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> rows = columns.cast<float>();
  const Eigen::Matrix<int, 2, 3> fixed = columns.cast<int>();
  const Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic> truths = columns.array() == 1;
  check_mask(Mask::free(columns), {2, 3}, expected);
  check_mask(Mask::free(rows), {2, 3}, expected);
  check_mask(Mask::free(fixed), {2, 3}, expected);
  check_mask(Mask::free(truths), {2, 3}, expected);
  check_mask(Mask::frozen(columns), {2, 3}, flipped(expected));
  check_mask(Mask::frozen(rows), {2, 3}, flipped(expected));
  check_mask(Mask::frozen(truths), {2, 3}, flipped(expected));
  check_mask(Mask::free(columns.transpose()), {3, 2}, "##.#..");
  check_mask(Mask::free(columns.block(0, 1, 2, 2)), {2, 2}, "..#.");
  check_mask(Mask::free(columns.leftCols(1)), {2, 1}, "##");

  const Eigen::Vector4d column(0, 1, 1, 0);
  const Eigen::RowVectorXi row = column.cast<int>();
  check_mask(Mask::free(column), {4}, ".##.");
  check_mask(Mask::free(row), {4}, ".##.");
  check_mask(Mask::frozen(row), {4}, "#..#");
  check_mask(Mask::free(Eigen::VectorXd::Ones(3)), {3}, "###");
}

TEST_CASE("Mask: from truths that Eigen computes") {
  const Tensor<float> weight({2, 3}, {0.5f, -1e-4f, 0, -2, 1e-3f, 3});
  check_mask(Mask::frozen(weight.matrix().array().abs() < 1e-2f), {2, 3}, "#..#.#");
  check_mask(Mask::free(weight.matrix().array() > 0), {2, 3}, "#...##");
  check_mask(Mask::free(weight.vector().array() != 0), {6}, "##.###");
  check_mask(Mask::free(weight.matrix().cwiseAbs().cwiseMin(1).array().round()), {2, 3}, "#..#.#");
}

TEST_CASE("Mask: an entry that is neither 0 nor 1 is refused") {
  Eigen::MatrixXd pattern = Eigen::MatrixXd::Ones(2, 3);
  for (const double entry : {0.5, 2.0, -1.0, 1e-300, std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    CAPTURE(entry);
    pattern(1, 0) = entry;
    CHECK_ERROR(Mask::free(pattern), "[mask]", "at position 3", "expected 0 or 1");
    CHECK_ERROR(Mask::frozen(pattern), "[mask]", "at position 3", "expected 0 or 1");
  }
  CHECK_ERROR(Mask::free(Eigen::Vector3f(0, 1, 0.5f)), "entry 0.5", "at position 2");
  pattern(1, 0) = -0.0;  // a zero
  check_mask(Mask::free(pattern), {2, 3}, "###.##");
}

TEST_CASE("Mask: set operations, entry by entry and as an algebra") {
  const Mask a = Mask::free({true, true, false, false}), b = Mask::free({true, false, true, false});
  check_mask(~a, {4}, "..##");
  check_mask(a & b, {4}, "#...");
  check_mask(a | b, {4}, "###.");
  check_mask(a - b, {4}, ".#..");
  check_mask(a, {4}, "##..");  // as it was
  check_mask(b, {4}, "#.#.");

  Rng rng(5);
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{16, 9}, Shape{2, 3, 4, 5}, Shape{0, 4}}) {
    const Mask none = Mask::all_frozen(shape), all = Mask::all_free(shape);
    for (int round = 0; round < 20; ++round) {
      const Mask x = random_mask(rng, shape, rng.uniform()), y = random_mask(rng, shape, rng.uniform()),
                 z = random_mask(rng, shape, 0.5);
      CHECK(~(x & y) == (~x | ~y));  // De Morgan
      CHECK(~(x | y) == (~x & ~y));
      CHECK(~~x == x);
      CHECK(x - y == (x & ~y));
      CHECK(x - (y | z) == ((x - y) & (x - z)));
      CHECK((x & (y | z)) == ((x & y) | (x & z)));
      CHECK((x | (y & z)) == ((x | y) & (x | z)));
      CHECK((x & y) == (y & x));
      CHECK((x | y) == (y | x));
      CHECK((x & (x | y)) == x);
      CHECK(((x - y) | (x & y)) == x);
      CHECK((x & ~x) == none);
      CHECK((x | ~x) == all);
      CHECK(x - x == none);
      CHECK(x - none == x);
      CHECK((x | y).count_free() + (x & y).count_free() == x.count_free() + y.count_free());
      CHECK(x.count_free() + (~x).count_free() == x.size());
      CHECK(Mask::free(shape, x.free_positions()) == x);
      CHECK(Mask::frozen(shape, (~x).free_positions()) == x);
    }
  }
}

TEST_CASE("Mask: equality minds the shape") {
  CHECK(Mask::all_free({2, 3}) == Mask::all_free({2, 3}));
  CHECK(Mask::all_free({2, 3}) != Mask::all_free({3, 2}));
  CHECK(Mask::all_free({2, 3}) != Mask::frozen({2, 3}, {5}));
}

TEST_CASE("Mask: masks of different shapes are not combined") {
  const Mask a = Mask::all_free({2, 3}), b = Mask::all_free({3, 2}), flat = Mask::all_free({6});
  CHECK_ERROR(a & b, "[mask]", "2x3 combined with 3x2", "expected the same shape");
  CHECK_ERROR(a | b, "[mask]", "2x3 combined with 3x2", "expected the same shape");
  CHECK_ERROR(a - b, "[mask]", "2x3 combined with 3x2", "expected the same shape");
  CHECK_ERROR(a & flat, "[mask]", "2x3 combined with 6");
}

TEST_CASE("Mask: the same entries in another shape") {
  const Mask mask = Mask::free({2, 3}, {1, 5});
  check_mask(mask.reshaped({6}), {6}, ".#...#");
  check_mask(mask.reshaped({3, 1, 2}), {3, 1, 2}, ".#...#");
  CHECK(mask.reshaped({3, 2}).reshaped({2, 3}) == mask);
  check_mask(mask, {2, 3}, ".#...#");
  CHECK_ERROR(mask.reshaped({5}), "[mask]", "2x3 reshaped to 5", "expected 6 entries");
  CHECK_ERROR(mask.reshaped({2, 4}), "[mask]", "2x3 reshaped to 2x4");
}

TEST_CASE("Mask: require names what does not fit") {
  const Mask mask = Mask::all_free({2, 3});
  mask.require({2, 3}, "freeze", "weight");
  CHECK_ERROR(mask.require({3, 2}, "freeze", "weight"), "[freeze]", "a mask 2x3 for 'weight'",
              "expected 3x2");
  CHECK_ERROR(mask.require({6}, "minimize"), "[minimize] a mask 2x3: expected 6");
}

TEST_CASE("Mask: printed with its rows when it is small") {
  CHECK(printed(Mask::free({2, 3}, {0, 4, 5})) == "mask 2x3, 3 of 6 free\n#..\n.##");
  CHECK(printed(Mask::free({true, false, true})) == "mask 3, 2 of 3 free\n#.#");
  CHECK(printed(Mask()) == "mask scalar, 1 of 1 free\n#");
  CHECK(printed(Mask::frozen({2, 1, 2}, {3})) == "mask 2x1x2, 3 of 4 free\n##\n#.");
  CHECK(printed(Mask::free({0, 3}, [](Index) { return true; })) == "mask 0x3, 0 of 0 free");
  CHECK(printed(Mask::all_frozen({33, 2})) == "mask 33x2, 0 of 66 free");
  CHECK(printed(Mask::all_free({2, 81})) == "mask 2x81, 162 of 162 free");
  const std::string most = printed(Mask::all_free({32, 80}));
  CHECK(most == [] {
    std::string text = "mask 32x80, 2560 of 2560 free";
    for (int row = 0; row < 32; ++row) text += '\n' + std::string(80, '#');
    return text;
  }());
}

TEST_CASE("Mask: from lists that are made at run time") {
  CHECK(Mask::free(std::vector<bool>{true, false, true}) == Mask::free({true, false, true}));
  CHECK(Mask::frozen(std::vector<double>{1, 0, 1}) == Mask::free({false, true, false}));
  CHECK(Mask::free(std::vector<int>{}).size() == 0);
  CHECK_ERROR(Mask::free(std::vector<double>{1, 0.5}), "[mask]", "0.5 at position 1", "0 or 1");
}

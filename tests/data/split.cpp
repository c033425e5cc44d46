#include <taper/data/split.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"

using namespace taper::data;
using taper::Index;
using taper::Rng;
using taper::Shape;
using taper::Tensor;

namespace {

/// A set whose rows can be told apart: row i has x = (i, -i) and y = 2 i.
template <class T> Dataset<T> numbered(Index rows) {
  Dataset<T> data{Tensor<T>(Shape{rows, 2}), Tensor<T>(Shape{rows, 1}), {"a", "b"}, "c"};
  for (Index i = 0; i < rows; ++i) {
    data.x[2 * i] = static_cast<T>(i);
    data.x[2 * i + 1] = static_cast<T>(-i);
    data.y[i] = static_cast<T>(2 * i);
  }
  return data;
}

template <class T> std::vector<Index> numbers(const Dataset<T>& data) {
  std::vector<Index> result;
  for (Index i = 0; i < data.rows(); ++i) {
    CHECK(data.x[2 * i + 1] == -data.x[2 * i]);
    CHECK(data.y[i] == 2 * data.x[2 * i]);
    result.push_back(static_cast<Index>(data.x[2 * i]));
  }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("train_test_split: every row is in one of the two sets", T, float, double) {
  Rng rng(1);
  for (int round = 0; round < 100; ++round) {
    const Index n = 10 + rng.below(200);
    const double fraction = rng.uniform(0.1, 0.9);
    const auto [train, test] = train_test_split(numbered<T>(n), fraction, rng.bits());
    CHECK(test.rows() == std::llround(fraction * static_cast<double>(n)));
    CHECK(train.rows() + test.rows() == n);
    CHECK(train.features == std::vector<std::string>{"a", "b"});
    CHECK(test.target == "c");

    std::vector<Index> all = numbers(train);
    const std::vector<Index> held_out = numbers(test);
    all.insert(all.end(), held_out.begin(), held_out.end());
    std::ranges::sort(all);
    std::vector<Index> expected(static_cast<std::size_t>(n));
    std::iota(expected.begin(), expected.end(), Index{0});
    CHECK(all == expected);
  }
}

TEST_CASE("train_test_split: the seed decides, and nothing else") {
  const auto data = numbered<float>(100);
  const auto first = numbers(train_test_split(data, 0.3, 7).second);
  CHECK(numbers(train_test_split(data, 0.3, 7).second) == first);
  CHECK(numbers(train_test_split(numbered<double>(100), 0.3, 7).second) == first);
  CHECK(numbers(train_test_split(data, 0.3, 8).second) != first);
  CHECK(!std::ranges::is_sorted(first));
}

TEST_CASE("train_test_split: every row is as likely as any other to be held out") {
  const auto data = numbered<float>(20);
  std::vector<int> held_out(20);
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    for (const Index i : numbers(train_test_split(data, 0.25, seed).second))
      ++held_out[static_cast<std::size_t>(i)];
  }
  // Binomial with mean 500 and standard deviation 19.4.
  for (const int count : held_out) CHECK(std::abs(count - 500) < 100);
}

TEST_CASE("train_test_split: fractions that leave nothing") {
  const auto data = numbered<float>(10);
  for (const double fraction : {0.0, 1.0, -0.1, 1.5, std::nan(""), HUGE_VAL}) {
    CHECK_ERROR(train_test_split(data, fraction, 0), "[train_test_split] test fraction",
                "expected more than 0 and less than 1");
  }
  CHECK_ERROR(train_test_split(data, 0.04, 0), "of 10 rows leaves 10 for training and 0 for testing");
  CHECK_ERROR(train_test_split(data, 0.96, 0), "leaves 0 for training and 10 for testing");
  CHECK_ERROR(train_test_split(numbered<float>(0), 0.5, 0), "of 0 rows");
  CHECK_ERROR(train_test_split(Dataset<float>{}, 0.5, 0), "of 0 rows");
  CHECK(train_test_split(numbered<float>(2), 0.5, 0).first.rows() == 1);
}

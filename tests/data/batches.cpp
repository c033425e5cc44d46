#include <taper/data/batches.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"

using namespace taper::data;
using taper::Index;
using taper::Rng;
using taper::Shape;
using taper::Tensor;

namespace {

/// Row i of x holds i, i + 0.25, ...; row i of y holds -i.
template <class T> Dataset<T> numbered(const Shape& x) {
  Dataset<T> data{Tensor<T>(x), Tensor<T>(Shape{x[0], 1}), {}, ""};
  const Index length = x.size() / x[0];
  for (Index k = 0; k < x.size(); ++k)
    data.x[k] = static_cast<T>(k / length) + static_cast<T>(k % length) / 4;
  for (Index i = 0; i < x[0]; ++i) data.y[i] = static_cast<T>(-i);
  return data;
}

/// The rows of an epoch in the order they are served; checks that x and y come whole and together.
template <class T> std::vector<Index> served(const Batches<T>& batches, const Dataset<T>& data) {
  const Index length = data.x.size() / data.rows();
  std::vector<Index> order;
  for (Index batch = 0; batch < batches.count(); ++batch) {
    const Index size = batches.size(batch);
    constexpr T untouched = -12345;
    std::vector<T> x(static_cast<std::size_t>(size * length + 1), untouched);
    std::vector<T> y(static_cast<std::size_t>(size + 1), untouched);
    batches.copy(batch, std::vector<T*>{x.data(), y.data()});
    CHECK(x.back() == untouched);
    CHECK(y.back() == untouched);
    for (Index i = 0; i < size; ++i) {
      const auto row = static_cast<Index>(-y[static_cast<std::size_t>(i)]);
      REQUIRE(row >= 0);
      REQUIRE(row < data.rows());
      CHECK(std::equal(data.x.data() + row * length, data.x.data() + (row + 1) * length,
                       x.data() + i * length));
      order.push_back(row);
    }
  }
  return order;
}

std::vector<Index> file_order(Index rows) {
  std::vector<Index> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), Index{0});
  return order;
}

}  // namespace

TEST_CASE_TEMPLATE("batches: every row exactly once, for all sizes and ranks", T, float, double) {
  Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    const Index n = 1 + rng.below(50);
    const Shape shapes[] = {{n}, {n, 1 + rng.below(9)}, {n, 2, 3}, {n, 2, 1, 3}};
    const Dataset<T> data = numbered<T>(shapes[rng.below(4)]);
    const Index batch_size = 1 + rng.below(60);
    const bool shuffle = rng.below(2) == 0;
    Batches<T> batches(data, batch_size, shuffle, rng.bits());
    CHECK(batches.count() == (n + batch_size - 1) / batch_size);
    for (Index batch = 0; batch + 1 < batches.count(); ++batch) CHECK(batches.size(batch) == batch_size);
    CHECK(batches.size(batches.count() - 1) == n - (batches.count() - 1) * batch_size);

    for (Index epoch = 0; epoch < 3; ++epoch) {
      batches.start_epoch(epoch);
      std::vector<Index> order = served(batches, data);
      if (shuffle) std::ranges::sort(order);
      CHECK(order == file_order(n));
    }
  }
}

TEST_CASE("batches: an epoch's order depends on seed and epoch only") {
  const auto data = numbered<float>({100, 3});
  Batches<float> batches(data, 7, true, 5);
  const auto epoch_0 = served(batches, data);
  batches.start_epoch(3);
  const auto epoch_3 = served(batches, data);
  batches.start_epoch(0);
  CHECK(served(batches, data) == epoch_0);
  CHECK(epoch_3 != epoch_0);
  CHECK(epoch_0 != file_order(100));

  Batches<float> other_size(data, 100, true, 5);
  other_size.start_epoch(3);
  CHECK(served(other_size, data) == epoch_3);
  CHECK(served(Batches<float>(data, 7, true, 6), data) != epoch_0);
}

TEST_CASE("batches: an epoch goes on in the middle as if it had never been left") {
  const auto data = numbered<double>({23, 2});
  Batches<double> batches(data, 5, true, 9);
  CHECK(batches.epoch() == 0);
  for (Index epoch = 0; epoch < 4; ++epoch) {
    batches.start_epoch(epoch);
    CHECK(batches.epoch() == epoch);
    for (Index batch = 0; batch < batches.count(); ++batch) {
      Batches<double> again(data, 5, true, 9);
      again.start_epoch(epoch);
      std::vector<double> x(10), y(5), x_again(10), y_again(5);
      batches.copy(batch, std::vector<double*>{x.data(), y.data()});
      again.copy(batch, std::vector<double*>{x_again.data(), y_again.data()});
      CHECK(x == x_again);
      CHECK(y == y_again);
    }
  }
  CHECK_ERROR(batches.start_epoch(-1), "[batches] epoch -1");
  CHECK(batches.epoch() == 3);
}

TEST_CASE("batches: a batch as large as can be is one batch") {
  const auto data = numbered<double>({5, 2});
  const Batches<double> batches(data, std::numeric_limits<Index>::max(), false, 0);
  CHECK(batches.count() == 1);
  CHECK(batches.size(0) == 5);
  CHECK(served(batches, data) == file_order(5));
}

TEST_CASE_TEMPLATE("batches: misuse", T, float, double) {
  const auto data = numbered<T>({5, 2});
  CHECK_ERROR(Batches<T>(data, 0, true, 0), "[batches] batch size 0: expected 1 or more");
  CHECK_ERROR(Batches<T>(data, -3, true, 0), "[batches] batch size -3");
  const Dataset<T> unfilled;
  CHECK_ERROR(Batches<T>(unfilled, 1, true, 0), "[batches] columns scalar and scalar");
  const Dataset<T> empty{Tensor<T>(Shape{0, 2}), Tensor<T>(Shape{0, 1}), {}, ""};
  CHECK_ERROR(Batches<T>(empty, 1, true, 0), "[batches] columns 0x2 and 0x2", "at least one");
  const Dataset<T> ragged{Tensor<T>(Shape{3, 2}), Tensor<T>(Shape{2, 1}), {}, ""};
  CHECK_ERROR(Batches<T>(ragged, 1, true, 0),
              "[batches] columns 3x2 and 2x1: expected as many rows in all of them");
  CHECK_ERROR(Batches<T>(std::vector<taper::View<const T>>(), 1, true, 0), "[batches] no columns");

  Batches<T> batches(data, 2, true, 0);
  CHECK_ERROR(batches.start_epoch(-1), "[batches] epoch -1: expected 0 or more");
  CHECK_ERROR(batches.size(3), "[batches] batch 3: expected 0 to 2");
  CHECK_ERROR(batches.size(-1), "[batches] batch -1");
  CHECK_ERROR(batches.copy(3, {}), "[batches] batch 3");
  CHECK_ERROR(batches.copy(0, {}), "[batches] 0 places: expected 2, one for each column");
  CHECK(!std::is_constructible_v<Batches<T>, Dataset<T>&&, Index, bool, std::uint64_t>);  // it would dangle
}

TEST_CASE_TEMPLATE("batches: any number of columns, whose rows stay together", T, float, double) {
  Rng rng(3);
  for (int round = 0; round < 50; ++round) {
    const Index n = 1 + rng.below(40);
    std::vector<Tensor<T>> columns;
    for (Index i = 1 + rng.below(4); i > 0; --i) {
      Tensor<T>& column = columns.emplace_back(Shape{n, 1 + rng.below(3)});
      const Index length = column.size() / n;
      for (Index k = 0; k < column.size(); ++k) column[k] = static_cast<T>(k / length * 100 + i);
    }
    Batches<T> batches({columns.begin(), columns.end()}, 1 + rng.below(50), true, rng.bits());
    std::vector<Index> order;
    for (Index batch = 0; batch < batches.count(); ++batch) {
      std::vector<Tensor<T>> rows;
      std::vector<T*> places;
      for (const Tensor<T>& column : columns) {
        places.push_back(rows.emplace_back(column.shape().with(0, batches.size(batch))).data());
      }
      batches.copy(batch, places);
      for (Index i = 0; i < batches.size(batch); ++i) {
        for (std::size_t c = 0; c < columns.size(); ++c) {
          const Index length = columns[c].size() / n;
          const auto row = static_cast<Index>(rows[c][i * length]) / 100;
          if (c == 0) order.push_back(row);
          CHECK(row == order.back());
          CHECK(std::equal(rows[c].data() + i * length, rows[c].data() + (i + 1) * length,
                           columns[c].data() + row * length));
        }
      }
    }
    std::ranges::sort(order);
    CHECK(order == file_order(n));
  }
}

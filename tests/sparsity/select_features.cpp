#include <taper/sparsity/select_features.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include <taper/autodiff/threads.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::FeatureModel;
using sparsity::FeatureSelection;
using sparsity::select_features;
using sparsity::SelectFeaturesOptions;

namespace {

using Columns = std::vector<Index>;

/// Standard normal columns, and y of each row.
template <class F>
data::Dataset<double> planted(Index rows, Index columns, const F& y, std::uint64_t seed = 3) {
  data::Dataset<double> set{normal_tensor<double>({rows, columns}, seed), Tensor<double>({rows, 1}), {}, {}};
  const Tensor<double> noise = normal_tensor<double>({rows}, seed + 1);
  for (Index i = 0; i < rows; ++i) set.y[i] = y(set.x.data() + i * columns) + 0.1 * noise[i];
  return set;
}

/// What a straight line says nothing about: all correlations with y are 0.
data::Dataset<double> even(Index rows = 600, Index columns = 12) {
  return planted(rows, columns, [](const double* x) { return 1.5 * x[1] * x[2] + x[7] * x[7]; });
}

data::Dataset<double> straight(Index rows = 200, Index columns = 15) {
  REQUIRE(columns >= 12);
  return planted(rows, columns, [](const double* x) { return 2 * x[3] - x[6] + 0.7 * x[11]; });
}

SelectFeaturesOptions quick(std::optional<Index> features, FeatureModel model = FeatureModel::network) {
  SelectFeaturesOptions options;
  options.features = features;
  options.model = model;
  options.hidden = {24};
  options.lr = 1e-2;
  return options;
}

data::Dataset<double> change_columns(const data::Dataset<double>& set, const auto& value_of, Index columns) {
  data::Dataset<double> result{Tensor<double>({set.rows(), columns}), set.y, {}, {}};
  for (Index i = 0; i < set.rows(); ++i) {
    for (Index j = 0; j < columns; ++j) result.x[i * columns + j] = value_of(i, j);
  }
  return result;
}

}  // namespace

TEST_CASE("select_features: a network finds what only matters in products and squares, a lasso does not") {
  const auto set = even();
  const FeatureSelection chosen = select_features(set, quick(3));
  CHECK(chosen.features == Columns{1, 2, 7});
  CHECK(chosen.certificate.left_out == 9);
  CHECK(chosen.certificate.violated.empty());
  CHECK(chosen.certificate.holds());
  CHECK(chosen.order.size() == 12);
  CHECK(select_features(set, quick(3, FeatureModel::linear)).features != Columns{1, 2, 7});
}

TEST_CASE("select_features: linear and network find planted columns by number and by the rows held out") {
  const auto set = straight();
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    CAPTURE(static_cast<int>(model));
    const FeatureSelection three = select_features(set, quick(3, model));
    CHECK(three.features == Columns{3, 6, 11});
    CHECK(Columns(three.order.begin(), three.order.begin() + 1) == Columns{3});  // the strongest
    CHECK(three.certificate.holds());
    if (model == FeatureModel::linear) {
      CHECK(three.certificate.relative_gap.value() < 1e-6);
      CHECK_FALSE(three.certificate.worst_chosen.has_value());
    }
    const FeatureSelection by_rule = select_features(set, quick({}, model));
    CHECK(std::ranges::includes(by_rule.features, Columns{3, 6, 11}));
    CHECK(by_rule.features.size() < 8);
    const auto& point = by_rule.path[by_rule.chosen];
    CHECK(point.worse_by <= point.standard_error);
    CHECK(by_rule.path[by_rule.best].worse_by == 0);
    CHECK(point.features == by_rule.features);
    // From the largest penalty on, and fewer features with larger ones for the lasso of these columns.
    for (std::size_t k = 1; k < by_rule.path.size(); ++k) {
      CHECK(by_rule.path[k].penalty < by_rule.path[k - 1].penalty);
    }
  }
}

TEST_CASE("select_features: classes, two and more") {
  auto set = planted(400, 10, [](const double* x) { return x[2] * x[4]; });
  for (double& y : set.y) y = y > 0 ? 1 : 0;
  auto options = quick(2);
  options.classification = true;
  CHECK(select_features(set, options).features == Columns{2, 4});

  auto three = planted(400, 10, [](const double* x) { return 2 * x[5] + x[8]; });
  for (double& y : three.y) y = y > 1 ? 2 : y > -1 ? 1 : 0;
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    options.model = model;
    const FeatureSelection chosen = select_features(three, options);
    CHECK(chosen.features == Columns{5, 8});
    CHECK(chosen.certificate.violated.empty());
  }
  for (double& y : three.y) y = y > 0 ? 1 : 0;
  options.model = FeatureModel::linear;
  const FeatureSelection logistic = select_features(three, options);
  CHECK(std::ranges::includes(logistic.features, Columns{5}));
  CHECK(logistic.certificate.relative_gap.value() < 1e-6);
}

TEST_CASE("select_features: permuted columns give the permuted choice, to the bit") {
  const auto set = even(300, 9);
  Columns order{4, 8, 0, 2, 7, 1, 3, 6, 5};
  const auto moved = change_columns(
      set, [&](Index i, Index j) { return set.x[i * 9 + order[static_cast<std::size_t>(j)]]; }, 9);
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    const FeatureSelection a = select_features(set, quick(4, model));
    const FeatureSelection b = select_features(moved, quick(4, model));
    Columns back;
    for (const Index j : b.features) back.push_back(order[static_cast<std::size_t>(j)]);
    std::ranges::sort(back);
    CHECK(back == a.features);
    REQUIRE(a.path.size() == b.path.size());
    for (std::size_t k = 0; k < a.path.size(); ++k) {
      CHECK(a.path[k].penalty == b.path[k].penalty);
      CHECK(a.path[k].validation_loss == b.path[k].validation_loss);
    }
  }
}

TEST_CASE("select_features: units and offsets do not matter") {
  const auto set = straight();
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    const FeatureSelection plain = select_features(set, quick(3, model));
    for (const double unit : {1e-8, 1e8}) {
      auto other = change_columns(
          set, [&](Index i, Index j) { return set.x[i * 15 + j] * (j % 2 == 0 ? unit : 1 / unit) + 3; }, 15);
      // An offset that is 1e8 deviations leaves 8 digits, which are enough.
      for (double& y : other.y) y = y * unit;
      const FeatureSelection scaled = select_features(other, quick(3, model));
      CHECK(scaled.features == plain.features);
      CHECK(scaled.path[scaled.chosen].validation_loss ==
            doctest::Approx(plain.path[plain.chosen].validation_loss).epsilon(0.05));
    }
  }
}

TEST_CASE("select_features: constant columns are never chosen, equal ones stand for one another") {
  const auto set = straight(200, 12);
  // Column 12 is constant, 13 is column 3 in other units, 14 is column 1.
  const auto more = change_columns(
      set,
      [&](Index i, Index j) {
        return j < 12    ? set.x[i * 12 + j]
               : j == 12 ? 0.1
               : j == 13 ? 1e6 * set.x[i * 12 + 3]
                         : set.x[i * 12 + 1];
      },
      15);
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    const FeatureSelection chosen = select_features(more, quick(3, model));
    CHECK(chosen.features == Columns{3, 6, 11});
    CHECK(chosen.constant == Columns{12});
    CHECK(chosen.duplicate_of[13] == 3);
    CHECK(chosen.duplicate_of[14] == 1);
    CHECK(chosen.duplicate_of[3] == -1);
    CHECK(chosen.offered == 12);
    CHECK(chosen.order.size() == 12);
    CHECK_ERROR(select_features(more, quick(13, model)), "13 features of 15", "at most the other 12");
  }
}

TEST_CASE("select_features: equal columns are found among others that begin alike, and in small units") {
  // Twenty columns of two values, as many of each in every column, and the same in other units.
  data::Dataset<double> set{Tensor<double>({60, 40}), Tensor<double>({60, 1}), {}, {}};
  Rng rng(3);
  for (Index j = 0; j < 20; ++j) {
    std::vector<Index> order(60);
    std::iota(order.begin(), order.end(), Index{0});
    rng.shuffle(order.begin(), order.end());
    for (Index i = 0; i < 60; ++i) {
      const double value = order[static_cast<std::size_t>(i)] < 20;
      set.x[i * 40 + j] = value;
      set.x[i * 40 + 20 + j] = 0.1 * static_cast<double>(j + 1) * value + 0.3;
    }
  }
  for (Index i = 0; i < 60; ++i) set.y[i] = set.x[i * 40 + 4] + 0.1 * rng.normal();
  const FeatureSelection chosen = select_features(set, quick(1, FeatureModel::linear));
  CHECK(chosen.features == Columns{4});
  CHECK(chosen.offered == 20);
  for (Index j = 0; j < 20; ++j) CHECK(chosen.duplicate_of[static_cast<std::size_t>(20 + j)] == j);

  auto small = straight(80, 12);
  for (double& entry : small.x) entry *= 1e-13;
  auto options = quick(1, FeatureModel::linear);
  options.standardize = false;
  CHECK(select_features(small, options).offered == 12);
}

TEST_CASE("select_features: a path that leaves nothing, and halves without the target") {
  const auto set = straight(60, 13);
  auto options = quick(2);
  options.first_penalty = 1e6;
  CHECK_ERROR(select_features(set, options), "2 features, of which none is in", "a smaller first penalty");
  options.features = {};
  CHECK_ERROR(select_features(set, options), "features, of which none is in", "a smaller first penalty");
  // Where smaller ones leave some, the path begins there, and the choice is that of a path that began dense.
  const auto many = straight(400, 13);
  options.first_penalty = 20;
  const FeatureSelection late = select_features(many, options);
  options.first_penalty = 1e-3;
  const FeatureSelection usual = select_features(many, options);
  CHECK_FALSE(usual.features.empty());
  CHECK(late.features == usual.features);
  CHECK(late.path.back().penalty < 2);

  auto rare = set;
  std::ranges::fill(rare.y, 0);
  rare.y[7] = 1;
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    options = quick(1, model);
    options.resamples = 6;
    options.seed = 2;
    double sum = 0;
    for (const double share : select_features(rare, options).frequencies) sum += share;
    CHECK(sum > 0);
    CHECK(sum < 1);  // some halves have the row
    options.seed = 0;
    CHECK_ERROR(select_features(rare, options), "the same in all 48 of 60 rows", "expected one that varies");
  }
}

TEST_CASE("select_features: none and all") {
  const auto all = [&](FeatureModel model) {
    const auto y = planted(100, 6, [](const double* x) { return x[0] + x[3]; });
    return std::pair(select_features(y, quick(0, model)), select_features(y, quick(6, model)));
  };
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    const auto [none, every] = all(model);
    CHECK(none.features.empty());
    CHECK(none.certificate.left_out == 6);
    // A network that reads nothing has no slopes.
    CHECK(none.certificate.is_measured() == (model == FeatureModel::linear));
    CHECK(none.certificate.holds() == (model == FeatureModel::linear));
    CHECK(none.certificate.violated.empty());
    CHECK(every.features == Columns{0, 1, 2, 3, 4, 5});
    CHECK(every.certificate.left_out == 0);
    CHECK_FALSE(every.certificate.holds());  // nothing is left out to certify
  }
}

TEST_CASE("select_features: columns of one feature are chosen together") {
  const auto set = straight(200, 12);
  auto options = quick(2, FeatureModel::linear);
  options.groups = {0, 1, 2, 3, 4, 5, 3, 6, 7, 8, 9, 10};  // columns 3 and 6 are feature 3; 11 is 10
  CHECK(select_features(set, options).features == Columns{3, 10});
  options.model = FeatureModel::network;
  CHECK(select_features(set, options).features == Columns{3, 10});
  options.groups[3] = 20;
  CHECK_ERROR(select_features(set, options), "without gaps");
  options.groups.pop_back();
  CHECK_ERROR(select_features(set, options), "11 numbers of features", "expected 12");
}

TEST_CASE("select_features: frequencies over random halves tell signal from noise") {
  const auto set = planted(160, 10, [](const double* x) { return x[1] + 0.8 * x[4]; });
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    auto options = quick(3, model);
    options.resamples = model == FeatureModel::linear ? 20 : 6;
    const FeatureSelection chosen = select_features(set, options);
    REQUIRE(chosen.frequencies.size() == 10);
    CHECK(chosen.frequencies[1] == 1);
    CHECK(chosen.frequencies[4] == 1);
    // Of the third place, which goes to noise, each column has a share.
    double sum = 0, most = 0;
    for (std::size_t j = 0; j < 10; ++j) {
      sum += chosen.frequencies[j];
      if (j != 1 && j != 4) most = std::max(most, chosen.frequencies[j]);
    }
    CHECK(sum == doctest::Approx(3));
    CHECK(most < 0.9);
    CHECK(chosen.expected_false(0.9) == doctest::Approx(9 / (0.8 * 10)));
    CHECK_ERROR(chosen.expected_false(0.5), "more than 0.5");
  }
}

TEST_CASE(
    "select_features: the same bits for any number of threads, and no draws from this thread's numbers") {
  const auto set = even(250, 8);
  const int before = threads();
  manual_seed(5);
  const RandomState state = random_state();
  auto options = quick({});
  options.resamples = 2;
  set_threads(1);
  const FeatureSelection one = select_features(set, options);
  CHECK(random_state() == state);
  set_threads(3);
  const FeatureSelection three = select_features(set, options);
  set_threads(before);
  CHECK(one.features == three.features);
  CHECK(one.frequencies == three.frequencies);
  REQUIRE(one.path.size() == three.path.size());
  for (std::size_t k = 0; k < one.path.size(); ++k) {
    CHECK(one.path[k].validation_loss == three.path[k].validation_loss);
    CHECK(one.path[k].train_loss == three.path[k].train_loss);
  }
}

TEST_CASE("select_features: float, and images") {
  const auto set = straight(150, 12);
  data::Dataset<float> images{Tensor<float>({150, 1, 3, 4}), Tensor<float>({150, 1}), {}, {}};
  std::ranges::transform(set.x, images.x.begin(), [](double v) { return static_cast<float>(v); });
  std::ranges::transform(set.y, images.y.begin(), [](double v) { return static_cast<float>(v); });
  const FeatureSelection chosen = select_features(images, quick(3));
  CHECK(chosen.features == Columns{3, 6, 11});
  std::ostringstream text;
  text << chosen;
  CHECK(text.str().find("3 of 12 features") != std::string::npos);
}

TEST_CASE("select_features: what is wrong is said") {
  const auto set = straight(60, 15);
  for (const FeatureModel model : {FeatureModel::linear, FeatureModel::network}) {
    CHECK_ERROR(select_features(set, quick(16, model)), "16 features of 15", "expected 0 to 15");
    CHECK_ERROR(select_features(set, quick(-1, model)), "-1 features");
    auto bad = set;
    bad.x[31] = std::numeric_limits<double>::quiet_NaN();
    CHECK_ERROR(select_features(bad, quick(2, model)), "nan in row 2, column 1", "finite");
    bad = set;
    bad.y[3] = std::numeric_limits<double>::infinity();
    CHECK_ERROR(select_features(bad, quick(2, model)), "target inf in row 3");
    bad = set;
    std::ranges::fill(bad.y, 4.5);
    CHECK_ERROR(select_features(bad, quick(2, model)), "a target that is 4.5 in every row");
    bad = set;
    std::ranges::fill(bad.x, 1e9);
    CHECK_ERROR(select_features(bad, quick(2, model)), "15 columns that are constant");
    const Index first = 0;
    CHECK_ERROR(select_features(data::rows(set, std::span(&first, 1)), quick(1, model)), "1 rows",
                "4 or more");
    auto classes = quick(2, model);
    classes.classification = true;
    CHECK_ERROR(select_features(set, classes), "whole numbers from 0");
    bad = set;
    std::ranges::fill(bad.y, 1);
    CHECK_ERROR(select_features(bad, classes), "only class 1");
  }
  auto options = quick(2);
  options.validation = 1;
  CHECK_ERROR(select_features(set, options), "validation 1", "below 1");
  options = quick(2);
  options.ratio = 1;
  CHECK_ERROR(select_features(set, options), "ratio 1");
  options = quick(2);
  options.hidden = {0};
  CHECK_ERROR(select_features(set, options), "hidden width 0");
  CHECK_ERROR(select_features(set, quick(2)).expected_false(0.8), "no frequencies");
}

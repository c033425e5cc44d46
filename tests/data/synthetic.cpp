#include <taper/data/synthetic.hpp>

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include <taper/data/split.hpp>

#include "../check.hpp"

using namespace taper::data;
using taper::Index;
using taper::Shape;
using taper::Tensor;

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

/// The chosen columns, each with mean 0 and variance 1.
template <class T> MatrixXd standardized(const Dataset<T>& data, const std::vector<Index>& columns) {
  MatrixXd z(data.rows(), static_cast<Index>(columns.size()));
  for (Index j = 0; j < z.cols(); ++j) {
    const VectorXd column = data.x.matrix().col(columns[static_cast<std::size_t>(j)]).template cast<double>();
    const VectorXd centred = column.array() - column.mean();
    z.col(j) = centred / std::sqrt(centred.array().square().mean());
  }
  return z;
}

std::vector<Index> useful_columns(const Madelon<double>& madelon) {
  std::vector<Index> columns = madelon.informative;
  columns.insert(columns.end(), madelon.combinations.begin(), madelon.combinations.end());
  return columns;
}

/// How often the nearest of the first three quarters of the rows is of another class than a later row.
double neighbour_error(const Dataset<double>& data, const std::vector<Index>& columns) {
  const MatrixXd z = standardized(data, columns).transpose();
  const Index known = z.cols() * 3 / 4;
  int wrong = 0;
  for (Index i = known; i < z.cols(); ++i) {
    Index nearest = 0;
    (z.leftCols(known).colwise() - z.col(i)).colwise().squaredNorm().minCoeff(&nearest);
    wrong += data.y[nearest] != data.y[i];
  }
  return wrong / static_cast<double>(z.cols() - known);
}

double correlation(const VectorXd& a, const VectorXd& b) {
  const VectorXd u = a.array() - a.mean();
  const VectorXd v = b.array() - b.mean();
  return u.dot(v) / (u.norm() * v.norm());
}

template <class T> bool same(const Tensor<T>& a, const Tensor<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

TEST_CASE_TEMPLATE("make_madelon: shapes and names", T, float, double) {
  const Madelon<T> madelon = make_madelon<T>();
  const Dataset<T>& data = madelon.data;
  CHECK(data.x.shape() == Shape{2600, 500});
  CHECK(data.y.shape() == Shape{2600, 1});
  CHECK(data.features.front() == "V1");
  CHECK(data.features.back() == "V500");
  CHECK(data.target == "class");
  CHECK_NOTHROW(check(data, "test"));

  CHECK(madelon.informative.size() == 5);
  CHECK(madelon.combinations.size() == 15);
  CHECK(std::ranges::is_sorted(madelon.informative));
  CHECK(std::ranges::is_sorted(madelon.combinations));
  std::vector<Index> columns = madelon.informative;
  columns.insert(columns.end(), madelon.combinations.begin(), madelon.combinations.end());
  std::ranges::sort(columns);
  CHECK(std::ranges::adjacent_find(columns) == columns.end());
  CHECK(columns.front() >= 0);
  CHECK(columns.back() < 500);
  CHECK(columns.back() >= 20);  // the columns are shuffled
}

TEST_CASE("make_madelon: every corner of the hypercube has its share of rows, all of one class") {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    // Clusters so far apart that the middle between the extremes separates them.
    const auto madelon = make_madelon<double>({.separation = 1000, .flipped = 0, .seed = seed});
    const MatrixXd z = standardized(madelon.data, madelon.informative);
    std::map<int, std::vector<double>> classes;
    for (Index i = 0; i < z.rows(); ++i) {
      int corner = 0;
      for (Index j = 0; j < z.cols(); ++j) {
        corner = 2 * corner + (2 * z(i, j) > z.col(j).maxCoeff() + z.col(j).minCoeff() ? 1 : 0);
      }
      classes[corner].push_back(madelon.data.y[i]);
    }
    CHECK(classes.size() == 32);
    int positive = 0;
    for (const auto& [corner, labels] : classes) {
      CHECK((labels.size() == 81 || labels.size() == 82));
      CHECK(std::ranges::count(labels, labels.front()) == static_cast<Index>(labels.size()));
      positive += labels.front() == 1;
    }
    CHECK(positive == 16);
    CHECK(madelon.data.y.vector().sum() == 0);
  }
}

TEST_CASE("make_madelon: combinations add no rank") {
  // What each column, taken in the order of a pivoted QR decomposition, adds to those before it.
  const auto additions = [](double noise) {
    const auto madelon = make_madelon<double>({.noise = noise});
    const MatrixXd z = standardized(madelon.data, useful_columns(madelon)) / std::sqrt(2600);
    return z.colPivHouseholderQr().matrixQR().diagonal().cwiseAbs().eval();
  };
  const VectorXd exact = additions(0);
  CHECK(exact[4] > 0.1);
  CHECK(exact[5] < 1e-12);
  const VectorXd noisy = additions(0.1);
  CHECK(noisy[4] > 0.1);
  CHECK(noisy[5] < 0.1);
  CHECK(noisy[5] > 1e-4);
}

TEST_CASE("make_madelon: the class is in the useful columns together, not in one of them nor in the probes") {
  const auto madelon = make_madelon<double>({.rows = 1300});
  const std::vector<Index> useful = useful_columns(madelon);
  std::vector<Index> probes;
  for (Index j = 0; j < 500; ++j) {
    if (std::ranges::find(useful, j) == useful.end()) probes.push_back(j);
  }
  REQUIRE(probes.size() == 480);
  probes.resize(100);
  CHECK(neighbour_error(madelon.data, madelon.informative) < 0.2);
  CHECK(neighbour_error(madelon.data, useful) < 0.2);
  CHECK(neighbour_error(madelon.data, probes) > 0.4);
  CHECK(neighbour_error(madelon.data, {madelon.informative[0]}) > 0.3);

  // Probes are independent of the class and of each other: correlations of some 1 / sqrt(1300) = 0.03.
  const MatrixXd z = standardized(madelon.data, probes);
  CHECK((z.transpose() * madelon.data.y.vector()).cwiseAbs().maxCoeff() / 1300 < 0.13);
  CHECK((z.transpose() * z / 1300.0 - MatrixXd::Identity(100, 100)).cwiseAbs().maxCoeff() < 0.15);
}

TEST_CASE("make_madelon: shift and scale spread the columns") {
  const auto madelon = make_madelon<double>();
  VectorXd spread(500);
  for (Index j = 0; j < 500; ++j) {
    const auto column = madelon.data.x.matrix().col(j).array();
    spread[j] = std::sqrt((column - column.mean()).square().mean());
  }
  CHECK(spread.minCoeff() > 0.9);
  CHECK(spread.minCoeff() < 5);
  CHECK(spread.maxCoeff() > 95);
}

TEST_CASE("make_madelon: the asked fraction of classes is flipped, and nothing else") {
  const auto clean = make_madelon<double>({.flipped = 0});
  for (const double fraction : {0.01, 0.1, 1.0}) {
    const auto madelon = make_madelon<double>({.flipped = fraction});
    CHECK(same(madelon.data.x, clean.data.x));
    Index differ = 0;
    for (Index i = 0; i < 2600; ++i) differ += madelon.data.y[i] != clean.data.y[i];
    CHECK(differ == std::llround(2600 * fraction));
  }
}

TEST_CASE("make_madelon: the seed decides, in float as in double") {
  const auto a = make_madelon<double>({.rows = 100, .probes = 10, .seed = 3});
  const auto b = make_madelon<double>({.rows = 100, .probes = 10, .seed = 3});
  CHECK(same(a.data.x, b.data.x));
  CHECK(same(a.data.y, b.data.y));
  CHECK(a.informative == b.informative);
  const auto c = make_madelon<double>({.rows = 100, .probes = 10, .seed = 4});
  CHECK(!same(a.data.x, c.data.x));
  const auto f = make_madelon<float>({.rows = 100, .probes = 10, .seed = 3});
  CHECK(f.combinations == a.combinations);
  CHECK(f.data.x.vector() == a.data.x.vector().cast<float>());
}

TEST_CASE("make_madelon: other sizes, and options out of range") {
  const auto least = make_madelon<float>({.rows = 2, .informative = 1, .combinations = 0, .probes = 0});
  CHECK(least.data.x.shape() == Shape{2, 1});
  CHECK(least.data.y[0] == -least.data.y[1]);
  CHECK(make_madelon<float>({.rows = 101, .informative = 3}).data.rows() == 101);

  CHECK_ERROR(make_madelon<float>({.rows = 31}), "[make_madelon] rows 31: expected 32 to");
  CHECK_ERROR(make_madelon<float>({.informative = 0}), "[make_madelon] informative 0: expected 1 to 16");
  CHECK_ERROR(make_madelon<float>({.informative = 70}), "informative 70");
  CHECK_ERROR(make_madelon<float>({.combinations = -1}), "combinations -1: expected 0");
  CHECK_ERROR(make_madelon<float>({.probes = -1}), "probes -1: expected 0");
  CHECK_ERROR(make_madelon<float>({.separation = -1}), "separation -1");
  CHECK_ERROR(make_madelon<float>({.separation = HUGE_VAL}), "separation inf");
  CHECK_ERROR(make_madelon<float>({.noise = -0.1}), "noise -0.1");
  CHECK_ERROR(make_madelon<float>({.flipped = 1.5}), "flipped 1.5: expected 0 to 1");
  CHECK_ERROR(make_madelon<float>({.flipped = std::nan("")}), "flipped nan");
}

TEST_CASE_TEMPLATE("make_housing: names, ranges, whole counts", T, float, double) {
  const Dataset<T> data = make_housing<T>({.rows = 10000});
  CHECK(data.x.shape() == Shape{10000, 8});
  CHECK(data.y.shape() == Shape{10000, 1});
  CHECK(data.features == std::vector<std::string>{"longitude", "latitude", "housing_median_age",
                                                  "total_rooms", "total_bedrooms", "population", "households",
                                                  "median_income"});
  CHECK(data.target == "median_house_value");
  CHECK_NOTHROW(check(data, "test"));

  // The extremes of the real table.
  const std::pair<double, double> ranges[] = {{-124.35, -114.31}, {32.54, 41.95},   {1, 52},
                                              {2, 37937},         {1, 6445},        {3, 35682},
                                              {1, 6082},          {0.4999, 15.0001}};
  for (Index j = 0; j < 8; ++j) {
    CAPTURE(j);
    const auto column = data.x.matrix().col(j).template cast<double>().array().eval();
    CHECK(column.minCoeff() >= ranges[j].first - 1e-5);
    CHECK(column.maxCoeff() <= ranges[j].second + 1e-5);
    if (j >= 2 && j <= 6) CHECK((column == column.round()).all());
  }
  CHECK((data.x.matrix().col(4).array() <= data.x.matrix().col(3).array()).all());  // bedrooms are rooms
  CHECK(data.y.vector().minCoeff() >= 14999);
  CHECK(data.y.vector().maxCoeff() == 500001);
}

TEST_CASE("make_housing: the rough statistics of the real table") {
  const auto data = make_housing<double>({.rows = 10000});
  const auto column = [&](Index j) -> VectorXd { return data.x.matrix().col(j); };
  const VectorXd value = data.y.vector();
  const auto median = [](VectorXd v) {
    std::nth_element(v.begin(), v.begin() + v.size() / 2, v.end());
    return v[v.size() / 2];
  };
  CHECK(std::abs(correlation(column(0), column(1)) + 0.93) < 0.05);
  CHECK(correlation(column(3), column(6)) > 0.9);
  CHECK(correlation(column(5), column(6)) > 0.85);
  CHECK(correlation(column(2), column(3)) < -0.15);
  CHECK(std::abs(correlation(column(7), value) - 0.69) < 0.08);
  CHECK(std::abs(median(column(3)) / 2127 - 1) < 0.1);
  CHECK(std::abs(median(column(7)) / 3.54 - 1) < 0.1);
  CHECK(std::abs(median(value) / 180400 - 1) < 0.1);
  const double capped = (value.array() == 500001).cast<double>().mean();
  CHECK(capped > 0.01);
  CHECK(capped < 0.08);

  // Log-normal incomes: the logarithm has no skew to speak of.
  const Eigen::ArrayXd income = column(7).array().log();
  const Eigen::ArrayXd z = (income - income.mean()) / std::sqrt((income - income.mean()).square().mean());
  CHECK(std::abs(z.cube().mean()) < 0.15);
}

TEST_CASE("make_housing: noise, seed, and options out of range") {
  const auto clean = make_housing<double>({.rows = 500, .noise = 0, .seed = 1});
  const auto noisy = make_housing<double>({.rows = 500, .seed = 1});
  CHECK(clean.y.vector() != noisy.y.vector());
  CHECK(same(make_housing<double>({.rows = 500, .seed = 1}).x, noisy.x));
  CHECK(same(make_housing<double>({.rows = 500, .seed = 1}).y, noisy.y));
  CHECK(!same(make_housing<double>({.rows = 500, .seed = 2}).x, noisy.x));
  CHECK(make_housing<float>({.rows = 500, .seed = 1}).x.vector() == noisy.x.vector().cast<float>());

  CHECK_ERROR(make_housing<float>({.rows = 0}), "[make_housing] rows 0: expected 1 to");
  CHECK_ERROR(make_housing<float>({.noise = -1}), "[make_housing] noise -1: expected 0 to");
  CHECK_ERROR(make_housing<float>({.noise = std::nan("")}), "noise nan");
}

TEST_CASE_TEMPLATE("make_diabetes: names, ranges, whole numbers", T, float, double) {
  const Dataset<T> data = make_diabetes<T>();
  CHECK(data.x.shape() == Shape{442, 10});
  CHECK(data.y.shape() == Shape{442, 1});
  CHECK(data.features ==
        std::vector<std::string>{"age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"});
  CHECK(data.target == "progression");
  CHECK_NOTHROW(check(data, "test"));
  const std::pair<double, double> ranges[] = {{19, 79},        {1, 2},        {18, 42.2}, {62, 133},
                                              {97, 301},       {41.6, 242.4}, {22, 99},   {1, 14},
                                              {3.2581, 6.107}, {58, 124}};
  for (Index j = 0; j < 10; ++j) {
    CAPTURE(j);
    const auto column = data.x.matrix().col(j).template cast<double>().array().eval();
    CHECK(column.minCoeff() >= ranges[j].first - 1e-5);
    CHECK(column.maxCoeff() <= ranges[j].second + 1e-5);
    CHECK(column.maxCoeff() > column.minCoeff());
    if (j == 0 || j == 1 || j == 3 || j == 4 || j == 6 || j == 9) CHECK((column == column.round()).all());
  }
}

TEST_CASE("make_diabetes: the serum columns nearly determine each other") {
  const auto data = make_diabetes<double>({.rows = 5000});
  const auto column = [&](Index j) -> VectorXd { return data.x.matrix().col(j); };
  const VectorXd friedewald = (column(5) + column(6)).array() + column(8).array().exp() / 5;
  const Eigen::ArrayXd error = column(4) - friedewald;
  CHECK(std::abs(error.mean()) < 0.5);
  CHECK(std::sqrt(error.square().mean()) < 5);
  CHECK((column(7).array() - column(4).array() / column(6).array()).abs().maxCoeff() < 0.0051);
  CHECK(correlation(column(4), column(5)) > 0.8);
  CHECK(correlation(column(6), column(7)) < -0.6);
  CHECK(correlation(column(7), column(8)) > 0.4);
  // The most telling columns of the target, and one that only shares with them.
  CHECK(correlation(column(2), data.y.vector()) > 0.45);
  CHECK(correlation(column(8), data.y.vector()) > 0.45);
  CHECK(correlation(column(9), data.y.vector()) > 0.2);
  CHECK(std::abs(data.y.vector().mean() - 152) < 5);
}

TEST_CASE("make_diabetes: without noise the target is linear in five columns, as documented") {
  const auto clean = make_diabetes<double>({.noise = 0});
  const auto noisy = make_diabetes<double>();
  CHECK(same(clean.x, noisy.x));
  MatrixXd x(442, 11);
  x << clean.x.matrix(), VectorXd::Ones(442);
  const VectorXd fit = x.colPivHouseholderQr().solve(clean.y.vector());
  VectorXd truth(11);
  truth << 0, -22, 5.7, 1.1, 0, 0, -0.8, 0, 48, 0,
      152 + 33 - 5.7 * 26.4 - 1.1 * 94.6 + 0.8 * 49.8 - 48 * 4.64;
  CHECK((fit - truth).cwiseAbs().maxCoeff() < 1e-8);
  const Eigen::ArrayXd noise = noisy.y.vector() - clean.y.vector();
  CHECK(std::abs(noise.mean()) < 10);
  CHECK(std::abs(std::sqrt(noise.square().mean()) / 54 - 1) < 0.1);
}

TEST_CASE("make_diabetes: the seed decides, in float as in double, and options out of range") {
  const auto a = make_diabetes<double>({.rows = 50, .seed = 3});
  CHECK(same(a.x, make_diabetes<double>({.rows = 50, .seed = 3}).x));
  CHECK(same(a.y, make_diabetes<double>({.rows = 50, .seed = 3}).y));
  CHECK(!same(a.x, make_diabetes<double>({.rows = 50, .seed = 4}).x));
  CHECK(make_diabetes<float>({.rows = 50, .seed = 3}).x.vector() == a.x.vector().cast<float>());
  CHECK(make_diabetes<float>({.rows = 1}).rows() == 1);

  CHECK_ERROR(make_diabetes<float>({.rows = 0}), "[make_diabetes] rows 0: expected 1 to");
  CHECK_ERROR(make_diabetes<float>({.noise = -1}), "[make_diabetes] noise -1: expected 0 to");
  CHECK_ERROR(make_diabetes<float>({.noise = std::nan("")}), "noise nan");
}

#include <taper/data/dataset.hpp>

#include <limits>
#include <numeric>
#include <vector>

#include <taper/data/csv.hpp>

#include "../check.hpp"
#include "files.hpp"

using namespace taper::data;
using taper::Index;
using taper::Shape;
using taper::Tensor;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

template <class T> std::vector<T> entries(const Tensor<T>& tensor) {
  return {tensor.begin(), tensor.end()};
}

Table small_table() {
  return {{{"a", {1, 2, 3}, {}}, {"price", {10, 20, 30}, {}}, {"b", {4, 5, 6}, {}}}};
}

template <class T> Dataset<T> small_data() {
  return to_dataset<T>(small_table(), "price");
}

}  // namespace

TEST_CASE_TEMPLATE("to_dataset: the target becomes y, all else x in file order", T, float, double) {
  const Dataset<T> data = small_data<T>();
  CHECK(data.rows() == 3);
  CHECK(data.x.shape() == Shape{3, 2});
  CHECK(data.y.shape() == Shape{3, 1});
  CHECK(entries(data.x) == std::vector<T>{1, 4, 2, 5, 3, 6});
  CHECK(entries(data.y) == std::vector<T>{10, 20, 30});
  CHECK(data.features == std::vector<std::string>{"a", "b"});
  CHECK(data.target == "price");
  CHECK(Dataset<T>{}.rows() == 0);
}

TEST_CASE("to_dataset: categorical columns become positions") {
  const Table table = parse_csv("x,class\n1,yes\n2,no\n3,yes\n", {.categorical = {"class"}});
  CHECK(entries(to_dataset<float>(table, "class").y) == std::vector<float>{0, 1, 0});
}

TEST_CASE("to_dataset: what does not fit") {
  CHECK_ERROR(to_dataset<float>(small_table(), "prize"), "no column \"prize\"",
              "expected one of \"a\", \"price\", \"b\"");
  CHECK_ERROR(to_dataset<float>(Table{{{"y", {1}, {}}}}, "y"), "[to_dataset]", "only the target \"y\"");
  CHECK_ERROR(to_dataset<float>(Table{{{"a", {1}, {}}, {"y", {1, 2}, {}}}}, "y"),
              "column \"y\" has 2 values: expected 1");
  for (const double bad : {not_a_number, infinity, -infinity}) {
    Table table = small_table();
    table.columns[2].values[1] = bad;
    CHECK_ERROR(to_dataset<double>(table, "price"), "[to_dataset]", "row 1",
                "column \"b\": expected a finite");
    CHECK_ERROR(to_dataset<double>(table, "b"), "row 1", "column \"b\"");
  }
  Table large = small_table();
  large.columns[0].values[2] = 1e300;
  CHECK(to_dataset<double>(large, "price").x[4] == 1e300);
  CHECK_ERROR(to_dataset<float>(large, "price"), "1e+300 in row 2", "column \"a\"", "range of float");
}

TEST_CASE_TEMPLATE("rows: a choice of rows, repeated or none", T, float, double) {
  const Dataset<T> data = small_data<T>();
  const Dataset<T> chosen = rows(data, std::vector<Index>{2, 0, 2, 1});
  CHECK(entries(chosen.x) == std::vector<T>{3, 6, 1, 4, 3, 6, 2, 5});
  CHECK(entries(chosen.y) == std::vector<T>{30, 10, 30, 20});
  CHECK(chosen.features == data.features);
  CHECK(chosen.target == data.target);
  CHECK(rows(data, std::vector<Index>{}).rows() == 0);
  CHECK_ERROR(rows(data, std::vector<Index>{0, 3}), "[rows] row 3 of a data set of 3: expected 0 to 2");
  CHECK_ERROR(rows(data, std::vector<Index>{-1}), "[rows] row -1");
  CHECK_ERROR(rows(Dataset<T>{}, std::vector<Index>{}), "[rows]", "x scalar and y scalar");
}

TEST_CASE("rows: images") {
  Dataset<float> data{Tensor<float>(Shape{3, 1, 2, 2}), Tensor<float>(Shape{3, 1}), {}, ""};
  std::iota(data.x.begin(), data.x.end(), 0.0F);
  const Dataset<float> chosen = rows(data, std::vector<Index>{1});
  CHECK(chosen.x.shape() == Shape{1, 1, 2, 2});
  CHECK(entries(chosen.x) == std::vector<float>{4, 5, 6, 7});
}

TEST_CASE_TEMPLATE("check: row counts, names, finite entries", T, float, double) {
  Dataset<T> data = small_data<T>();
  CHECK_NOTHROW(check(data, "fit"));
  CHECK_NOTHROW(check(Dataset<T>{Tensor<T>(Shape{0, 2}), Tensor<T>(Shape{0, 1}), {}, ""}, "fit"));

  data.x[3] = static_cast<T>(not_a_number);
  CHECK_ERROR(check(data, "fit"), "[fit] entry nan in row 1", "feature \"b\" of x: expected a finite number");
  data.features.clear();
  CHECK_ERROR(check(data, "fit"), "row 1", "feature 1 of x");
  data.x[3] = 0;
  data.y[2] = static_cast<T>(-infinity);
  CHECK_ERROR(check(data, "fit"), "entry -inf in row 2", "feature 0 of y");

  Dataset<T> short_y = small_data<T>();
  short_y.y = Tensor<T>(Shape{2, 1});
  CHECK_ERROR(check(short_y, "fit"), "[fit] a data set with x 3x2 and y 2x1: expected as many rows in both");
  Dataset<T> short_names = small_data<T>();
  short_names.features.pop_back();
  CHECK_ERROR(check(short_names, "fit"), "1 feature names for x 3x2: expected 2, or none");
}

TEST_CASE_TEMPLATE("check: one entry that is not finite, anywhere in a long table", T, float, double) {
  Dataset<T> data{Tensor<T>(Shape{1500, 2}), Tensor<T>(Shape{1500, 1}), {}, ""};
  data.x[5] = std::numeric_limits<T>::max();
  data.x[2998] = std::numeric_limits<T>::lowest();
  CHECK_NOTHROW(check(data, "fit"));
  for (const Index at : {0, 1023, 1024, 2047, 2048, 2999}) {
    data.x[at] = static_cast<T>(at % 2 == 0 ? not_a_number : infinity);
    const std::string row = "in row " + std::to_string(at / 2) + " (";
    const std::string feature = "feature " + std::to_string(at % 2) + " of x";
    CHECK_ERROR(check(data, "fit"), at % 2 == 0 ? "entry nan" : "entry inf", row.c_str(), feature.c_str());
    data.x[at] = 0;
  }
}

TEST_CASE("to_dataset: the real tables") {
  const auto housing = real_data("california_housing_train.csv");
  const auto madelon = real_data("madelon.csv.gz");
  if (housing.empty() || madelon.empty()) {
    MESSAGE("skipped: TAPER_DATA names no folder with the housing and Madelon tables");
    return;
  }
  const auto houses = to_dataset<float>(read_csv(housing), "median_house_value");
  CHECK(houses.x.shape() == Shape{17000, 8});
  CHECK(houses.features.back() == "median_income");
  CHECK_NOTHROW(check(houses, "test"));
  CHECK_ERROR(to_dataset<float>(read_csv(housing), "price"), "no column \"price\"", "\"median_house_value\"");

  const auto classes = to_dataset<double>(read_csv(madelon), "Class");
  CHECK(classes.x.shape() == Shape{2600, 500});
  CHECK(classes.x.vector().sum() == 634479344);
  CHECK(classes.y.vector().cwiseAbs().minCoeff() == 1);
}

TEST_CASE("check_same_features: names and their order") {
  const auto with = [](std::vector<std::string> features) {
    const auto columns = static_cast<Index>(features.size());
    return Dataset<float>{Tensor<float>({2, columns}), Tensor<float>({2, 1}), std::move(features), {}};
  };
  check_same_features(with({"a", "b"}), with({"a", "b"}), "here");
  CHECK_ERROR(check_same_features(with({"b", "a"}), with({"a", "b"}), "here"),
              "[here] feature 0 (counted from 0) is \"b\": expected \"a\"");
  CHECK_ERROR(check_same_features(with({"a"}), with({"a", "b"}), "here"), "[here] 1 features: expected 2");
}

#include <taper/autodiff/tensor.hpp>

#include <cstdint>
#include <sstream>
#include <utility>

#include "../check.hpp"

using namespace taper;

TEST_CASE("Shape: rank, size, rows and columns") {
  CHECK(Shape{}.rank() == 0);
  CHECK(Shape{}.size() == 1);
  CHECK(Shape{}.rows() == 1);
  CHECK(Shape{}.columns() == 1);
  CHECK(Shape{5}.rows() == 1);
  CHECK(Shape{5}.columns() == 5);
  const Shape shape{2, 3, 4, 5};
  CHECK(shape.rank() == 4);
  CHECK(shape.size() == 120);
  CHECK(shape.rows() == 24);
  CHECK(shape.columns() == 5);
  CHECK(shape[0] == 2);
  CHECK(shape[3] == 5);
  CHECK(Shape{3, 0, 2}.size() == 0);
  CHECK(Shape{3, 0, 2}.rows() == 0);
}

TEST_CASE("Shape: equality, text, axes, changed dimensions") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(Shape{6} != Shape{6, 1});
  CHECK(Shape{} != Shape{1});
  CHECK(Shape{}.str() == "scalar");
  CHECK(Shape{128, 32}.str() == "128x32");
  std::ostringstream text;
  text << Shape{1, 0, 7};
  CHECK(text.str() == "1x0x7");

  const Shape shape{2, 3, 4};
  CHECK(shape.axis(0, "f") == 0);
  CHECK(shape.axis(-1, "f") == 2);
  CHECK(shape.axis(-3, "f") == 0);
  CHECK(shape.with(1, 9) == Shape{2, 9, 4});
  CHECK(shape.without(0) == Shape{3, 4});
  CHECK(shape.without(2) == Shape{2, 3});
  CHECK(Shape{7}.without(0) == Shape{});
}

TEST_CASE("Shape: errors") {
  CHECK_ERROR((Shape{1, 2, 3, 4, 5}), "[shape] 5 dimensions were given: expected at most 4");
  CHECK_ERROR((Shape{2, -1}), "[shape] dimension 1 is -1: expected 0 or more");
  CHECK_ERROR((Shape{Index{1} << 40, Index{1} << 40}), "[shape] too many entries to address");
  CHECK_ERROR((Shape{Index{1} << 62}), "too many entries");
  CHECK_ERROR((Shape{2, 3}.axis(2, "sum")), "[sum] axis 2 of a tensor 2x3: expected -2 to 1");
  CHECK_ERROR((Shape{2, 3}.axis(-3, "sum")), "[sum] axis -3");
  CHECK_ERROR(Shape{}.axis(0, "sum"), "[sum] axis 0 of a tensor scalar");
}

TEST_CASE_TEMPLATE("Tensor: starts at zero, 64-byte aligned, row-major", T, float, double) {
  CHECK(Tensor<T>().shape() == Shape{});
  CHECK(Tensor<T>()[0] == 0);
  for (Index n = 1; n < 40; ++n) {
    const Tensor<T> x(Shape{n, 3});
    CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 64 == 0);
    for (const T entry : x) CHECK(entry == 0);
  }
  const Tensor<T> x({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(x.matrix()(0, 2) == 3);
  CHECK(x.matrix()(1, 0) == 4);
  CHECK(x.vector().sum() == 21);
  CHECK(Tensor<T>(Shape{4, 0}).size() == 0);
  CHECK(Tensor<T>(Shape{4, 0}).begin() == Tensor<T>(Shape{0}).end());
  CHECK_ERROR(Tensor<T>({2, 2}, {1, 2, 3}), "[tensor] 3 values for shape 2x2: expected 4");
}

TEST_CASE("Tensor: copies are deep, moves keep the memory") {
  Tensor<double> first({3}, {1, 2, 3});
  Tensor<double> second = first;
  second[0] = 9;
  CHECK(first[0] == 1);
  first = second;
  CHECK(first[0] == 9);
  const double* const memory = first.data();
  const Tensor<double> third = std::move(first);
  CHECK(third.data() == memory);
  CHECK(third[2] == 3);
}

TEST_CASE("View: sees and writes the tensor's memory") {
  Tensor<double> x({2, 2}, {1, 2, 3, 4});
  const View<double> view = x;
  view[1] = 20;
  view.matrix()(1, 1) = 40;
  CHECK(x[1] == 20);
  CHECK(x[3] == 40);
  const View<const double> reading = view;
  CHECK(reading.data() == x.data());
  CHECK(reading.end() - reading.begin() == 4);
  const Tensor<double> copy(reading);
  view[0] = -1;
  CHECK(copy[0] == 1);
  CHECK(View<double>().data() == nullptr);
  // All leading dimensions together are the rows.
  CHECK(Tensor<double>(Shape{2, 3, 4}).matrix().rows() == 6);
}

TEST_CASE("Tensor: from Eigen matrices and vectors of any order and type") {
  const Eigen::MatrixXd columns = (Eigen::MatrixXd(2, 3) << 1, 2, 3, 4, 5, 6).finished();  // column-major
  const Tensor<double> x(columns);
  CHECK(x.shape() == Shape{2, 3});
  for (Index i = 0; i < 6; ++i) CHECK(x[i] == static_cast<double>(i + 1));
  CHECK(Tensor<float>(columns.transpose())[1] == 4.0f);
  CHECK(Tensor<float>(columns.array() * 2)[5] == 12.0f);
  const Tensor<double> column(Eigen::Vector3i(7, 8, 9)), row(Eigen::RowVector2d(1, 2));
  CHECK(column.shape() == Shape{3});
  CHECK(column[2] == 9);
  CHECK(row.shape() == Shape{2});
  CHECK(Eigen::MatrixXd(x.matrix()) == columns);
}

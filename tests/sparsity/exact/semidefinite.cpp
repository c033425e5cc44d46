#include <taper/sparsity/exact/semidefinite.hpp>

#include <doctest/doctest.h>

#include <vector>

using Eigen::Index;
using taper::sparsity::exact::SquareMatrix;

TEST_CASE("a square matrix takes rows and columns of another, or of itself") {
  SquareMatrix a, b;
  a.resize(5);
  a = Eigen::MatrixXd::NullaryExpr(5, 5, [](Index i, Index j) { return static_cast<double>(10 * i + j); });
  const Eigen::MatrixXd whole = a;
  const std::vector<Index> some = {1, 3, 4};
  b.take(a, some);
  CHECK(Eigen::MatrixXd(b) == whole(some, some));
  a.take(a, some);
  CHECK(Eigen::MatrixXd(a) == whole(some, some));
  a.take(a, {});
  CHECK(a.size() == 0);
}

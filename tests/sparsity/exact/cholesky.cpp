#include <taper/sparsity/exact/cholesky.hpp>

#include <doctest/doctest.h>

#include <Eigen/Dense>

#include <taper/autodiff/random.hpp>

using taper::Index;
using taper::sparsity::exact::Cholesky;
using taper::sparsity::exact::SquareMatrix;

namespace {

Eigen::MatrixXd positive(taper::Rng& rng, Index size) {
  const Eigen::MatrixXd a = Eigen::MatrixXd::NullaryExpr(size, size + 5, [&] { return rng.normal(); });
  return a * a.transpose();
}

}  // namespace

TEST_CASE("Cholesky factors by blocks solve what was asked") {
  taper::Rng rng(1);
  SquareMatrix factor;  // one for all sizes
  for (const Index size : {1, 2, 63, 64, 65, 200, 130, 3}) {
    CAPTURE(size);
    const Eigen::MatrixXd a = positive(rng, size);
    factor.resize(size);
    factor = a.triangularView<Eigen::Upper>();
    factor.triangularView<Eigen::StrictlyLower>().setConstant(1e300);  // which is not read
    const Cholesky cholesky(factor);
    REQUIRE(cholesky.succeeded());
    const Eigen::MatrixXd r = factor.triangularView<Eigen::Upper>();
    CHECK((r.transpose() * r - a).norm() <= 1e-13 * a.norm());
    const Eigen::VectorXd x = Eigen::VectorXd::NullaryExpr(size, [&] { return rng.normal(); });
    CHECK((a * cholesky.solve(a * x) - a * x).norm() <= 1e-11 * (a * x).norm());
  }
}

TEST_CASE("Cholesky factors of what is not positive definite do not exist, wherever that shows") {
  taper::Rng rng(2);
  for (const Index at : {0, 70, 149}) {
    SquareMatrix factor;
    factor.resize(150);
    factor = positive(rng, 150);
    factor(at, at) = -1;
    CHECK_FALSE(Cholesky(factor).succeeded());
  }
}

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

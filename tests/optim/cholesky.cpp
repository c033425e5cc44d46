#include <taper/optim/cholesky.hpp>

#include <doctest/doctest.h>

#include <Eigen/Dense>

#include <taper/autodiff/random.hpp>

using taper::Index;
using taper::optim::Cholesky;

namespace {

Eigen::MatrixXd positive(taper::Rng& rng, Index size) {
  const Eigen::MatrixXd a = Eigen::MatrixXd::NullaryExpr(size, size + 5, [&] { return rng.normal(); });
  return a * a.transpose();
}

}  // namespace

TEST_CASE("Cholesky factors by blocks solve what was asked, and invert") {
  taper::Rng rng(1);
  for (const Index size : {1, 2, 63, 64, 65, 200, 130, 3}) {
    CAPTURE(size);
    const Eigen::MatrixXd a = positive(rng, size);
    Eigen::MatrixXd around = Eigen::MatrixXd::Constant(size + 7, size + 3, 5);
    auto factor = around.block(4, 1, size, size);
    factor = a.triangularView<Eigen::Upper>();
    factor.triangularView<Eigen::StrictlyLower>().setConstant(1e300);  // which is not read
    Cholesky cholesky(factor);
    REQUIRE(cholesky.succeeded());
    const Eigen::MatrixXd r = factor.triangularView<Eigen::Upper>();
    CHECK((r.transpose() * r - a).norm() <= 1e-13 * a.norm());
    const Eigen::VectorXd x = Eigen::VectorXd::NullaryExpr(size, [&] { return rng.normal(); });
    CHECK((a * cholesky.solve(a * x) - a * x).norm() <= 1e-11 * (a * x).norm());
    cholesky.invert();
    CHECK(factor == factor.transpose());
    const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(size, size), inverse = factor;
    CHECK((inverse * a - identity).norm() <= 1e-13 * inverse.norm() * a.norm());
    CHECK((around.topRows(4).array() == 5).all());
    CHECK((around.bottomRows(3).array() == 5).all());
    CHECK((around.leftCols(1).array() == 5).all());
    CHECK((around.rightCols(2).array() == 5).all());
  }
}

TEST_CASE("Cholesky factors of what is nearly singular") {
  taper::Rng rng(3);
  for (const double damping : {1e-9, 1e-11, 1e-13}) {
    CAPTURE(damping);
    const Eigen::MatrixXd half = Eigen::MatrixXd::NullaryExpr(200, 40, [&] { return rng.normal() / 6; });
    Eigen::MatrixXd a = half * half.transpose();
    a.diagonal().array() += damping;
    Eigen::MatrixXd factor = a;
    REQUIRE(Cholesky(factor).succeeded());
    const Eigen::MatrixXd r = factor.triangularView<Eigen::Upper>();
    CHECK((r.transpose() * r - a).norm() <= 1e-13 * a.norm());
  }
}

TEST_CASE("Cholesky factors of what is not positive definite do not exist, wherever that shows") {
  taper::Rng rng(2);
  for (const Index at : {0, 70, 149}) {
    Eigen::MatrixXd factor = positive(rng, 150);
    factor(at, at) = -1;
    CHECK_FALSE(Cholesky(factor).succeeded());
  }
}

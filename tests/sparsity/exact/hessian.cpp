#include <taper/sparsity/exact/hessian.hpp>

#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <numeric>

#include <taper/autodiff/random.hpp>

using namespace taper;
using sparsity::exact::Hessian;
using sparsity::exact::SquareMatrix;

namespace {

/// Asks for more and more columns, in any order, and compares with the products themselves.
void check_growth(const sparsity::Design& design, const Eigen::MatrixXd& x, Rng& rng) {
  const Index n = x.rows(), p = x.cols();
  const auto random = [&] { return rng.uniform(); };
  sparsity::ExactOptions options;
  options.intercept = false;  // which would move the columns
  const sparsity::exact::Problem problem(design, Eigen::VectorXd::NullaryExpr(n, random),
                                         sparsity::ConvexLoss::squared, options, "test");
  Hessian hessian(problem);
  std::vector<Index> order(static_cast<std::size_t>(p));
  std::iota(order.begin(), order.end(), Index{0});
  SquareMatrix block;
  for (int round = 0; round < 2; ++round) {
    const Eigen::VectorXd weights = Eigen::VectorXd::NullaryExpr(n, random);
    const Eigen::MatrixXd beside = Eigen::MatrixXd::NullaryExpr(n, 2, random);
    hessian.restart(weights, beside);
    CHECK(hessian.empty());
    for (std::size_t k = order.size(); k > 1; --k) {
      std::swap(order[k - 1], order[static_cast<std::size_t>(rng.uniform() * static_cast<double>(k))]);
    }
    for (const double share : {0.1, 0.12, 0.5, 1.0}) {
      const auto count = static_cast<std::ptrdiff_t>(share * static_cast<double>(p));
      std::vector<Index> columns(order.begin(), order.begin() + count);
      hessian.require(columns);
      std::ranges::reverse(columns);
      hessian.block(columns, block);
      const Eigen::MatrixXd chosen = x(Eigen::all, columns), weighted = weights.asDiagonal() * chosen;
      CHECK((block - chosen.transpose() * weighted).cwiseAbs().maxCoeff() <= 1e-12);
      CHECK((hessian.beside(columns) - beside.transpose() * weighted).cwiseAbs().maxCoeff() <= 1e-12);
    }
  }
}

}  // namespace

TEST_CASE("Hessians that grow are the products of the columns, dense and sparse") {
  Rng rng(3);
  for (const double filled : {0.01, 0.05, 0.5}) {
    CAPTURE(filled);
    const Eigen::MatrixXd x =
        Eigen::MatrixXd::NullaryExpr(150, 110, [&] { return rng.uniform() < filled ? rng.normal() : 0.0; });
    const Eigen::SparseMatrix<double> sparse = x.sparseView();
    check_growth(sparse, x, rng);
    check_growth(x, x, rng);
  }
}

#include <Eigen/Cholesky>
#include <algorithm>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/sparsity/exact/cholesky.hpp>

namespace taper::sparsity::exact {
namespace {

using Index = Eigen::Index;

constexpr Index block_width = 64;

}  // namespace

/// Row of blocks after row of blocks, each less the products of those above it. The kernel writes rows, and
/// the matrix has columns: what it sees is the lower triangle of the transpose, column of blocks after
/// column.
Cholesky::Cholesky(SquareMatrix& a) : r_(a) {
  const Index n = a.rows(), stride = a.outerStride();
  double* const data = a.data();
  Eigen::MatrixXd negative, panel, inverse;
  for (Index k = 0; k < n && succeeded_; k += block_width) {
    const Index width = std::min(block_width, n - k), rest = n - k - width;
    // Columns k and more, rows k to k + width: entry (row i, column j) is data[i + j stride].
    if (k > 0) {
      negative = -a.block(0, k, k, width);
      kernels::gemm<double>(n - k, width, k, {data + k * stride, stride, 1}, {negative.data(), 1, k},
                            data + k + k * stride, stride, true);
    }
    auto corner = a.block(k, k, width, width);
    Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>, Eigen::Upper> factors(corner);
    succeeded_ = factors.info() == Eigen::Success;
    if (!succeeded_ || rest == 0) continue;
    inverse = corner.triangularView<Eigen::Upper>().solve(Eigen::MatrixXd::Identity(width, width));
    panel = a.block(k, k + width, width, rest);
    kernels::gemm<double>(rest, width, width, {panel.data(), width, 1}, {inverse.data(), 1, width},
                          data + k + (k + width) * stride, stride, false);
  }
}

Eigen::VectorXd Cholesky::solve(const Eigen::VectorXd& b) const {
  const auto upper = r_.triangularView<Eigen::Upper>();
  return upper.solve(upper.transpose().solve(b));
}

}  // namespace taper::sparsity::exact

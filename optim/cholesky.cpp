#include <taper/optim/cholesky.hpp>

#include <Eigen/Cholesky>
#include <algorithm>

#include <taper/autodiff/kernels/gemm.hpp>

namespace taper::optim {
namespace {

using Eigen::Index;

constexpr Index block_width = 64;

}  // namespace

/// Row of blocks after row of blocks, each less the products of those above it. The kernel writes rows, and
/// the matrix has columns: what it sees is the lower triangle of the transpose, column of blocks after
/// column.
Cholesky::Cholesky(Eigen::Ref<Eigen::MatrixXd> a) : r_(a) {
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

/// With L = R', which the kernel sees row by row: M = L^-1, row of blocks after row of blocks, as row k of
/// L M = 1 says M_kk = L_kk^-1 and M_kj = -M_kk (L_k,<k M_<k,j); then A^-1 = M'M, of which a row of blocks
/// needs those of M from the same one on.
void Cholesky::invert() {
  const Index n = r_.rows(), stride = r_.outerStride();
  double* const data = r_.data();
  r_.triangularView<Eigen::StrictlyLower>().setZero();
  Eigen::MatrixXd inverse, rows;
  for (Index k = 0; k < n; k += block_width) {
    const Index width = std::min(block_width, n - k);
    auto corner = r_.block(k, k, width, width);
    inverse = corner.triangularView<Eigen::Upper>().solve(Eigen::MatrixXd::Identity(width, width));
    corner = inverse;
    if (k == 0) continue;
    rows.resize(k, width);
    kernels::gemm<double>(width, k, k, {data + k * stride, stride, 1}, {data, stride, 1}, rows.data(), k,
                          false);
    inverse = -inverse;
    kernels::gemm<double>(width, k, width, {inverse.data(), width, 1}, {rows.data(), k, 1}, data + k * stride,
                          stride, false);
  }
  for (Index k = 0; k < n; k += block_width) {
    const Index width = std::min(block_width, n - k), up_to = k + width;
    rows.resize(up_to, width);
    kernels::gemm<double>(width, up_to, n - k, {data + k + k * stride, 1, stride},
                          {data + k * stride, stride, 1}, rows.data(), up_to, false);
    r_.block(0, k, up_to, width) = rows;
  }
  for (Index j = 1; j < n; ++j) r_.row(j).head(j) = r_.col(j).head(j).transpose();
}

}  // namespace taper::optim

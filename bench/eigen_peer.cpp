#include "eigen_peer.hpp"

#include <Eigen/Dense>

namespace taper::bench::eigen {

template <class T>
void product(Index m, Index n, Index k, bool transpose_a, const T* a, bool transpose_b, const T* b, T* c) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Given = Eigen::Map<const Matrix>;
  Eigen::Map<Matrix> result(c, m, n);
  if (transpose_a) {
    result.noalias() = Given(a, k, m).transpose() * Given(b, k, n);
  } else if (transpose_b) {
    result.noalias() = Given(a, m, k) * Given(b, n, k).transpose();
  } else {
    result.noalias() = Given(a, m, k) * Given(b, k, n);
  }
}

template TAPER_BENCH_VISIBLE void product(Index, Index, Index, bool, const float*, bool, const float*,
                                          float*);
template TAPER_BENCH_VISIBLE void product(Index, Index, Index, bool, const double*, bool, const double*,
                                          double*);

}  // namespace taper::bench::eigen

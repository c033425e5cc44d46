#include "eigen_peer.hpp"

#include <Eigen/Dense>
#include <numbers>
#include <unsupported/Eigen/SpecialFunctions>

namespace taper::bench::eigen {
namespace {

template <class T> using Array = Eigen::Array<T, Eigen::Dynamic, 1>;
template <class T> using Given = Eigen::Map<const Array<T>>;
template <class T> using Left = Eigen::Map<Array<T>>;
template <class T> using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

}  // namespace

template <class T>
void product(Index m, Index n, Index k, bool transpose_a, const T* a, bool transpose_b, const T* b, T* c) {
  using Of = Eigen::Map<const Matrix<T>>;
  Eigen::Map<Matrix<T>> result(c, m, n);
  if (transpose_a) {
    result.noalias() = Of(a, k, m).transpose() * Of(b, k, n);
  } else if (transpose_b) {
    result.noalias() = Of(a, m, k) * Of(b, n, k).transpose();
  } else {
    result.noalias() = Of(a, m, k) * Of(b, k, n);
  }
}

template <class T> void unary(Unary f, Index n, const T* from, T* to) {
  const Given<T> x(from, n);
  Left<T> y(to, n);
  switch (f) {
    case Unary::exp:
      y = x.exp();
      break;
    case Unary::log:
      y = x.log();
      break;
    case Unary::tanh:
      y = x.tanh();
      break;
    case Unary::sigmoid:
      y = x.logistic();
      break;
    case Unary::softplus:
      y = x.max(T(0)) + (-x.abs()).exp().log1p();
      break;
    case Unary::relu:
      y = x.max(T(0));
      break;
    case Unary::gelu:
      y = T(0.5) * x * (T(1) + (x * static_cast<T>(std::numbers::sqrt2 / 2)).erf());
      break;
    default:
      break;
  }
}

template <class T>
void unary_gradient(Unary f, Index n, const T* from, const T* to, const T* upper, T* gradient) {
  const Given<T> x(from, n), y(to, n), gy(upper, n);
  Left<T> gx(gradient, n);
  switch (f) {
    case Unary::exp:
      gx = gy * y;
      break;
    case Unary::log:
      gx = gy / x;
      break;
    case Unary::tanh:
      gx = gy * (T(1) - y.square());
      break;
    case Unary::sigmoid:
      gx = gy * y * (T(1) - y);
      break;
    case Unary::softplus:
      gx = gy * x.logistic();
      break;
    case Unary::relu:
      gx = (x > T(0)).select(gy, T(0));
      break;
    case Unary::gelu:
      gx = gy * (T(0.5) * (T(1) + (x * static_cast<T>(std::numbers::sqrt2 / 2)).erf()) +
                 x * static_cast<T>(std::numbers::inv_sqrtpi / std::numbers::sqrt2) *
                     (T(-0.5) * x.square()).exp());
      break;
    default:
      break;
  }
}

template <class T> void softmax(Index rows, Index columns, const T* from, T* to) {
  for (Index i = 0; i < rows; ++i) {
    const Given<T> x(from + i * columns, columns);
    Left<T> y(to + i * columns, columns);
    y = (x - x.maxCoeff()).exp();
    y *= T(1) / y.sum();
  }
}

template <class T> T sum(Index n, const T* x) {
  return Given<T>(x, n).sum();
}

template <class T> void column_sums(Index rows, Index columns, const T* x, T* y) {
  Eigen::Map<Eigen::Matrix<T, 1, Eigen::Dynamic>>(y, columns) =
      Eigen::Map<const Matrix<T>>(x, rows, columns).colwise().sum();
}

template <class T>
void adam(Index n, T* values, const T* gradients, T* first, T* second, T rate, T decay, T beta1, T beta2,
          T root_correction, T epsilon) {
  const Given<T> gradient(gradients, n);
  Left<T> w(values, n), m(first, n), v(second, n);
  m = beta1 * m + (T(1) - beta1) * (gradient + decay * w);
  v = beta2 * v + (T(1) - beta2) * (gradient + decay * w).square();
  w -= rate * m / (v.sqrt() * root_correction + epsilon);
}

#define TAPER_INSTANTIATE(T)                                                                          \
  template TAPER_BENCH_VISIBLE void product(Index, Index, Index, bool, const T*, bool, const T*, T*); \
  template TAPER_BENCH_VISIBLE void unary(Unary, Index, const T*, T*);                                \
  template TAPER_BENCH_VISIBLE void unary_gradient(Unary, Index, const T*, const T*, const T*, T*);   \
  template TAPER_BENCH_VISIBLE void softmax(Index, Index, const T*, T*);                              \
  template TAPER_BENCH_VISIBLE T sum(Index, const T*);                                                \
  template TAPER_BENCH_VISIBLE void column_sums(Index, Index, const T*, T*);                          \
  template TAPER_BENCH_VISIBLE void adam(Index, T*, const T*, T*, T*, T, T, T, T, T, T);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)

}  // namespace taper::bench::eigen

#include <taper/autodiff/ops.hpp>

/// The gradient of sum(x^2) is 2 x, from Eigen and back to it.
int main() {
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(33, 17);
  taper::Tape<float> tape;
  const taper::Var<float> variable = tape.variable(taper::Tensor<float>(x));
  const taper::Var<float> y = sum(square(variable));
  tape.backward(y);
  const Eigen::MatrixXf gradient = variable.gradient().matrix();
  const bool right = gradient.isApprox(2 * x) && std::abs(y.item() - x.squaredNorm()) < 1e-3f;
  return right ? 0 : 1;
}

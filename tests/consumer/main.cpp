#include <string_view>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/version.hpp>

/// Random numbers are the same to the bit whatever this file is compiled for.
bool same_numbers() {
  taper::Rng rng(3), again(3);
  for (int i = 0; i < 1000; ++i) {
    // Stored, so that product and sum are rounded one after the other, as in the library.
    const volatile double product = (0.7 - 0.1) * again.uniform();
    if (rng.uniform(0.1, 0.7) != 0.1 + product) return false;
  }
  return true;
}

/// The gradient of sum(x^2) is 2 x, from Eigen and back to it.
int main() {
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(33, 17);
  taper::Tape<float> tape;
  const taper::Var<float> variable = tape.variable(taper::Tensor<float>(x));
  const taper::Var<float> y = sum(square(variable));
  tape.backward(y);
  const Eigen::MatrixXf gradient = variable.gradient().matrix();
  const bool right = gradient.isApprox(2 * x) && std::abs(y.item() - x.squaredNorm()) < 1e-3f;
  return right && same_numbers() && std::string_view(taper::version) == FOUND_VERSION ? 0 : 1;
}

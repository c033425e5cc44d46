#pragma once

#include <taper/optim/optimizer.hpp>

namespace taper::optim {

struct LionOptions {
  double lr = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  /// Decoupled: the value shrinks by lr * weight_decay in each step, as in AdamW.
  double weight_decay = 0;
  std::vector<Group> groups = {};
  /// Insists on decoupled decay for the factors of a Hadamard product.
  bool decay_factors = false;
};

/// Lion (Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2): steps along the
/// sign of a mixture of gradient and moment.
template <class T> class Lion : public Optimizer<T> {
 public:
  /// Throws Error for a negative or infinite setting, a beta that is not below 1, and like AdamW for decay on
  /// the factors of a Hadamard product.
  explicit Lion(nn::Parameters<T> parameters, const LionOptions& options = {});

 private:
  void update(const typename Optimizer<T>::Segment& segment, double lr,
              const kernels::Clipping& clipping) override;
  bool supports_frozen() const override { return true; }
  std::vector<Setting> own_settings() const override;

  LionOptions options_;
};

}  // namespace taper::optim

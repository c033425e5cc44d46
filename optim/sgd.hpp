#pragma once

#include <taper/optim/optimizer.hpp>

namespace taper::optim {

struct SGDOptions {
  double lr = 1e-2;
  double momentum = 0;
  double dampening = 0;
  /// Coupled: added to the gradient as weight_decay * value, the penalty weight_decay / 2 * ||value||^2.
  double weight_decay = 0;
  bool nesterov = false;
  std::vector<Group> groups = {};
};

/// Stochastic gradient descent with momentum (Sutskever et al., "On the importance of initialization and
/// momentum in deep learning", 2013, in the form that PyTorch computes).
template <class T> class SGD : public Optimizer<T> {
 public:
  /// Throws Error for a negative setting, or Nesterov's form without momentum or with dampening.
  explicit SGD(nn::Parameters<T> parameters, const SGDOptions& options = {});

 private:
  void update(const typename Optimizer<T>::Segment& segment, double lr,
              const kernels::Clipping& clipping) override;
  bool supports_frozen() const override { return true; }
  std::vector<Setting> own_settings() const override;

  SGDOptions options_;
};

}  // namespace taper::optim

#pragma once

#include <taper/optim/optimizer.hpp>

namespace taper::optim {

struct RMSpropOptions {
  double lr = 1e-2;
  /// How much of the running mean of squares stays in each step.
  double alpha = 0.99;
  double epsilon = 1e-8;
  /// Coupled: added to the gradient as weight_decay * value, the penalty weight_decay / 2 * ||value||^2.
  double weight_decay = 0;
  double momentum = 0;
  /// Divides by the deviation of the gradients in place of their size (Graves, 2013, equation 40).
  bool centered = false;
  std::vector<Group> groups = {};
};

/// RMSprop (Tieleman and Hinton, 2012, lecture 6.5), in the form that PyTorch computes. Gradients may be such
/// that T cannot hold their squares, as for Adam.
template <class T> class RMSprop : public Optimizer<T> {
 public:
  /// Throws Error for a negative or infinite setting, an epsilon of 0, or an alpha that is not below 1.
  explicit RMSprop(nn::Parameters<T> parameters, const RMSpropOptions& options = {});

 private:
  void update(const typename Optimizer<T>::Segment& segment, double lr,
              const kernels::Clipping& clipping) override;
  bool supports_frozen() const override { return true; }
  std::vector<Setting> own_settings() const override;

  RMSpropOptions options_;
};

struct AdagradOptions {
  double lr = 1e-2;
  double epsilon = 1e-10;
  /// Coupled.
  double weight_decay = 0;
  std::vector<Group> groups = {};
};

/// Adagrad (Duchi, Hazan and Singer, 2011, figure 1, the diagonal form), without a decay of its learning
/// rate.
template <class T> class Adagrad : public Optimizer<T> {
 public:
  /// Throws Error for a negative or infinite setting, or an epsilon of 0.
  explicit Adagrad(nn::Parameters<T> parameters, const AdagradOptions& options = {});

 private:
  void update(const typename Optimizer<T>::Segment& segment, double lr,
              const kernels::Clipping& clipping) override;
  bool supports_frozen() const override { return true; }
  std::vector<Setting> own_settings() const override;

  AdagradOptions options_;
};

}  // namespace taper::optim

#pragma once

#include <taper/optim/optimizer.hpp>

namespace taper::optim {

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// For Adam coupled: added to the gradient as weight_decay * value. For AdamW decoupled: the value shrinks
  /// by lr * weight_decay in each step, outside of the moments.
  double weight_decay = 0;
  std::vector<Group> groups = {};
};

/// Adam (Kingma and Ba, 2015, algorithm 1), with the corrections applied as PyTorch does.
template <class T> class Adam : public Optimizer<T> {
 public:
  /// Throws Error for a negative setting or a beta that is not below 1.
  explicit Adam(nn::Parameters<T> parameters, const AdamOptions& options = {})
      : Adam(parameters, options, false) {}

 protected:
  Adam(nn::Parameters<T> parameters, const AdamOptions& options, bool decoupled);

 private:
  void update(const typename Optimizer<T>::Segment& segment, double rate, double scale) override;

  AdamOptions options_;
  bool decoupled_;
  AlignedArray<T> first_moments_, second_moments_;
};

/// Adam with decoupled decay (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019). On the
/// factors of a product this decay does not amount to an L1 penalty: there, use Adam.
template <class T> class AdamW : public Adam<T> {
 public:
  explicit AdamW(nn::Parameters<T> parameters, const AdamOptions& options = {.weight_decay = 1e-2})
      : Adam<T>(std::move(parameters), options, true) {}
};

extern template class Adam<float>;
extern template class Adam<double>;

}  // namespace taper::optim

#pragma once

#include <cmath>
#include <functional>

#include <taper/optim/optimizer.hpp>

namespace taper::optim {

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// Coupled: added to the gradient as weight_decay * value, the penalty weight_decay / 2 * ||value||^2.
  double weight_decay = 0;
  std::vector<Group> groups = {};
  /// Divides by the root of the largest second moment so far (Reddi, Kale and Kumar, 2018, algorithm 2).
  bool amsgrad = false;
};

/// Adam (Kingma and Ba, 2015, algorithm 1), with the corrections applied as PyTorch does. Gradients may be
/// such that T cannot hold their squares: as large as T can hold, and, where epsilon is smaller still, as
/// small as its least normal number divided by (1 - beta1) (1 - beta2) and by an lr below 1. What is smaller
/// than that may move too little or too far.
template <class T> class Adam : public Optimizer<T> {
 public:
  /// Throws Error for a negative or infinite setting, an epsilon of 0, or a beta that is not below 1.
  explicit Adam(nn::Parameters<T> parameters, const AdamOptions& options = {})
      : Adam(std::move(parameters), options, "adam", false) {}

 protected:
  Adam(nn::Parameters<T> parameters, const AdamOptions& options, const char* name, bool decoupled);

 private:
  void update(const typename Optimizer<T>::Segment& segment, double lr,
              const kernels::Clipping& clipping) override;
  bool supports_frozen() const override { return true; }
  void reset_state(std::span<const Index> frozen, std::span<const Index> thawed) override;
  std::vector<Setting> own_settings() const override;
  Index entry_steps(Index position) const override;
  void set_entry_steps(std::span<const Index> steps) override;
  void compact_cohorts();
  /// 1 - beta^steps, for an entry that has made so many steps.
  double correction(double beta, Index steps) const { return 1 - std::pow(beta, static_cast<double>(steps)); }

  AdamOptions options_;
  bool decoupled_;
  Index corrected_ = 0;  // the step that these corrections are for
  double correction1_ = 0, root_correction2_ = 0;
  // Entries that were thawed on the way have made fewer steps than the optimizer. A cohort started after
  // births_[cohort] steps of the optimizer; the first one has made all steps.
  std::vector<Index> births_{0};
  AlignedArray<kernels::Ordinal<T>> cohorts_;  // of each entry; empty while all are in the first
  std::vector<T> lrs_, root_corrections_;      // of the cohorts, in this step
};

struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// Decoupled: the value shrinks by lr * weight_decay in each step, outside of the moments.
  double weight_decay = 1e-2;
  std::vector<Group> groups = {};
  /// Insists on decoupled decay for the factors of a Hadamard product.
  bool decay_factors = false;
  /// As for Adam.
  bool amsgrad = false;
};

/// Adam with decoupled decay (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019,
/// algorithm 2). On the factors of a product this decay does not amount to a sparse penalty, whatever its
/// depth: every factor shrinks by the same share, whatever its gradient is scaled to.
template <class T> class AdamW : public Adam<T> {
 public:
  /// Throws Error like Adam, and for decay on the factors of a Hadamard product unless insisted on.
  explicit AdamW(nn::Parameters<T> parameters, const AdamWOptions& options = {});
};

/// Throws the Error of `where` for decoupled decay on a factor of a Hadamard product, which `decay` gives by
/// its entry.
template <class T>
void refuse_decay_of_factors(const char* where, const nn::Parameters<T>& parameters,
                             const std::function<double(const typename nn::Parameters<T>::Entry&)>& decay);

}  // namespace taper::optim

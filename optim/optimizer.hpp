#pragma once

#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <taper/autodiff/kernels/update.hpp>
#include <taper/nn/parameter.hpp>

namespace taper::optim {

/// Settings for the parameters whose names match a pattern: "*" stands for anything, so "*bias" is every
/// bias. What is not given is as for all others. The first group that matches counts.
struct Group {
  std::string match;
  std::optional<double> lr = {};
  std::optional<double> weight_decay = {};
};

/// What all optimizers have in common: the parameters, their groups and masks, the clipping of gradients, and
/// the chain of a step: gradients -> clipping -> decay -> direction -> values of the free entries.
///
/// A frozen entry keeps its bits: it has no gradient, no decay and no momentum, and no part in the norm that
/// is clipped, whatever its gradient is. The free ones move as if the frozen ones were constants of a smaller
/// problem, to the bit. One that was frozen in some step starts anew when it is thawed, as in the first step
/// of an optimizer.
template <class T> class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// Moves the parameters by one step, from the gradients that the last backward pass left. Allocates
  /// nothing, except when masks have changed. Throws Error when the model's parameters were laid out anew
  /// since the optimizer was built, for frozen entries when this kind of optimizer cannot hold them, and,
  /// with clipping, for a gradient of a free entry that is not finite, which it names. Nothing has moved
  /// then.
  void step();

  /// All rates are multiplied by this; schedules set it.
  double rate_factor() const { return rate_factor_; }
  /// Throws Error for a negative or infinite factor.
  void set_rate_factor(double factor);
  /// The rate of parameters in no group, as it is now.
  double rate() const { return lr_ * rate_factor_; }
  /// Scales the gradients down to this Euclidean norm, over all parameters, when it is exceeded, in each step
  /// from now on; the gradients in the block stay as they are. The norm is taken with scaling, so that it has
  /// no range but that of double. An infinite norm sets no limit, as at first, and gradients are not looked
  /// at. Throws Error for a norm that is not positive, or below the least normal number of T, where gradients
  /// count as zero.
  void clip_norm(double most);
  /// Limits each entry of the gradients to [-most, most], in each step from now on; before the norm is taken,
  /// where that is limited, too. Infinity and errors are as with clip_norm.
  void clip_value(double most);
  Index steps() const { return steps_; }
  /// Whether it moves exactly these parameters.
  bool moves(const nn::Parameters<T>& parameters) const;

 protected:
  /// A run of numbers with the same settings.
  struct Segment {
    Index offset, size;
    double lr, weight_decay;
  };

  Optimizer(nn::Parameters<T> parameters, const char* name, double lr, double weight_decay,
            const std::vector<Group>& groups);
  /// Moves one segment. `rate` is its learning rate now; its gradients count as `clipping` makes them.
  virtual void update(const Segment& segment, double rate, const kernels::Clipping& clipping) = 0;
  /// Whether `update` heeds held(). One that cannot is refused frozen entries.
  virtual bool holds() const { return false; }
  /// Forgets the state of entries that have been frozen, and of some that have been thawed, given by their
  /// positions from base() on. It must be zero while they are frozen, and start anew with the next step.
  virtual void restart(std::span<const Index> frozen, std::span<const Index> thawed) = 0;

  /// The decay of a parameter.
  double weight_decay(const typename nn::Parameters<T>::Entry& entry) const;
  T* values(const Segment& segment) const { return block_->values.data() + segment.offset; }
  const T* gradients(const Segment& segment) const { return block_->gradients.data() + segment.offset; }
  /// What is held of a segment; null when nothing is.
  const kernels::Held* held(const Segment& segment) const {
    return any_held_ ? held_.data() + (segment.offset - begin_) : nullptr;
  }
  /// Memory like the parameters', zero at first, for moments. A segment's part starts at its offset - base().
  AlignedArray<T> state() const { return AlignedArray<T>(static_cast<std::size_t>(end_ - begin_)); }
  Index base() const { return begin_; }

  Index steps_ = 0;

 private:
  void require_limit(const char* what, double most) const;
  void follow_masks();
  void end_fresh();
  kernels::Clipping clipping() const;
  template <class F> void for_free_gradients(const F& f) const;
  struct Norm {
    double unit, of_units;  // their product may be beyond double
  };
  Norm gradient_norm() const;
  void require_finite_gradients() const;

  std::shared_ptr<Block<T>> block_;
  std::uint64_t version_;  // of the block, as it was
  std::uint64_t masks_;    // of the block, as last seen
  AlignedArray<kernels::Held> held_;
  bool any_held_ = false;
  bool any_fresh_ = false;
  struct Run {
    Index offset, size;
    std::string name;
  };
  std::vector<Run> runs_;  // where each parameter is
  const char* name_;
  Index begin_ = 0, end_ = 0;
  std::vector<Segment> segments_;
  double lr_;
  double rate_factor_ = 1;
  double most_norm_ = std::numeric_limits<double>::infinity();
  double most_value_ = std::numeric_limits<double>::infinity();
};

/// Throws the Error of a setting that is not at least zero (or, with `below_one`, not in [0, 1)).
void require_setting(const char* where, const char* name, double value, bool below_one = false);

extern template class Optimizer<float>;
extern template class Optimizer<double>;

}  // namespace taper::optim

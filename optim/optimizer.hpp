#pragma once

#include <limits>
#include <span>
#include <string>
#include <vector>

#include <taper/autodiff/kernels/update.hpp>
#include <taper/nn/parameter.hpp>
#include <taper/optim/group.hpp>
#include <taper/optim/optimizer_state.hpp>

namespace taper::optim {

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

  /// Moves the parameters by one step, along the gradients of the last backward pass. Allocates nothing,
  /// except when masks have changed. Throws Error when the model's parameters were laid out anew since the
  /// optimizer was built, for frozen entries when this kind of optimizer does not support them, and, with
  /// clipping, for a gradient of a free entry that is not finite, which it names. Nothing has moved then.
  void step();

  /// All learning rates are multiplied by this; schedules set it.
  double lr_factor() const { return lr_factor_; }
  /// Throws Error for a negative or infinite factor.
  void set_lr_factor(double factor);
  /// The learning rate of parameters in no group, as it is now.
  double lr() const { return lr_ * lr_factor_; }
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
  /// Whether it optimizes exactly these parameters.
  bool optimizes(const nn::Parameters<T>& parameters) const;
  /// Throws Error for a parameter on the tape that does not live where those of this optimizer do, naming it:
  /// a member that its module does not name is computed with, and neither trained nor saved. An optimizer has
  /// no tape and sees no such thing in step(); a loop of one's own calls this once after recording, as fit
  /// does.
  void require_all_of(const Tape<T>& tape) const { parameters_.require_all_of(tape, name_); }

  /// All settings as they are now, also those of groups and the limits of clipping that there are.
  std::vector<Setting> settings() const;
  /// A copy of everything that the next steps depend on, besides the settings, the parameters and their
  /// masks.
  OptimizerState<T> state() const;
  /// Goes on from a state: the next steps are, to the bit, those that its optimizer would have made from
  /// there, given the same settings, parameters and masks. Settings are not compared, so that a training may
  /// go on with others. Throws Error for a state of another kind of optimizer, of other parameters, by names
  /// and shapes, or with step counts that no optimizer has; nothing has changed then.
  void load_state(const OptimizerState<T>& state);

 protected:
  /// A run of elements with the same settings.
  struct Segment {
    Index offset, size;
    double lr, weight_decay;
  };

  /// `state_names` are the tensors that there are for each parameter, zero at first.
  Optimizer(nn::Parameters<T> parameters, const char* name, double lr, double weight_decay,
            const std::vector<Group>& groups, std::vector<const char*> state_names = {});
  /// Moves one segment. `lr` is its learning rate now; its gradients count as `clipping` makes them.
  virtual void update(const Segment& segment, double lr, const kernels::Clipping& clipping) = 0;
  /// Whether `update` heeds entry_states(). One that does not is refused frozen entries.
  virtual bool supports_frozen() const { return false; }
  /// Called when entries have been frozen and thawed, given by their positions from base() on; the state
  /// tensors are zero there already. What else there is of them must start anew with the next step.
  virtual void reset_state(std::span<const Index> /*frozen*/, std::span<const Index> /*thawed*/) {}
  /// The settings of this kind of optimizer.
  virtual std::vector<Setting> own_settings() const { return {}; }
  /// How many steps the entry at a position from base() on has made since it started, for an optimizer that
  /// counts them, and the other way round.
  virtual Index entry_steps(Index /*position*/) const { return steps_; }
  virtual void set_entry_steps(std::span<const Index> /*steps*/) {}

  /// The decay of a parameter.
  double weight_decay(const typename nn::Parameters<T>::Entry& entry) const;
  T* values(const Segment& segment) const { return block_->values.data() + segment.offset; }
  const T* gradients(const Segment& segment) const { return block_->gradients.data() + segment.offset; }
  /// A segment's part of the state tensor with this position among the names.
  T* state(std::size_t which, const Segment& segment) {
    return tensors_[which].data() + (segment.offset - begin_);
  }
  /// Which entries of a segment are frozen, and which have started anew; null when none are.
  const kernels::EntryState* entry_states(const Segment& segment) const {
    return any_not_free_ ? entry_states_.data() + (segment.offset - begin_) : nullptr;
  }
  /// Where the first segment begins, and how many elements there are from there to the end of the last.
  Index base() const { return begin_; }
  Index extent() const { return end_ - begin_; }

  Index steps_ = 0;

 private:
  const Segment& segment_of(const typename nn::Parameters<T>::Entry& entry) const;
  void require_limit(const char* what, double most) const;
  void require_layout() const;
  void sync_masks();
  void end_restarts();
  void check(const OptimizerState<T>& state) const;
  kernels::Clipping clipping() const;
  template <class F> void for_free_gradients(const F& f) const;
  struct Norm {
    double unit, of_units;  // their product may be beyond double
  };
  Norm gradient_norm() const;
  void require_finite_gradients() const;

  nn::Parameters<T> parameters_;
  std::shared_ptr<Block<T>> block_;
  std::uint64_t masks_;  // the version of the block's masks that entry_states_ follows
  AlignedArray<kernels::EntryState> entry_states_;
  bool any_not_free_ = false;
  bool any_restarted_ = false;
  const char* name_;
  Index begin_ = 0, end_ = 0;
  std::vector<Segment> segments_;
  std::vector<const char*> state_names_;
  std::vector<AlignedArray<T>> tensors_;  // laid out like the parameters, from begin_ on
  double lr_, weight_decay_;
  double lr_factor_ = 1;
  double most_norm_ = std::numeric_limits<double>::infinity();
  double most_value_ = std::numeric_limits<double>::infinity();
};

}  // namespace taper::optim

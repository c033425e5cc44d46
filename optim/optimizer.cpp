#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <taper/autodiff/finite.hpp>
#include <taper/autodiff/kernels/denormals.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/optimizer.hpp>

namespace taper::optim {

template <class T>
Optimizer<T>::Optimizer(nn::Parameters<T> parameters, const char* name, double lr, double weight_decay,
                        const std::vector<Group>& groups, std::vector<const char*> state_names)
    : parameters_(std::move(parameters)),
      block_(parameters_.block()),
      masks_(block_->mask_version),
      name_(name),
      state_names_(std::move(state_names)),
      lr_(lr),
      weight_decay_(weight_decay) {
  require_setting(name, "lr", lr);
  require_setting(name, "weight_decay", weight_decay);
  const std::vector<const Group*> group_of = match_groups(groups, parameters_, name);
  for (std::size_t k = 0; k < group_of.size(); ++k) {
    const auto& entry = parameters_.entries()[k];
    Segment next{entry.offset, static_cast<Index>(padded<T>(static_cast<std::size_t>(entry.shape.size()))),
                 lr, weight_decay};
    if (group_of[k] != nullptr) {
      next.lr = group_of[k]->lr.value_or(lr);
      next.weight_decay = group_of[k]->weight_decay.value_or(weight_decay);
    }
    // Neighbours with the same settings are one run; the gaps between them hold zeros and stay zero.
    if (!segments_.empty() && segments_.back().lr == next.lr &&
        segments_.back().weight_decay == next.weight_decay) {
      segments_.back().size += next.size;
    } else {
      segments_.push_back(next);
    }
  }
  if (!segments_.empty()) {
    begin_ = segments_.front().offset;
    end_ = segments_.back().offset + segments_.back().size;
  }
  tensors_.assign(state_names_.size(), AlignedArray<T>(static_cast<std::size_t>(extent())));
  entry_states_ = AlignedArray<kernels::EntryState>(static_cast<std::size_t>(extent()));
  for (Index i = 0; i < extent(); ++i) {
    const bool frozen = block_->frozen.data()[begin_ + i] != 0;
    entry_states_.data()[i] = frozen ? kernels::EntryState::frozen : kernels::EntryState::trainable;
    any_not_free_ |= frozen;
  }
}

template <class T> double Optimizer<T>::weight_decay(const typename nn::Parameters<T>::Entry& entry) const {
  return segment_of(entry).weight_decay;
}

template <class T>
auto Optimizer<T>::segment_of(const typename nn::Parameters<T>::Entry& entry) const -> const Segment& {
  return *std::find_if(segments_.rbegin(), segments_.rend(),
                       [&](const Segment& segment) { return segment.offset <= entry.offset; });
}

template <class T> bool Optimizer<T>::optimizes(const nn::Parameters<T>& parameters) const {
  return block_ == parameters.block() && parameters_.version() == parameters.version() &&
         std::ranges::equal(parameters_.entries(), parameters.entries(), [](const auto& a, const auto& b) {
           return a.offset == b.offset && a.shape.size() == b.shape.size();
         });
}

template <class T> std::vector<Setting> Optimizer<T>::settings() const {
  std::vector<Setting> result{{"lr", lr_}, {"weight_decay", weight_decay_}};
  for (Setting& own : own_settings()) result.push_back(std::move(own));
  if (std::isfinite(most_norm_)) result.push_back({"clip_norm", most_norm_});
  if (std::isfinite(most_value_)) result.push_back({"clip_value", most_value_});
  for (const auto& entry : parameters_.entries()) {
    const Segment& segment = segment_of(entry);
    if (segment.lr != lr_) result.push_back({"lr of " + entry.name, segment.lr});
    if (segment.weight_decay != weight_decay_) {
      result.push_back({"weight_decay of " + entry.name, segment.weight_decay});
    }
  }
  return result;
}

template <class T> OptimizerState<T> Optimizer<T>::state() const {
  OptimizerState<T> result{.kind = name_, .steps = steps_, .lr_factor = lr_factor_, .settings = settings()};
  result.tensor_names.assign(state_names_.begin(), state_names_.end());
  for (const auto& parameter : parameters_.entries()) {
    typename OptimizerState<T>::Entry entry{parameter.name, parameter.shape};
    const Index at = parameter.offset - begin_;
    for (const AlignedArray<T>& tensor : tensors_) {
      entry.tensors.emplace_back(View<const T>(tensor.data() + at, parameter.shape));
    }
    bool uneven = false;
    for (Index i = at; i < at + parameter.shape.size(); ++i) {
      const kernels::EntryState entry_state = entry_states_.data()[i];
      entry.steps.push_back(entry_state == kernels::EntryState::frozen      ? OptimizerState<T>::frozen
                            : entry_state == kernels::EntryState::restarted ? 0
                                                                            : entry_steps(i));
      uneven |= entry.steps.back() != steps_;
    }
    if (!uneven) entry.steps.clear();
    result.entries.push_back(std::move(entry));
  }
  return result;
}

/// Throws Error unless this optimizer can go on from the state.
template <class T> void Optimizer<T>::check(const OptimizerState<T>& state) const {
  if (state.kind != name_) throw Error(name_, "a state of '", state.kind, "': expected one of '", name_, "'");
  if (state.steps < 0) throw Error(name_, "a state after ", state.steps, " steps: expected 0 or more");
  require_setting(name_, "lr factor", state.lr_factor);
  const auto list = [](const auto& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ", ") + std::string(name);
    return text.empty() ? "none" : text;
  };
  if (!std::ranges::equal(state.tensor_names, state_names_)) {
    throw Error(name_, "a state with the tensors ", list(state.tensor_names), ": expected ",
                list(state_names_));
  }
  for (const auto& entry : state.entries) {
    const auto same_name = [&](const auto& parameter) { return parameter.name == entry.name; };
    if (std::ranges::none_of(parameters_.entries(), same_name) ||
        std::ranges::count_if(state.entries, same_name) > 1) {
      throw Error(name_, "a state of '", entry.name, "': expected one for each parameter, and no other");
    }
  }
  for (const auto& parameter : parameters_.entries()) {
    const auto entry = std::ranges::find(state.entries, parameter.name, &OptimizerState<T>::Entry::name);
    if (entry == state.entries.end()) {
      throw Error(name_, "a state without '", parameter.name, "': expected one for each parameter");
    }
    const auto require_shape = [&](const Shape& shape, const std::string& what) {
      if (shape == parameter.shape) return;
      throw Error(name_, what, " of '", entry->name, "' ", shape, ": expected ", parameter.shape);
    };
    require_shape(entry->shape, "a state");
    if (entry->tensors.size() != state_names_.size()) {
      throw Error(name_, entry->tensors.size(), " state tensors of '", entry->name, "': expected ",
                  state_names_.size());
    }
    for (std::size_t i = 0; i < entry->tensors.size(); ++i) {
      require_shape(entry->tensors[i].shape(), state.tensor_names[i]);
    }
    const auto count = static_cast<Index>(entry->steps.size());
    if (count != 0 && count != parameter.shape.size()) {
      throw Error(name_, count, " step counts of '", entry->name, "': expected none or ",
                  parameter.shape.size());
    }
    for (const Index made : entry->steps) {
      if (made == OptimizerState<T>::frozen || (made >= 0 && made <= state.steps)) continue;
      throw Error(name_, "an entry of '", entry->name, "' after ", made, " of ", state.steps,
                  " steps: expected 0 to all of them, or ", OptimizerState<T>::frozen, " where it is frozen");
    }
  }
}

template <class T> void Optimizer<T>::load_state(const OptimizerState<T>& state) {
  require_layout();
  check(state);
  std::vector<Index> all_steps(static_cast<std::size_t>(extent()), state.steps);
  steps_ = state.steps;
  lr_factor_ = state.lr_factor;
  masks_ = ~block_->mask_version;  // the next step compares the masks with those of the state
  for (const auto& parameter : parameters_.entries()) {
    const auto& entry = state.entry(parameter.name);
    for (Index i = 0; i < parameter.shape.size(); ++i) {
      const Index made = entry.steps.empty() ? steps_ : entry.steps[static_cast<std::size_t>(i)];
      const bool frozen = made == OptimizerState<T>::frozen;
      const bool restarted = made == 0 && steps_ > 0 && supports_frozen();
      const Index at = parameter.offset - begin_ + i;
      for (std::size_t which = 0; which < tensors_.size(); ++which) {
        tensors_[which].data()[at] = frozen || restarted ? T{0} : entry.tensors[which][i];
      }
      entry_states_.data()[at] = frozen      ? kernels::EntryState::frozen
                                 : restarted ? kernels::EntryState::restarted
                                             : kernels::EntryState::trainable;
      if (!frozen) all_steps[static_cast<std::size_t>(at)] = made;
    }
  }
  set_entry_steps(all_steps);
}

template <class T> void Optimizer<T>::set_lr_factor(double factor) {
  require_setting(name_, "lr factor", factor);
  lr_factor_ = factor;
}

template <class T> void Optimizer<T>::clip_norm(double most) {
  require_limit("a gradient norm", most);
  most_norm_ = most;
}

template <class T> void Optimizer<T>::clip_value(double most) {
  require_limit("gradient entries", most);
  most_value_ = most;
}

template <class T> void Optimizer<T>::require_limit(const char* what, double most) const {
  constexpr auto least = static_cast<double>(std::numeric_limits<T>::min());
  if (most >= least) return;
  throw Error(name_, what, " of at most ", most, ": expected a positive number, at least ", least,
              ", below which gradients count as zero");
}

template <class T> void Optimizer<T>::require_layout() const {
  if (block_->version == parameters_.version()) return;
  throw Error(name_,
              "the model's parameters were laid out anew since this optimizer was built: build a new one");
}

template <class T> void Optimizer<T>::step() {
  require_layout();
  if (masks_ != block_->mask_version) sync_masks();
  if (any_not_free_ && !supports_frozen()) {
    throw Error(name_,
                "frozen entries, which this optimizer does not support: thaw them, or use one that does");
  }
  const kernels::FlushDenormals flush;
  const kernels::Clipping clipped = clipping();
  ++steps_;
  for (const Segment& segment : segments_) update(segment, segment.lr * lr_factor_, clipped);
  if (any_restarted_) end_restarts();
}

/// Takes over the masks of the block, and resets the state of every entry that was frozen or thawed.
template <class T> void Optimizer<T>::sync_masks() {
  masks_ = block_->mask_version;
  any_not_free_ = any_restarted_ = false;
  std::vector<Index> frozen_now, thawed_now;
  for (Index i = 0; i < extent(); ++i) {
    kernels::EntryState& entry = entry_states_.data()[i];
    const bool frozen = block_->frozen.data()[begin_ + i] != 0;
    if (frozen != (entry == kernels::EntryState::frozen)) {
      (frozen ? frozen_now : thawed_now).push_back(i);
      for (AlignedArray<T>& tensor : tensors_) tensor.data()[i] = 0;
      // Without support for frozen entries no step was made while there were some.
      const bool restarted = steps_ > 0 && supports_frozen();
      entry = frozen      ? kernels::EntryState::frozen
              : restarted ? kernels::EntryState::restarted
                          : kernels::EntryState::trainable;
    }
    any_not_free_ |= entry != kernels::EntryState::trainable;
    any_restarted_ |= entry == kernels::EntryState::restarted;
  }
  if (!frozen_now.empty() || !thawed_now.empty()) reset_state(frozen_now, thawed_now);
}

template <class T> void Optimizer<T>::end_restarts() {
  any_restarted_ = any_not_free_ = false;
  for (Index i = 0; i < extent(); ++i) {
    kernels::EntryState& entry = entry_states_.data()[i];
    if (entry == kernels::EntryState::restarted) entry = kernels::EntryState::trainable;
    any_not_free_ |= entry == kernels::EntryState::frozen;
  }
}

/// What clipping does to the gradients that are there. Throws Error where they are not finite.
template <class T> kernels::Clipping Optimizer<T>::clipping() const {
  kernels::Clipping result{.limit = most_value_};
  if (std::isfinite(most_norm_)) {
    const Norm norm = gradient_norm();
    if (!std::isfinite(norm.unit) || !std::isfinite(norm.of_units)) require_finite_gradients();
    // torch.nn.utils.clip_grad_norm_ adds 1e-6 too, so that a vanishing norm divides nothing by zero.
    result.scale = std::min(1.0, most_norm_ / norm.unit / (norm.of_units + 1e-6 / norm.unit));
    if (result.scale < static_cast<double>(std::numeric_limits<T>::min())) {
      result.scale = result.more = std::sqrt(most_norm_ / norm.of_units) / std::sqrt(norm.unit);
    }
  } else if (std::isfinite(most_value_)) {
    require_finite_gradients();
  }
  return result;
}

/// Calls f(run, count) for the free gradients, packed into runs of a fixed length, so that the bits of what
/// is summed are those of the smaller problem without the frozen ones. f may change the run.
template <class T> template <class F> void Optimizer<T>::for_free_gradients(const F& f) const {
  alignas(alignment) std::array<T, 2048> run;
  std::size_t filled = 0;
  for (const auto& parameter : parameters_.entries()) {
    const T* const gradients = block_->gradients.data() + parameter.offset;
    const kernels::EntryState* const states = entry_states_.data() + (parameter.offset - begin_);
    for (Index i = 0; i < parameter.shape.size(); ++i) {
      run[filled] = gradients[i];
      filled += states[i] != kernels::EntryState::frozen;
      if (filled < run.size()) continue;
      f(run.data(), static_cast<Index>(filled));
      filled = 0;
    }
  }
  f(run.data(), static_cast<Index>(filled));
}

/// The Euclidean norm of the free gradients, after clip_value; not finite where one of them is not.
template <class T> auto Optimizer<T>::gradient_norm() const -> Norm {
  double total = 0;
  Index count = 0;
  const bool limited = std::isfinite(most_value_);
  const T most = static_cast<T>(most_value_);
  for_free_gradients([&](T* run, Index size) {
    for (Index i = 0; limited && i < size; ++i) {
      if (std::isfinite(run[i])) run[i] = std::clamp(run[i], -most, most);
    }
    total += kernels::sum_squares(size, run);
    count += size;
  });
  // Squares that were too small for T, or whose sum was too large.
  constexpr double least = static_cast<double>(std::numeric_limits<T>::min());
  constexpr double precision = static_cast<double>(std::numeric_limits<T>::epsilon());
  if (std::isnan(total) ||
      (std::isfinite(total) && total >= static_cast<double>(count) * least / precision)) {
    return {1, std::sqrt(total)};
  }
  T largest = 0;
  for_free_gradients([&](T* run, Index size) {
    for (Index i = 0; i < size; ++i) largest = std::max(largest, std::abs(run[i]));
  });
  if (limited && std::isfinite(largest)) largest = std::min(largest, most);
  if (largest == 0 || !std::isfinite(largest)) return {1, static_cast<double>(largest)};
  total = 0;
  for_free_gradients([&](T* run, Index size) {
    for (Index i = 0; i < size; ++i) run[i] = std::clamp(run[i], -largest, largest) / largest;
    total += kernels::sum_squares(size, run);
  });
  return {static_cast<double>(largest), std::sqrt(total)};
}

template <class T> void Optimizer<T>::require_finite_gradients() const {
  for (const auto& parameter : parameters_.entries()) {
    const T* const gradients = block_->gradients.data() + parameter.offset;
    const Index size = parameter.shape.size();
    for (Index i = first_not_finite(gradients, size); i >= 0 && i < size; ++i) {
      const bool frozen = entry_states_.data()[parameter.offset - begin_ + i] == kernels::EntryState::frozen;
      if (frozen || std::isfinite(gradients[i])) continue;
      throw Error(name_, "the gradient of '", parameter.name, "' is ", gradients[i], " at entry ", i,
                  ": expected finite numbers to clip");
    }
  }
}

TAPER_INSTANTIATE_CLASS(Optimizer)

}  // namespace taper::optim

#include <algorithm>
#include <utility>

#include <taper/optim/adam.hpp>

#include <taper/instantiate.hpp>

namespace taper::optim {

template <class T>
Adam<T>::Adam(nn::Parameters<T> parameters, const AdamOptions& options, const char* name, bool decoupled)
    : Optimizer<T>(std::move(parameters), name, options.lr, options.weight_decay, options.groups,
                   options.amsgrad ? std::vector<const char*>{"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
                                   : std::vector<const char*>{"exp_avg", "exp_avg_sq"}),
      options_(options),
      decoupled_(decoupled) {
  require_setting(name, "beta1", options.beta1, true);
  require_setting(name, "beta2", options.beta2, true);
  if (!(options.epsilon > 0 && std::isfinite(options.epsilon))) {
    throw Error(name, "epsilon ", options.epsilon, ": expected a positive number, and a finite one");
  }
}

template <class T> std::vector<Setting> Adam<T>::own_settings() const {
  std::vector<Setting> result{
      {"beta1", options_.beta1}, {"beta2", options_.beta2}, {"epsilon", options_.epsilon}};
  if (options_.amsgrad) result.push_back({"amsgrad", 1});
  return result;
}

template <class T>
void Adam<T>::update(const typename Optimizer<T>::Segment& segment, double lr,
                     const kernels::Clipping& clipping) {
  if (std::exchange(corrected_, this->steps_) != this->steps_) {  // once for all segments: powers take time
    correction1_ = correction(options_.beta1, this->steps_);
    root_correction2_ = std::sqrt(correction(options_.beta2, this->steps_));
  }
  kernels::AdamCohorts<T> cohorts;
  if (cohorts_.size() > 0) {
    for (std::size_t c = 0; c < births_.size(); ++c) {
      const Index made = this->steps_ - births_[c];
      lrs_[c] = static_cast<T>(lr / correction(options_.beta1, made));
      root_corrections_[c] = static_cast<T>(1 / std::sqrt(correction(options_.beta2, made)));
    }
    cohorts = {cohorts_.data() + (segment.offset - this->base()), lrs_.data(), root_corrections_.data()};
  }
  kernels::adam_step<T>(segment.size, this->values(segment), this->gradients(segment),
                        this->state(0, segment), this->state(1, segment), this->entry_states(segment),
                        {.lr = lr / correction1_,
                         .clipping = clipping,
                         .coupled_decay = decoupled_ ? 0 : segment.weight_decay,
                         .shrinkage = decoupled_ ? 1 - lr * segment.weight_decay : 1,
                         .beta1 = options_.beta1,
                         .beta2 = options_.beta2,
                         .root_correction = 1 / root_correction2_,
                         .epsilon = options_.epsilon},
                        cohorts, options_.amsgrad ? this->state(2, segment) : nullptr);
}

template <class T> void Adam<T>::reset_state(std::span<const Index> frozen, std::span<const Index> thawed) {
  for (const Index position : frozen) {
    if (cohorts_.size() > 0) cohorts_.data()[position] = 0;
  }
  if (this->steps_ == 0 || thawed.empty()) return;
  if (cohorts_.size() == 0) {
    cohorts_ = AlignedArray<kernels::Ordinal<T>>(static_cast<std::size_t>(this->extent()));
  }
  compact_cohorts();
  const auto youngest = static_cast<kernels::Ordinal<T>>(births_.size());
  births_.push_back(this->steps_);
  for (const Index position : thawed) cohorts_.data()[position] = youngest;
  lrs_.resize(births_.size());
  root_corrections_.resize(births_.size());
}

template <class T> Index Adam<T>::entry_steps(Index position) const {
  if (cohorts_.size() == 0) return this->steps_;
  return this->steps_ - births_[static_cast<std::size_t>(cohorts_.data()[position])];
}

template <class T> void Adam<T>::set_entry_steps(std::span<const Index> steps) {
  std::vector<Index> births{0};
  for (const Index made : steps) {
    if (made != this->steps_) births.push_back(this->steps_ - made);
  }
  std::ranges::sort(births);
  births.erase(std::unique(births.begin(), births.end()), births.end());
  AlignedArray<kernels::Ordinal<T>> cohorts(births.size() == 1 ? 0 : steps.size());
  for (std::size_t i = 0; i < cohorts.size(); ++i) {
    const auto birth = std::ranges::lower_bound(births, this->steps_ - steps[i]);
    cohorts.data()[i] = static_cast<kernels::Ordinal<T>>(birth - births.begin());
  }
  births_ = std::move(births);
  cohorts_ = std::move(cohorts);
  lrs_.resize(births_.size());
  root_corrections_.resize(births_.size());
}

/// Drops cohorts that no entry is in any more, and joins those with the first whose corrections are 1, as
/// its own are then.
template <class T> void Adam<T>::compact_cohorts() {
  const auto settled = [&](Index birth) {
    return correction(options_.beta1, this->steps_ - birth) == 1 &&
           correction(options_.beta2, this->steps_ - birth) == 1;
  };
  std::vector<bool> used(births_.size());
  for (std::size_t i = 0; i < cohorts_.size(); ++i) used[static_cast<std::size_t>(cohorts_.data()[i])] = true;
  std::vector<Index> kept{births_[0]};
  std::vector<kernels::Ordinal<T>> renamed(births_.size());
  for (std::size_t c = 1; c < births_.size(); ++c) {
    if (!used[c] || settled(births_[c])) continue;
    renamed[c] = static_cast<kernels::Ordinal<T>>(kept.size());
    kept.push_back(births_[c]);
  }
  if (kept.size() == births_.size()) return;
  births_ = std::move(kept);
  for (std::size_t i = 0; i < cohorts_.size(); ++i) {
    kernels::Ordinal<T>& cohort = cohorts_.data()[i];
    cohort = renamed[static_cast<std::size_t>(cohort)];
  }
}

namespace {

/// The norm that coupled decay on a product of D factors would lead to: L1, L2/3, L1/2, ...
std::string induced_norm(Index depth) {
  if (depth == 2) return "L1";
  return depth % 2 == 0 ? "L1/" + std::to_string(depth / 2) : "L2/" + std::to_string(depth);
}

}  // namespace

template <class T>
void refuse_decay_of_factors(const char* where, const nn::Parameters<T>& parameters,
                             const std::function<double(const typename nn::Parameters<T>::Entry&)>& decay) {
  for (const auto& entry : parameters.entries()) {
    const auto* const product = dynamic_cast<const nn::Hadamard<T>*>(entry.factor_of.get());
    if (product != nullptr && decay(entry) > 0) {
      throw Error(where, "decoupled decay on '", entry.name, "', a factor of a product of ", product->depth(),
                  ": it induces no ", induced_norm(product->depth()),
                  " penalty, expected Adam, whose decay is coupled, or decay_factors to insist");
    }
  }
}

template <class T>
AdamW<T>::AdamW(nn::Parameters<T> parameters, const AdamWOptions& options)
    : Adam<T>(parameters,
              {.lr = options.lr,
               .beta1 = options.beta1,
               .beta2 = options.beta2,
               .epsilon = options.epsilon,
               .weight_decay = options.weight_decay,
               .groups = options.groups,
               .amsgrad = options.amsgrad},
              "adamw", true) {
  if (options.decay_factors) return;
  refuse_decay_of_factors<T>("adamw", parameters,
                             [&](const auto& entry) { return this->weight_decay(entry); });
}

#define TAPER_INSTANTIATE(T)                                                      \
  template void refuse_decay_of_factors<T>(const char*, const nn::Parameters<T>&, \
                                           const std::function<double(const nn::Parameters<T>::Entry&)>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE
TAPER_INSTANTIATE_CLASS(Adam)
TAPER_INSTANTIATE_CLASS(AdamW)

}  // namespace taper::optim

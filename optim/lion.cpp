#include <taper/autodiff/kernels/adaptive.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/lion.hpp>

namespace taper::optim {

template <class T>
Lion<T>::Lion(nn::Parameters<T> parameters, const LionOptions& options)
    : Optimizer<T>(parameters, "lion", options.lr, options.weight_decay, options.groups, {"exp_avg"}),
      options_(options) {
  require_setting("lion", "beta1", options.beta1, true);
  require_setting("lion", "beta2", options.beta2, true);
  if (options.decay_factors) return;
  refuse_decay_of_factors<T>("lion", parameters,
                             [&](const auto& entry) { return this->weight_decay(entry); });
}

template <class T> std::vector<Setting> Lion<T>::own_settings() const {
  return {{"beta1", options_.beta1}, {"beta2", options_.beta2}};
}

template <class T>
void Lion<T>::update(const typename Optimizer<T>::Segment& segment, double lr,
                     const kernels::Clipping& clipping) {
  kernels::lion_step<T>(segment.size, this->values(segment), this->gradients(segment),
                        this->state(0, segment), this->entry_states(segment),
                        {.lr = lr,
                         .clipping = clipping,
                         .shrinkage = 1 - lr * segment.weight_decay,
                         .beta1 = options_.beta1,
                         .beta2 = options_.beta2});
}

TAPER_INSTANTIATE_CLASS(Lion)

}  // namespace taper::optim

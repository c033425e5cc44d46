#include <cmath>

#include <taper/autodiff/kernels/update.hpp>
#include <taper/optim/adam.hpp>

namespace taper::optim {

template <class T>
Adam<T>::Adam(nn::Parameters<T> parameters, const AdamOptions& options, const char* name, bool decoupled)
    : Optimizer<T>(std::move(parameters), name, options.lr, options.weight_decay, options.groups),
      options_(options),
      decoupled_(decoupled),
      first_moments_(this->state()),
      second_moments_(this->state()) {
  require_setting(name, "beta1", options.beta1, true);
  require_setting(name, "beta2", options.beta2, true);
  if (!(options.epsilon > 0)) throw Error(name, "epsilon ", options.epsilon, ": expected a positive number");
}

template <class T>
void Adam<T>::update(const typename Optimizer<T>::Segment& segment, double rate, double scale) {
  const double t = static_cast<double>(this->steps_);
  const Index at = segment.offset - this->base();
  kernels::adam_step<T>(segment.size, this->values(segment), this->gradients(segment),
                        first_moments_.data() + at, second_moments_.data() + at,
                        {.rate = rate / (1 - std::pow(options_.beta1, t)),
                         .gradient_scale = scale,
                         .coupled_decay = decoupled_ ? 0 : segment.weight_decay,
                         .shrinkage = decoupled_ ? 1 - rate * segment.weight_decay : 1,
                         .beta1 = options_.beta1,
                         .beta2 = options_.beta2,
                         .root_correction = std::sqrt(1 - std::pow(options_.beta2, t)),
                         .epsilon = options_.epsilon});
}

template <class T>
AdamW<T>::AdamW(nn::Parameters<T> parameters, const AdamWOptions& options)
    : Adam<T>(parameters,
              {.lr = options.lr,
               .beta1 = options.beta1,
               .beta2 = options.beta2,
               .epsilon = options.epsilon,
               .weight_decay = options.weight_decay,
               .groups = options.groups},
              "adamw", true) {
  if (options.decay_factors) return;
  for (const auto& entry : parameters.entries()) {
    const bool factor = dynamic_cast<const nn::Hadamard<T>*>(entry.factor_of) != nullptr;
    if (factor && this->weight_decay(entry) > 0) {
      throw Error(
          "adamw", "decoupled decay on '", entry.name,
          "', a factor of a product: it induces no L1 penalty, expected Adam, whose decay is coupled, or "
          "decay_factors to insist");
    }
  }
}

template class Adam<float>;
template class Adam<double>;
template class AdamW<float>;
template class AdamW<double>;

}  // namespace taper::optim

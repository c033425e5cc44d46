#include <cmath>

#include <taper/autodiff/kernels/adaptive.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/rmsprop.hpp>

namespace taper::optim {
namespace {

void require_positive(const char* where, double epsilon) {
  if (epsilon > 0 && std::isfinite(epsilon)) return;
  throw Error(where, "epsilon ", epsilon, ": expected a positive number, and a finite one");
}

std::vector<const char*> rmsprop_tensors(const RMSpropOptions& options) {
  std::vector<const char*> names{"square_avg"};
  if (options.momentum > 0) names.push_back("momentum_buffer");
  if (options.centered) names.push_back("grad_avg");
  return names;
}

}  // namespace

template <class T>
RMSprop<T>::RMSprop(nn::Parameters<T> parameters, const RMSpropOptions& options)
    : Optimizer<T>(std::move(parameters), "rmsprop", options.lr, options.weight_decay, options.groups,
                   rmsprop_tensors(options)),
      options_(options) {
  require_setting("rmsprop", "alpha", options.alpha, true);
  require_setting("rmsprop", "momentum", options.momentum);
  require_positive("rmsprop", options.epsilon);
}

template <class T> std::vector<Setting> RMSprop<T>::own_settings() const {
  return {{"alpha", options_.alpha},
          {"epsilon", options_.epsilon},
          {"momentum", options_.momentum},
          {"centered", options_.centered ? 1.0 : 0.0}};
}

template <class T>
void RMSprop<T>::update(const typename Optimizer<T>::Segment& segment, double lr,
                        const kernels::Clipping& clipping) {
  const bool fast = options_.momentum > 0;
  kernels::rmsprop_step<T>(segment.size, this->values(segment), this->gradients(segment),
                           this->state(0, segment),
                           options_.centered ? this->state(fast ? 2 : 1, segment) : nullptr,
                           fast ? this->state(1, segment) : nullptr, this->entry_states(segment),
                           {.lr = lr,
                            .clipping = clipping,
                            .decay = segment.weight_decay,
                            .alpha = options_.alpha,
                            .epsilon = options_.epsilon,
                            .momentum = options_.momentum});
}

template <class T>
Adagrad<T>::Adagrad(nn::Parameters<T> parameters, const AdagradOptions& options)
    : Optimizer<T>(std::move(parameters), "adagrad", options.lr, options.weight_decay, options.groups,
                   {"sum"}),
      options_(options) {
  require_positive("adagrad", options.epsilon);
}

template <class T> std::vector<Setting> Adagrad<T>::own_settings() const {
  return {{"epsilon", options_.epsilon}};
}

template <class T>
void Adagrad<T>::update(const typename Optimizer<T>::Segment& segment, double lr,
                        const kernels::Clipping& clipping) {
  kernels::adagrad_step<T>(
      segment.size, this->values(segment), this->gradients(segment), this->state(0, segment),
      this->entry_states(segment),
      {.lr = lr, .clipping = clipping, .decay = segment.weight_decay, .epsilon = options_.epsilon});
}

TAPER_INSTANTIATE_CLASS(RMSprop)
TAPER_INSTANTIATE_CLASS(Adagrad)

}  // namespace taper::optim

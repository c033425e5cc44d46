#include <taper/autodiff/kernels/update.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/sgd.hpp>

namespace taper::optim {

template <class T>
SGD<T>::SGD(nn::Parameters<T> parameters, const SGDOptions& options)
    : Optimizer<T>(std::move(parameters), "sgd", options.lr, options.weight_decay, options.groups,
                   options.momentum > 0 ? std::vector{"momentum_buffer"} : std::vector<const char*>{}),
      options_(options) {
  require_setting("sgd", "momentum", options.momentum);
  require_setting("sgd", "dampening", options.dampening);
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0)) {
    throw Error("sgd", "Nesterov's form with momentum ", options.momentum, " and dampening ",
                options.dampening, ": expected momentum and no dampening");
  }
}

template <class T> std::vector<Setting> SGD<T>::own_settings() const {
  return {{"momentum", options_.momentum},
          {"dampening", options_.dampening},
          {"nesterov", options_.nesterov ? 1.0 : 0.0}};
}

template <class T>
void SGD<T>::update(const typename Optimizer<T>::Segment& segment, double lr,
                    const kernels::Clipping& clipping) {
  T* const velocity = options_.momentum > 0 ? this->state(0, segment) : nullptr;
  kernels::sgd_step<T>(segment.size, this->values(segment), this->gradients(segment), velocity,
                       this->entry_states(segment),
                       {.lr = lr,
                        .clipping = clipping,
                        .decay = segment.weight_decay,
                        .momentum = options_.momentum,
                        .dampening = options_.dampening,
                        .nesterov = options_.nesterov,
                        .first = this->steps_ == 1});
}

TAPER_INSTANTIATE_CLASS(SGD)

}  // namespace taper::optim

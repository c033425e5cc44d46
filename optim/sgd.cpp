#include <taper/autodiff/kernels/update.hpp>
#include <taper/optim/sgd.hpp>

namespace taper::optim {

template <class T>
SGD<T>::SGD(nn::Parameters<T> parameters, const SGDOptions& options)
    : Optimizer<T>(std::move(parameters), "sgd", options.lr, options.weight_decay, options.groups),
      options_(options) {
  require_setting("sgd", "momentum", options.momentum);
  require_setting("sgd", "dampening", options.dampening);
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0)) {
    throw Error("sgd", "Nesterov's form with momentum ", options.momentum, " and dampening ",
                options.dampening, ": expected momentum and no dampening");
  }
  if (options.momentum > 0) velocity_ = this->state();
}

template <class T>
void SGD<T>::update(const typename Optimizer<T>::Segment& segment, double rate,
                    const kernels::Clipping& clipping) {
  T* const velocity = options_.momentum > 0 ? velocity_.data() + (segment.offset - this->base()) : nullptr;
  kernels::sgd_step<T>(segment.size, this->values(segment), this->gradients(segment), velocity,
                       this->held(segment),
                       {.rate = rate,
                        .clipping = clipping,
                        .decay = segment.weight_decay,
                        .momentum = options_.momentum,
                        .dampening = options_.dampening,
                        .nesterov = options_.nesterov,
                        .first = this->steps_ == 1});
}

template <class T> void SGD<T>::restart(std::span<const Index> frozen, std::span<const Index>) {
  if (options_.momentum == 0) return;
  for (const Index position : frozen) velocity_.data()[position] = 0;
}

template class SGD<float>;
template class SGD<double>;

}  // namespace taper::optim

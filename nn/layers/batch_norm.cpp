#include <cmath>

#include <taper/instantiate.hpp>
#include <taper/nn/init.hpp>
#include <taper/nn/layers/batch_norm.hpp>

namespace taper::nn {

template <class T>
BatchNorm<T>::BatchNorm(const char* name, Index least_rank, Index most_rank, Index channels,
                        const BatchNormOptions& options)
    : running_mean(Shape{channels}),
      running_var(Shape{channels}),
      name_(name),
      least_rank_(least_rank),
      most_rank_(most_rank),
      options_(options) {
  if (!(options.eps >= 0 && std::isfinite(options.eps))) {
    throw Error(name, "eps ", options.eps, ": expected 0 or more");
  }
  if (!(options.momentum >= 0 && options.momentum <= 1)) {
    throw Error(name, "momentum ", options.momentum, ": expected 0 to 1");
  }
  init::constant(running_var.value(), 1);
  if (!options.affine) return;
  weight.emplace(Shape{channels});
  bias.emplace(Shape{channels});
  init::constant(weight->value(), 1);
}

template <class T> Var<T> BatchNorm<T>::forward(Var<T> x) const {
  Tape<T>& tape = x.tape();
  const Shape& shape = x.shape();
  if (shape.rank() < least_rank_ || shape.rank() > most_rank_ || shape[1] != channels()) {
    throw Error(name_, "input ", shape, ": expected rows x ", channels(), " channels",
                most_rank_ == 4 ? " x height x width" : ", or these x length");
  }
  const auto normalized = [&](Var<T> mean, Var<T> variance) {
    if (!weight) return batch_norm(x, mean, variance, options_.eps);
    return batch_norm(x, mean, variance, weight->bind(tape), bias->bind(tape), options_.eps);
  };
  const Var<T> mean = running_mean.bind(tape), variance = running_var.bind(tape);
  if (!tape.training()) return normalized(mean, variance);
  const Var<T> moments = batch_moments(x);
  const auto row = [&](Index k) { return reshape(slice(moments, 0, k, k + 1), {-1}); };
  const T part = static_cast<T>(options_.momentum), rest = static_cast<T>(1 - options_.momentum);
  const Var<T> batch_mean = row(0);
  running_mean.assign_later(tape, mean * rest + batch_mean * part);
  running_var.assign_later(tape, variance * rest + row(2) * part);
  return normalized(batch_mean, row(1));
}

template <class T> std::string BatchNorm<T>::describe() const {
  return std::string(name_) + "(" + std::to_string(channels()) + (weight ? ")" : ", not affine)");
}

TAPER_INSTANTIATE_CLASS(BatchNorm)

}  // namespace taper::nn

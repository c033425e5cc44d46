#pragma once

#include <taper/autodiff/random.hpp>
#include <taper/autodiff/tensor.hpp>

/// Starting values of weights, by their usual names. A weight is outputs x inputs, so its fan-in is the
/// product of all dimensions but the first, and its fan-out that of all but the second.
namespace taper::nn::init {

enum class Fan { in, out };

template <class T> void uniform(View<T> weight, double low, double high, Rng& rng = default_rng());
template <class T> void normal(View<T> weight, double mean, double deviation, Rng& rng = default_rng());
template <class T> void constant(View<T> weight, double value);

/// Uniform in +- gain sqrt(3 / fan) (He et al., "Delving deep into rectifiers", 2015, equation 10); the gain
/// for relu is sqrt(2).
template <class T>
void kaiming_uniform(View<T> weight, double gain = 1.4142135623730951, Fan fan = Fan::in,
                     Rng& rng = default_rng());
/// Normal with deviation gain / sqrt(fan).
template <class T>
void kaiming_normal(View<T> weight, double gain = 1.4142135623730951, Fan fan = Fan::in,
                    Rng& rng = default_rng());
/// Uniform in +- gain sqrt(6 / (fan-in + fan-out)) (Glorot and Bengio, 2010, equation 16).
template <class T> void xavier_uniform(View<T> weight, double gain = 1, Rng& rng = default_rng());
/// Normal with deviation gain sqrt(2 / (fan-in + fan-out)).
template <class T> void xavier_normal(View<T> weight, double gain = 1, Rng& rng = default_rng());

}  // namespace taper::nn::init

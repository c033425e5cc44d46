#include <taper/nn/init.hpp>

#include <cmath>

#include <taper/instantiate.hpp>

namespace taper::nn::init {
namespace {

double fan_of(const Shape& shape, Fan fan) {
  if (shape.rank() < 2) throw Error("init", "a weight ", shape, ": expected at least two dimensions");
  const Index other = shape[fan == Fan::in ? 0 : 1];
  return static_cast<double>(other == 0 ? 0 : shape.size() / other);
}

/// A fan of zero belongs to a weight without entries; any deviation will do.
double root(double numerator, double denominator) {
  return denominator > 0 ? std::sqrt(numerator / denominator) : 0;
}

double both(const Shape& shape) {
  return fan_of(shape, Fan::in) + fan_of(shape, Fan::out);
}

}  // namespace

template <class T> void uniform(View<T> weight, double low, double high, Rng& rng) {
  for (T& entry : weight) entry = static_cast<T>(rng.uniform(low, high));
}
template <class T> void normal(View<T> weight, double mean, double deviation, Rng& rng) {
  for (T& entry : weight) entry = static_cast<T>(mean + deviation * rng.normal());
}
template <class T> void constant(View<T> weight, double value) {
  for (T& entry : weight) entry = static_cast<T>(value);
}
template <class T> void kaiming_uniform(View<T> weight, double gain, Fan fan, Rng& rng) {
  const double bound = gain * root(3, fan_of(weight.shape(), fan));
  uniform(weight, -bound, bound, rng);
}
template <class T> void kaiming_normal(View<T> weight, double gain, Fan fan, Rng& rng) {
  normal(weight, 0, gain * root(1, fan_of(weight.shape(), fan)), rng);
}
template <class T> void xavier_uniform(View<T> weight, double gain, Rng& rng) {
  const double bound = gain * root(6, both(weight.shape()));
  uniform(weight, -bound, bound, rng);
}
template <class T> void xavier_normal(View<T> weight, double gain, Rng& rng) {
  normal(weight, 0, gain * root(2, both(weight.shape())), rng);
}

#define TAPER_INSTANTIATE(T)                                 \
  template void uniform(View<T>, double, double, Rng&);      \
  template void normal(View<T>, double, double, Rng&);       \
  template void constant(View<T>, double);                   \
  template void kaiming_uniform(View<T>, double, Fan, Rng&); \
  template void kaiming_normal(View<T>, double, Fan, Rng&);  \
  template void xavier_uniform(View<T>, double, Rng&);       \
  template void xavier_normal(View<T>, double, Rng&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::nn::init

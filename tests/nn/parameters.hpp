#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <taper/nn/parameter.hpp>

#include "../autodiff/random_tensors.hpp"

/// A parameter with these numbers.
template <class T> taper::nn::Parameter<T> filled(const taper::Tensor<T>& value) {
  taper::nn::Parameter<T> parameter(value.shape());
  std::copy(value.begin(), value.end(), parameter.value().begin());
  return parameter;
}

template <class T> bool equal(taper::View<const T> a, const taper::Tensor<T>& b) {
  return same_bits<const T, const T>(a, b);
}

/// A parameter that stays positive.
struct Positive : taper::nn::Parametrization<double> {
  std::vector<std::string> factor_names() const override { return {"log"}; }
  std::vector<taper::Tensor<double>> decompose(taper::View<const double> value) const override {
    taper::Tensor<double> log(value);
    for (double& entry : log) entry = std::log(entry);
    return {log};
  }
  taper::Var<double> compute(std::span<const taper::Var<double>> factors) const override {
    return exp(factors[0]);
  }
};

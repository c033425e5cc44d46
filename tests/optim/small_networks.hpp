#pragma once

#include <algorithm>
#include <cmath>

#include <taper/data/dataset.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>

#include "../autodiff/random_tensors.hpp"

/// Small networks, and what they are trained on.
namespace taper {

/// A smooth function of the first inputs with a little noise.
template <class T> data::Dataset<T> regression(Index rows, Index inputs, Index outputs = 1) {
  data::Dataset<T> set{normal_tensor<T>({rows, inputs}, 1), Tensor<T>({rows, outputs}), {}, {}};
  Rng rng(2);
  for (Index i = 0; i < rows; ++i) {
    const T* const x = set.x.data() + i * inputs;
    for (Index k = 0; k < outputs; ++k) {
      set.y[i * outputs + k] = static_cast<T>(std::sin(static_cast<double>(x[0]) + static_cast<double>(k)) +
                                              0.5 * static_cast<double>(x[1]) + 0.1 * rng.normal());
    }
  }
  return set;
}

template <class T> data::Dataset<T> classes(Index rows, Index inputs, Index count) {
  data::Dataset<T> set{normal_tensor<T>({rows, inputs}, 3), Tensor<T>({rows, 1}), {}, {}};
  Rng rng(4);
  for (Index i = 0; i < rows; ++i) {
    const double score =
        1.5 * static_cast<double>(set.x[i * inputs]) + rng.normal() + 0.5 * static_cast<double>(count - 1);
    set.y[i] = static_cast<T>(std::clamp(std::floor(score), 0.0, static_cast<double>(count - 1)));
  }
  return set;
}

template <class T>
nn::Sequential<T> network(Index inputs, Index width, Index outputs, std::uint64_t seed = 1) {
  manual_seed(seed);
  return nn::Sequential<T>(nn::Linear(inputs, width), nn::Tanh(), nn::Linear(width, outputs));
}

}  // namespace taper

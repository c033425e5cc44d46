#pragma once

#include <string>
#include <utility>
#include <vector>

#include <taper/nn/graph.hpp>

namespace taper::nn {

/// What a model records, free of the number of rows, without copies of its parameters and buffers. Values
/// count these in the order in which the model names them, and the constants of its code as further buffers.
template <class T> struct Traced {
  typename Graph<T>::Program evaluation, training;
  std::vector<std::pair<std::string, Buffer<T>>> constants;  // "constant0" and so on
};

/// See Graph::trace, which throws Error like this. Training is left out unless `with_training`.
template <class T>
Traced<T> traced(const Module<T>& model, const std::vector<Shape>& inputs, bool with_training);

}  // namespace taper::nn

#pragma once

#include <vector>

#include <taper/nn/module.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/group.hpp>

namespace taper::sparsity {

/// For an optimizer whose weight_decay is the penalty on factors: groups of all other entries, with `decay`.
template <class T> std::vector<optim::Group> beside_factors(nn::Module<T>& model, double decay) {
  std::vector<optim::Group> groups;
  for (const auto& entry : model.parameters().entries()) {
    if (entry.factor_of == nullptr) groups.push_back({entry.name, {}, decay});
  }
  return groups;
}

/// Adam with the penalty on factors alone; without factors, with none.
template <class T> optim::AdamOptions penalized_adam(nn::Module<T>& model, double lr, double alpha) {
  return {.lr = lr, .weight_decay = alpha, .groups = beside_factors(model, 0)};
}

}  // namespace taper::sparsity

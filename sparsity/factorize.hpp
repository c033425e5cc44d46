#pragma once

#include <string>

#include <taper/nn/module.hpp>

namespace taper::sparsity {

using Groups = nn::Groups;

/// Replaces every parameter whose name matches the pattern ("*" stands for anything) by a Hadamard product
/// with gates shared within `groups`. The weight keeps its value and all gates are 1. Coupled weight decay
/// alpha on both factors then induces the penalty alpha * sum over groups of ||group||_2 at the balanced
/// point (see nn::Hadamard); its minimizers are sparse. Returns how many parameters were factorized; throws
/// Error when none matches or one that matches is factorized already.
template <class T> Index factorize(nn::Module<T>& model, Groups groups, const std::string& match = "*weight");

/// Computes every factorized parameter and keeps the value in place of the factors.
template <class T> void collapse(nn::Module<T>& model);

/// What weight decay on factors amounts to.
struct Penalty {
  /// alpha / 2 * sum of the squared norms of the factors: what is added to the loss.
  double decay = 0;
  /// alpha * sum over groups of ||group||_2: the least decay that any factors of the same weights have,
  /// reached when ||u|| = |v| in every group.
  double induced = 0;
};

/// Both for the factorized parameters of a model under coupled weight decay alpha, which is the optimizers'
/// `weight_decay`.
template <class T> Penalty effective_penalty(nn::Module<T>& model, double alpha);

#define TAPER_EXTERN(T)                                                        \
  extern template Index factorize(nn::Module<T>&, Groups, const std::string&); \
  extern template void collapse(nn::Module<T>&);                               \
  extern template Penalty effective_penalty(nn::Module<T>&, double);
TAPER_EXTERN(float)
TAPER_EXTERN(double)
#undef TAPER_EXTERN

}  // namespace taper::sparsity

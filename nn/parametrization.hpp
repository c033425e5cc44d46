#pragma once

#include <memory>
#include <string>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/nn/mask.hpp>

namespace taper::nn {

/// A factor as a parametrization sees it when masks are concerned.
template <class T> struct MaskedFactor {
  View<const T> value;
  Mask mask;
};

/// A differentiable map that computes a parameter from others, its factors. Attached to a parameter, the
/// factors are what is trained, and everything that reads the parameter sees the computed value.
template <class T> class Parametrization {
 public:
  virtual ~Parametrization() = default;
  /// What the factors are called, in order; a parameter "weight" then has "weight.u", for example.
  virtual std::vector<std::string> factor_names() const = 0;
  /// Factors that compute to this value, or to the closest one there is.
  virtual std::vector<Tensor<T>> decompose(View<const T> value) const = 0;
  /// The parameter, recorded from its factors.
  virtual Var<T> compute(std::span<const Var<T>> factors) const = 0;

  /// For each factor, which of its entries any of the given ones (the free entries of `entries`) depends on.
  /// By default every entry depends on every factor.
  virtual std::vector<Mask> feeding(const Mask& entries, std::span<const Shape> factors) const;
  /// Which entries of the computed value can still move. By default all or none.
  virtual Mask moving(const Shape& shape, std::span<const MaskedFactor<T>> factors) const;
};

/// The point softmax(z) of the probability simplex, along the last axis.
template <class T> class Simplex : public Parametrization<T> {
 public:
  std::vector<std::string> factor_names() const override { return {"z"}; }
  /// z = log(value); throws Error for an entry that is not positive.
  std::vector<Tensor<T>> decompose(View<const T> value) const override;
  Var<T> compute(std::span<const Var<T>> factors) const override { return softmax(factors[0]); }
};

/// How the entries of a weight are tied together by a Hadamard factorization.
enum class Groups {
  elements,  ///< every entry by itself: W = U * V
  inputs,    ///< a column, all that leaves one input: W = U diag(v)
  outputs,   ///< a row, all that enters one output: W = diag(v) U
};

/// The Hadamard product W = U * V of a weight with gates that are shared within groups. Weight decay on both
/// factors is then an L1 penalty on the entries, or a group lasso on the groups (Hoff, "Lasso, fractional
/// norm and structured sparse estimation using a Hadamard product parametrization", 2017, section 2; Ziyin
/// and Wang, "spred: Solving L1 penalty with SGD", 2023, theorem 1).
template <class T> class Hadamard : public Parametrization<T> {
 public:
  explicit Hadamard(Groups groups) : groups_(groups) {}

  Groups groups() const { return groups_; }
  std::vector<std::string> factor_names() const override { return {"u", "v"}; }
  /// U is the value and all gates are 1.
  std::vector<Tensor<T>> decompose(View<const T> value) const override;
  Var<T> compute(std::span<const Var<T>> factors) const override { return mul(factors[0], factors[1]); }
  /// An entry depends on its own entry of U and on the gate of its group.
  std::vector<Mask> feeding(const Mask& entries, std::span<const Shape> factors) const override;
  /// A product stands still when both factors are frozen, or one is frozen at zero.
  Mask moving(const Shape& shape, std::span<const MaskedFactor<T>> factors) const override;

 private:
  /// The gate of an entry.
  Index gate(const Shape& shape, Index entry) const;

  Groups groups_;
};

extern template class Parametrization<float>;
extern template class Parametrization<double>;

extern template class Simplex<float>;
extern template class Simplex<double>;
extern template class Hadamard<float>;
extern template class Hadamard<double>;

}  // namespace taper::nn

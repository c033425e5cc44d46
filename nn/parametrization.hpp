#pragma once

#include <memory>
#include <string>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/structure.hpp>
#include <taper/nn/groups.hpp>
#include <taper/nn/mask.hpp>

namespace taper::nn {

/// No parametrization has more factors than this.
inline constexpr std::size_t max_factors = 8;

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
  virtual std::vector<Mask> factor_entries_of(const Mask& entries, std::span<const Shape> factors) const;
  /// Which entries of the computed value can still move. By default all or none.
  virtual Mask trainable_entries(const Shape& shape, std::span<const MaskedFactor<T>> factors) const;

  /// Whether the parametrization of a part of the value is known, which `cut` gives: for the indices of each
  /// axis that are kept of a value of this shape. By default not, and cut gives null.
  virtual bool can_be_cut() const { return false; }
  virtual std::shared_ptr<const Parametrization> cut(const Shape&, const KeptAxes&) const { return nullptr; }
};

/// The point softmax(z) of the probability simplex, along the last axis.
template <class T> class Simplex : public Parametrization<T> {
 public:
  std::vector<std::string> factor_names() const override { return {"z"}; }
  /// z = log(value); throws Error for an entry that is not positive.
  std::vector<Tensor<T>> decompose(View<const T> value) const override;
  Var<T> compute(std::span<const Var<T>> factors) const override { return softmax(factors[0]); }
};

/// The Hadamard product W_g = U_g v_1g ... v_(D-1)g / c_g of a weight in groups g: a factor U of the full
/// size and D - 1 gates for each group, in the shape Groups::gates. For a matrix that is W = U * V of
/// elements, W = U diag(v) of inputs, W = diag(v) U of outputs. D is the depth. Weight decay alpha on all
/// factors, alpha/2 of the sum of their squares, is then a penalty on W that leads to exact zeros: by the
/// inequality of the arithmetic and the geometric mean of ||U_g||^2, v_1g^2, ... whose product is c_g^2
/// ||W_g||^2,
///
///     alpha/2 (||U_g||^2 + sum_d v_dg^2) >= D alpha/2 (c_g ||W_g||)^(2/D),
///
/// with equality where the factors are balanced, ||U_g|| = |v_1g| = ... With c_g = weight_g^(D/2) the least
/// decay is D alpha/2 * sum_g weight_g ||W_g||^(2/D): L1 or the group lasso for D = 2, concave for deeper
/// products, for which zero is always a local minimum.
///
/// Hoff, "Lasso, fractional norm and structured sparse estimation using a Hadamard product parametrization",
/// 2017, section 2; Ziyin and Wang, "spred: Solving L1 penalty with SGD", 2023, theorem 1, for D = 2; Kolb,
/// Weber, Bischl and Ruegamer, "Deep weight factorization: sparse learning through the lens of artificial
/// symmetries", 2025, for D > 2.
template <class T> class Hadamard : public Parametrization<T> {
 public:
  /// Without weights all are 1; otherwise there is one for each group. Throws Error for a depth below 2 or
  /// above max_factors, and for a weight that is not positive and finite.
  explicit Hadamard(Groups groups, Index depth = 2, std::vector<double> weights = {});

  const Groups& groups() const { return groups_; }
  /// The number of factors, U and the gates.
  Index depth() const { return depth_; }
  /// By how much the penalty of a group is multiplied. Throws Error where there are weights, and none for it.
  double weight(Index group) const;
  /// How many groups there are in a parameter of this shape. Throws Error for a shape without their axis, and
  /// for another number of weights.
  Index group_count(const Shape& shape) const;

  /// "u" and "v", or for deeper products "u", "v1", "v2" and so on.
  std::vector<std::string> factor_names() const override;
  /// U is the value, to the bit, and the gates make up for the weights: v_dg = c_g^(1 / (D - 1)), which is 1
  /// for weights of 1.
  std::vector<Tensor<T>> decompose(View<const T> value) const override;
  Var<T> compute(std::span<const Var<T>> factors) const override;
  /// An entry depends on its own entry of U and on the gates of its group.
  std::vector<Mask> factor_entries_of(const Mask& entries, std::span<const Shape> factors) const override;
  /// A product stands still when all its factors are frozen, or one is frozen at zero.
  Mask trainable_entries(const Shape& shape, std::span<const MaskedFactor<T>> factors) const override;
  bool can_be_cut() const override { return true; }
  /// The groups that are kept, with their weights.
  std::shared_ptr<const Parametrization<T>> cut(const Shape& shape, const KeptAxes& kept) const override;

 private:
  Groups groups_;
  Index depth_;
  std::vector<double> weights_;  // of the groups; none when all are 1
  std::vector<T> units_;         // c_g^(1 / (D - 1)), the gate that stands for 1; none when all are 1
};

}  // namespace taper::nn

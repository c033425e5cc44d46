#include <doctest/doctest.h>
#include <taper/autodiff/kernels/attention.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "../random_tensors.hpp"
#include "targets.hpp"

using taper::Index;
using taper::Rng;
using taper::Shape;
using taper::Tensor;
namespace kernels = taper::kernels;
using kernels::AttentionMask;

namespace {

struct AttentionTestSizes {
  Index batches, heads, queries, keys, width, value_width;
};

/// One attention, and three loops in double beside it.
template <class T> struct AttentionCase {
  AttentionTestSizes s;
  kernels::Attention<T> of{};
  Tensor<T> q, k, v, gy, mask, factors;

  AttentionCase(Rng& rng, const AttentionTestSizes& sizes, AttentionMask kind, bool causal, bool dropped)
      : s(sizes),
        q(random_tensor<T>(rng, {s.batches, s.queries, s.heads * s.width})),
        k(random_tensor<T>(rng, {s.batches, s.keys, s.heads * s.width})),
        v(random_tensor<T>(rng, {s.batches, s.keys, s.heads * s.value_width})),
        gy(random_tensor<T>(rng, {s.batches, s.queries, s.heads * s.value_width})),
        mask(random_tensor<T>(rng, {s.heads, s.queries, s.keys})),
        factors({s.batches, s.heads, s.queries, s.keys}) {
    of.batches = s.batches, of.heads = s.heads, of.queries = s.queries, of.keys = s.keys;
    of.width = s.width, of.value_width = s.value_width;
    of.scale = T(0.6);
    of.causal = causal;
    of.kind = kind;
    if (kind != AttentionMask::none && kind != AttentionMask::added) {
      for (T& entry : mask) entry = static_cast<T>(rng.below(3) / 2);
    }
    of.mask = mask.data();
    of.group = s.heads;
    of.apart = {0, s.queries * s.keys, s.keys, 1};
    for (T& factor : factors) factor = rng.below(3) == 0 ? T{0} : T(1.5);
    if (dropped) of.factors = factors.data();
  }

  Index in(const Tensor<T>& x, Index b, Index row, Index h, Index c) const {
    return (b * x.shape()[1] + row) * x.shape()[2] + h * (x.shape()[2] / s.heads) + c;
  }
  double number(const Tensor<T>& x, Index b, Index row, Index h, Index c) const {
    return static_cast<double>(x[in(x, b, row, h, c)]);
  }

  struct Results {
    Tensor<double> y, gq, gk, gv, scores;
  };
  Results expected() const {
    Results r{Tensor<double>(gy.shape()), Tensor<double>(q.shape()), Tensor<double>(k.shape()),
              Tensor<double>(v.shape()), Tensor<double>(factors.shape())};
    for (Index b = 0; b < s.batches; ++b) {
      for (Index h = 0; h < s.heads; ++h) {
        for (Index i = 0; i < s.queries; ++i) row(r, b, h, i);
      }
    }
    return r;
  }
  void row(Results& r, Index b, Index h, Index i) const {
    const double nothing = -std::numeric_limits<double>::infinity();
    std::vector<double> weights, gradients;
    double most = nothing, total = 0, common = 0;
    for (Index j = 0; j < s.keys; ++j) {
      double score = 0;
      for (Index c = 0; c < s.width; ++c) score += number(q, b, i, h, c) * number(k, b, j, h, c);
      score *= 0.6;
      const double m = static_cast<double>(mask[(h * s.queries + i) * s.keys + j]);
      if (of.kind == AttentionMask::added) score += m;
      if (of.kind == AttentionMask::allowed && m == 0) score = nothing;
      if (of.kind == AttentionMask::ignored && m != 0) score = nothing;
      if (of.causal && j > i) score = nothing;
      weights.push_back(score);
      most = std::max(most, score);
    }
    if (most == nothing) return;
    for (double& weight : weights) total += weight = std::exp(weight - most);
    const auto place = [&](Index j) { return ((b * s.heads + h) * s.queries + i) * s.keys + j; };
    for (Index j = 0; j < s.keys; ++j) {
      double& weight = weights[static_cast<std::size_t>(j)];
      weight /= total;
      const double factor = of.factors == nullptr ? 1 : static_cast<double>(factors[place(j)]);
      double g = 0;
      for (Index c = 0; c < s.value_width; ++c) {
        r.y[in(gy, b, i, h, c)] += weight * factor * number(v, b, j, h, c);
        r.gv[in(v, b, j, h, c)] += weight * factor * number(gy, b, i, h, c);
        g += factor * number(gy, b, i, h, c) * number(v, b, j, h, c);
      }
      gradients.push_back(g);
      common += g * weight;
    }
    for (Index j = 0; j < s.keys; ++j) {
      const double g =
          weights[static_cast<std::size_t>(j)] * (gradients[static_cast<std::size_t>(j)] - common);
      r.scores[place(j)] = g;
      for (Index c = 0; c < s.width; ++c) {
        r.gq[in(q, b, i, h, c)] += 0.6 * g * number(k, b, j, h, c);
        r.gk[in(k, b, j, h, c)] += 0.6 * g * number(q, b, i, h, c);
      }
    }
  }
};

template <class T> Tensor<T> filled_with(const Shape& shape, double value) {
  Tensor<T> x(shape);
  for (T& entry : x) entry = static_cast<T>(value);
  return x;
}

template <class T> void check_attention(const AttentionCase<T>& one, bool add) {
  const typename AttentionCase<T>::Results expected = one.expected();
  const double most = sizeof(T) == 4 ? 1e-4 : 1e-12;
  // What is stored does not depend on what was there; what is added does.
  const double before = add ? 2 : std::numeric_limits<double>::quiet_NaN();
  Tensor<T> y = filled_with<T>(one.gy.shape(), NAN), weights = filled_with<T>(one.factors.shape(), NAN);
  Tensor<T> gq = filled_with<T>(one.q.shape(), before), gk = filled_with<T>(one.k.shape(), before),
            gv = filled_with<T>(one.v.shape(), before), scores = filled_with<T>(one.factors.shape(), NAN);
  kernels::attention<T>(one.of, one.q.data(), one.k.data(), one.v.data(), weights.data(), y.data());
  kernels::attention_gradient<T>(one.of, one.q.data(), one.k.data(), one.v.data(), weights.data(),
                                 one.gy.data(),
                                 {gq.data(), gk.data(), gv.data(), add, add, add, scores.data()});
  const auto close = [&](const Tensor<T>& ours, Tensor<double> theirs, bool adds) {
    for (double& entry : theirs) entry += adds ? 2 : 0;
    CHECK(apart(ours.view(), theirs.view()) < most);
  };
  close(y, expected.y, false);
  close(gq, expected.gq, add);
  close(gk, expected.gk, add);
  close(gv, expected.gv, add);
  close(scores, expected.scores, false);
  // One at a time.
  Tensor<T> alone = filled_with<T>(one.k.shape(), before);
  kernels::attention_gradient<T>(one.of, one.q.data(), one.k.data(), one.v.data(), weights.data(),
                                 one.gy.data(), {nullptr, alone.data(), nullptr, add, add, add, nullptr});
  CHECK(same_bits(alone.view(), gk.view()));
}

}  // namespace

TEST_CASE_TEMPLATE("attention: values and gradients of loops in double, for all masks", T, float, double) {
  for_each_target([](const char*) {
    Rng rng(1);
    for (const AttentionTestSizes& sizes :
         {AttentionTestSizes{1, 1, 1, 1, 1, 1}, AttentionTestSizes{2, 3, 5, 7, 3, 2},
          AttentionTestSizes{1, 2, 17, 33, 16, 17}, AttentionTestSizes{2, 1, 65, 66, 4, 5},
          AttentionTestSizes{1, 1, 130, 40, 2, 3}, AttentionTestSizes{2, 2, 0, 3, 2, 2},
          AttentionTestSizes{2, 2, 3, 0, 2, 2}, AttentionTestSizes{1, 2, 4, 4, 0, 2}}) {
      CAPTURE(sizes.queries);
      CAPTURE(sizes.keys);
      for (const AttentionMask kind :
           {AttentionMask::none, AttentionMask::added, AttentionMask::allowed, AttentionMask::ignored}) {
        CAPTURE(static_cast<int>(kind));
        for (const int how : {0, 1, 2, 3}) {
          CAPTURE(how);
          check_attention(AttentionCase<T>(rng, sizes, kind, how % 2 == 1, how / 2 == 1), how == 2);
        }
      }
    }
  });
}

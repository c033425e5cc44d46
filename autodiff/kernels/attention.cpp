#include <algorithm>
#include <cmath>

#include <taper/autodiff/kernels/attention.hpp>
#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/kernels/workspace.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_ATTENTION_TABLE  // once, before the targets
#define TAPER_ATTENTION_TABLE
namespace taper::kernels {
/// What is done to one row of scores.
template <class T> struct AttentionTable {
  void (*weights)(Index n, T scale, AttentionMask kind, const T* mask, Index mask_step, T* x);
  void (*gradient)(Index n, T scale, const T* weights, const T* factors, T* g, T* scores);
  void (*multiply)(Index n, const T* a, const T* b, T* y);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/attention.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/math-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// A row of the softmax of scale x + mask, in place: zero where no entry is above minus infinity.
template <class T>
void attention_weights(Index n, T scale, AttentionMask kind, const T* mask, Index mask_step, T* x) {
  const Tag<T> d;
  const Vector<T> factor = hn::Set(d, scale), zero = hn::Zero(d), none = hn::Neg(infinity<T>());
  Vector<T> most = none;
  const auto scores = [&](Index i, Index count) HWY_ATTR {
    Vector<T> v = hn::Mul(factor, load_upto<T>(x + i, count));
    if (kind != AttentionMask::none) {
      const Vector<T> m = mask_step == 0 ? hn::Set(d, *mask) : load_upto<T>(mask + i, count);
      if (kind == AttentionMask::added) v = hn::IfThenElse(hn::Eq(m, none), none, hn::Add(v, m));
      if (kind == AttentionMask::allowed) v = hn::IfThenElse(hn::Eq(m, zero), none, v);
      if (kind == AttentionMask::ignored) v = hn::IfThenElse(hn::Eq(m, zero), v, none);
    }
    store_upto<T>(v, x + i, count);
    return v;
  };
  const Index step = lanes<T>(), whole = n / step * step;
  for (Index i = 0; i < whole; i += step) most = larger<T>(most, scores(i, step));
  if (whole < n) {
    const auto there = hn::FirstN(d, static_cast<std::size_t>(n - whole));
    most = larger<T>(most, hn::IfThenElse(there, scores(whole, n - whole), none));
  }
  const T largest = hn::AllFalse(d, hn::IsNaN(most)) ? hn::GetLane(hn::MaxOfLanes(d, most))
                                                     : std::numeric_limits<T>::quiet_NaN();
  if (largest == -std::numeric_limits<T>::infinity()) {
    std::fill_n(x, n, T{0});
    return;
  }
  // Nothing is subtracted from infinite ones, as in a softmax.
  const Vector<T> shift = hn::Set(d, std::isinf(largest) ? T{0} : largest);
  const Vector<T> sums = sum_vectors<T>(n, [&](Vector<T> sum, Index i, Index count) HWY_ATTR {
    const Vector<T> v = exp<T>(hn::Sub(load_upto<T>(x + i, count), shift));
    store_upto<T>(v, x + i, count);
    return hn::Add(sum, count == step ? v : only<T>(v, count));
  });
  const Vector<T> share = hn::Set(d, T{1} / hn::GetLane(hn::SumOfLanes(d, sums)));
  for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
    store_upto<T>(hn::Mul(share, load_upto<T>(x + i, count)), x + i, count);
  });
}

/// From the gradient g of a row of weights, in place, scale times that of the scores; without the scale it
/// goes to `scores`, too, unless that is null.
template <class T>
void attention_row_gradient(Index n, T scale, const T* weights, const T* factors, T* g, T* scores) {
  const Tag<T> d;
  const auto of_weight = [&](Index i, Index count) HWY_ATTR {
    const Vector<T> v = load_upto<T>(g + i, count);
    return factors == nullptr ? v : hn::Mul(v, load_upto<T>(factors + i, count));
  };
  const Vector<T> total = sum_vectors<T>(n, [&](Vector<T> sum, Index i, Index count) HWY_ATTR {
    return hn::Add(sum, only<T>(hn::Mul(of_weight(i, count), load_upto<T>(weights + i, count)), count));
  });
  const Vector<T> common = hn::SumOfLanes(d, total), factor = hn::Set(d, scale);
  for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
    const Vector<T> s = hn::Mul(load_upto<T>(weights + i, count), hn::Sub(of_weight(i, count), common));
    store_upto<T>(hn::Mul(factor, s), g + i, count);
    if (scores != nullptr) store_upto<T>(s, scores + i, count);
  });
}

template <class T> void multiply_row(Index n, const T* a, const T* b, T* y) {
  for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
    store_upto<T>(hn::Mul(load_upto<T>(a + i, count), load_upto<T>(b + i, count)), y + i, count);
  });
}

TAPER_KERNELS(AttentionTable, &attention_weights<T>, &attention_row_gradient<T>, &multiply_row<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(AttentionTable)

namespace {

/// Queries are taken so many at a time: their scores stay in cache, and with a causal mask the keys that none
/// of them sees are left out.
constexpr Index query_block = 64;
// Pieces for threads are at least about this many multiply-adds.
constexpr double piece_products = 1 << 19;

/// One block of queries of one head.
template <class T> struct AttentionBlock {
  const Attention<T>& of;
  Index batch, head, first, rows;
  Index keys;  // that some of them see

  AttentionBlock(const Attention<T>& a, Index pair, Index block)
      : of(a),
        batch(pair / a.heads),
        head(pair % a.heads),
        first(block * query_block),
        rows(std::min(query_block, a.queries - first)),
        keys(a.causal ? std::min(a.keys, first + rows) : a.keys) {}

  /// How many keys a row of the block sees, but for a mask.
  Index seen(Index row) const { return of.causal ? std::min(of.keys, first + row + 1) : of.keys; }
  /// Rows of a tensor that has `width` columns for each head, from this one on.
  Index place(Index length, Index width, Index row) const {
    return ((batch * length + row) * of.heads + head) * width;
  }
  MatrixRef<T> matrix(const T* x, Index length, Index width, Index row) const {
    return {x + place(length, width, row), of.heads * width, 1};
  }
  MatrixRef<T> queries(const T* q) const { return matrix(q, of.queries, of.width, first); }
  MatrixRef<T> all_keys(const T* k) const { return matrix(k, of.keys, of.width, 0); }
  MatrixRef<T> values(const T* v) const { return matrix(v, of.keys, of.value_width, 0); }
  MatrixRef<T> results(const T* y) const { return matrix(y, of.queries, of.value_width, first); }
  /// Where the scores of the block begin, in rows of of.keys.
  Index scores() const { return ((batch * of.heads + head) * of.queries + first) * of.keys; }
  const T* mask(Index row) const {
    if (of.kind == AttentionMask::none) return nullptr;
    const Index pair = batch * of.heads + head;
    return of.mask + pair / of.group * of.apart[0] + pair % of.group * of.apart[1] +
           (first + row) * of.apart[2];
  }
};

template <class T> MatrixRef<T> turned(MatrixRef<T> x) {
  return {x.data, x.column, x.row};
}

template <class T> Index blocks_of(const Attention<T>& of) {
  return (of.queries + query_block - 1) / query_block;
}

/// Calls f(i) for `count` like parts of an attention, each with so many queries, perhaps on several threads.
template <class T, class F> void for_parts(const Attention<T>& of, Index count, Index queries, const F& f) {
  // An entry of the softmax costs about as much as 16 multiply-adds, and a row of it as much as 128.
  const double row = static_cast<double>(of.keys) * static_cast<double>(of.width + of.value_width + 16) + 128;
  const double work = static_cast<double>(queries) * row;
  const Index piece = std::max<Index>(1, static_cast<Index>(piece_products / std::max(work, row)));
  for_pieces(
      count, piece,
      [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) f(i);
      },
      2 * piece);
}

/// The products of a block once more, of weights that are not zero alone.
template <class T>
void leave_out_unseen(const AttentionBlock<T>& block, MatrixRef<T> weights, MatrixRef<T> values, T* y) {
  for (Index i = 0; i < block.rows; ++i) {
    T* const row = y + i * values.row;
    std::fill_n(row, block.of.value_width, T{0});
    for (Index j = 0; j < block.keys; ++j) {
      const T weight = weights.data[i * weights.row + j];
      if (weight == 0) continue;
      for (Index c = 0; c < block.of.value_width; ++c) row[c] += weight * values.data[j * values.row + c];
    }
  }
}

}  // namespace

template <class T>
void attention(const Attention<T>& of, const T* q, const T* k, const T* v, T* weights, T* y) {
  const Index blocks = blocks_of(of), columns = of.heads * of.value_width;
  const auto attend = [&](Index piece) {
    const AttentionBlock<T> block(of, piece / blocks, piece % blocks);
    T* const scores = weights + block.scores();
    gemm_alone<T>(block.rows, block.keys, of.width, block.queries(q), turned(block.all_keys(k)), scores,
                  of.keys, false);
    for (Index i = 0; i < block.rows; ++i) {
      const Index seen = block.seen(i);
      best<T>().weights(seen, of.scale, of.kind, block.mask(i), of.apart[3], scores + i * of.keys);
      std::fill(scores + i * of.keys + seen, scores + i * of.keys + block.keys, T{0});
    }
    MatrixRef<T> used{scores, of.keys, 1};
    if (of.factors != nullptr) {
      T* const kept = workspace<T, Use::attention>(2 * query_block * of.keys);
      for (Index i = 0; i < block.rows; ++i) {
        best<T>().multiply(block.keys, scores + i * of.keys, of.factors + block.scores() + i * of.keys,
                           kept + i * of.keys);
      }
      used.data = kept;
    }
    T* const result = y + block.place(of.queries, of.value_width, block.first);
    gemm_alone<T>(block.rows, of.value_width, block.keys, used, block.values(v), result, columns, false);
    // A value that is not finite is in every row, as zero times it is not zero: the first one shows it.
    if (std::any_of(result, result + of.value_width, [](T x) { return !std::isfinite(x); }))
      leave_out_unseen(block, used, block.values(v), result);
  };
  for_parts(of, of.batches * of.heads * blocks, std::min(query_block, of.queries), attend);
}

template <class T>
void attention_gradient(const Attention<T>& of, const T* q, const T* k, const T* v, const T* weights,
                        const T* gy, const AttentionGradients<T>& to) {
  const Index blocks = blocks_of(of), columns = of.heads * of.width,
              value_columns = of.heads * of.value_width;
  /// Zeros for the keys from `first` on, which no query has.
  const auto clear = [&](T* g, Index width, const AttentionBlock<T>& block, Index first) {
    for (Index j = first; j < of.keys; ++j) std::fill_n(g + block.place(of.keys, width, j), width, T{0});
  };
  const auto go_back = [&](Index pair) {
    T* const g = workspace<T, Use::attention>(2 * query_block * of.keys);
    T* const kept = g + query_block * of.keys;
    bool add_q = to.add_q, add_k = to.add_k, add_v = to.add_v;
    if (to.q != nullptr && !add_q && (to.q == to.k || to.q == to.v)) {  // all of them is added to
      const AttentionBlock<T> any(of, pair, 0);
      for (Index i = 0; i < of.queries; ++i)
        std::fill_n(to.q + any.place(of.queries, of.width, i), of.width, T{0});
      add_q = true;
    }
    // The last block first: with a causal mask it sees the most keys.
    for (Index piece = blocks - 1; piece >= 0; --piece) {
      const AttentionBlock<T> block(of, pair, piece);
      const T* const w = weights + block.scores();
      const T* const factors = of.factors == nullptr ? nullptr : of.factors + block.scores();
      const auto row = [&](const T* x, Index i) { return x == nullptr ? nullptr : x + i * of.keys; };
      if (to.q != nullptr || to.k != nullptr || to.scores != nullptr) {
        gemm_alone<T>(block.rows, block.keys, of.value_width, block.results(gy), turned(block.values(v)), g,
                      of.keys, false);
        for (Index i = 0; i < block.rows; ++i) {
          T* const scores = to.scores == nullptr ? nullptr : to.scores + block.scores() + i * of.keys;
          best<T>().gradient(block.keys, of.scale, row(w, i), row(factors, i), g + i * of.keys, scores);
          if (scores != nullptr) std::fill(scores + block.keys, scores + of.keys, T{0});
        }
      }
      const MatrixRef<T> of_scores{g, of.keys, 1};
      if (to.q != nullptr) {
        gemm_alone<T>(block.rows, of.width, block.keys, of_scores, block.all_keys(k),
                      to.q + block.place(of.queries, of.width, block.first), columns, add_q);
      }
      if (to.k != nullptr) {
        if (!add_k) clear(to.k, of.width, block, block.keys);
        gemm_alone<T>(block.keys, of.width, block.rows, turned(of_scores), block.queries(q),
                      to.k + block.place(of.keys, of.width, 0), columns, add_k);
        add_k = true;
      }
      if (to.v != nullptr) {
        MatrixRef<T> used{w, of.keys, 1};
        if (factors != nullptr) {
          for (Index i = 0; i < block.rows; ++i)
            best<T>().multiply(block.keys, row(w, i), row(factors, i), kept + i * of.keys);
          used.data = kept;
        }
        if (!add_v) clear(to.v, of.value_width, block, block.keys);
        gemm_alone<T>(block.keys, of.value_width, block.rows, turned(used), block.results(gy),
                      to.v + block.place(of.keys, of.value_width, 0), value_columns, add_v);
        add_v = true;
      }
    }
    if (blocks > 0) return;
    const AttentionBlock<T> none(of, pair, 0);
    if (to.k != nullptr && !add_k) clear(to.k, of.width, none, 0);
    if (to.v != nullptr && !add_v) clear(to.v, of.value_width, none, 0);
  };
  for_parts(of, of.batches * of.heads, 2 * of.queries, go_back);
}

#define TAPER_INSTANTIATE(T)                                                                              \
  template void attention(const Attention<T>&, const T*, const T*, const T*, T*, T*);                     \
  template void attention_gradient(const Attention<T>&, const T*, const T*, const T*, const T*, const T*, \
                                   const AttentionGradients<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif

#include <taper/autodiff/kernels/gemm.hpp>

#include <hwy/aligned_allocator.h>

#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/gemm.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

// The register tile is `tile_rows` x two vectors: 24 accumulators of 32 registers, or 12 of 16.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr Index tile_rows = 12;
#else
constexpr Index tile_rows = 6;
#endif
template <class T> constexpr Index tile_columns = 2 * static_cast<Index>(hn::MaxLanes(Tag<T>()));

// How much of the inner dimension one packed panel holds: a panel of B then fits the first-level cache.
constexpr Index block_inner = 256;
// How many rows one thread takes at a time.
constexpr Index block_rows = 96;
// Products smaller than this are done by the caller's thread alone: about 20 microseconds' worth.
constexpr double parallel_products = 1 << 20;

/// A tile of C in registers: R rows of `vectors` vectors, over `k` inner steps. `b` is a packed panel, or
/// rows of B itself, `ldb` apart.
template <class T, Index R, Index vectors>
HWY_INLINE void tile(Index k, const T* a, Index a_row, Index a_inner, const T* b, Index ldb, T* c, Index ldc,
                     Index columns, bool add, const T* bias) {
  const Tag<T> d;
  const Index step = lanes<T>();
  const bool whole = columns == vectors * step;
  Vector<T> sums[R][vectors];
  for (Index j = 0; j < vectors; ++j) {
    const Index some = std::max<Index>(0, std::min(step, columns - j * step));
    for (Index i = 0; i < R; ++i) {
      if (add) {
        sums[i][j] = whole ? load<T>(c + i * ldc + j * step) : load_some<T>(c + i * ldc + j * step, some);
      } else if (bias != nullptr) {
        sums[i][j] = whole ? load<T>(bias + j * step) : load_some<T>(bias + j * step, some);
      } else {
        sums[i][j] = hn::Zero(d);
      }
    }
  }
  for (Index p = 0; p < k; ++p) {
    Vector<T> right[vectors];
    for (Index j = 0; j < vectors; ++j) right[j] = load<T>(b + p * ldb + j * step);
    for (Index i = 0; i < R; ++i) {
      const Vector<T> left = hn::Set(d, a[i * a_row + p * a_inner]);
      for (Index j = 0; j < vectors; ++j) sums[i][j] = hn::MulAdd(left, right[j], sums[i][j]);
    }
  }
  for (Index j = 0; j < vectors; ++j) {
    const Index some = std::max<Index>(0, std::min(step, columns - j * step));
    for (Index i = 0; i < R; ++i) {
      if (whole) {
        store<T>(sums[i][j], c + i * ldc + j * step);
      } else if (some > 0) {
        store_some<T>(sums[i][j], c + i * ldc + j * step, some);
      }
    }
  }
}

/// All tiles of `rows` rows against one panel: as many full tiles as fit, then smaller ones.
template <class T, Index vectors>
void panel(Index rows, Index k, MatrixRef<T> a, const T* b, Index ldb, T* c, Index ldc, Index columns,
           bool add, const T* bias) {
  Index i = 0;
  const auto run = [&](auto size) HWY_ATTR {
    constexpr Index R = decltype(size)::value;
    for (; i + R <= rows; i += R) {
      tile<T, R, vectors>(k, a.data + i * a.row, a.row, a.column, b, ldb, c + i * ldc, ldc, columns, add,
                          bias);
    }
  };
  run(std::integral_constant<Index, tile_rows>());
  if constexpr (tile_rows > 8) run(std::integral_constant<Index, 8>());
  run(std::integral_constant<Index, 4>());
  run(std::integral_constant<Index, 2>());
  run(std::integral_constant<Index, 1>());
}

/// Copies rows [0, k) x columns [0, columns) of B into a panel with rows `width` apart, zero where B has
/// ended.
template <class T> void pack(Index k, Index columns, MatrixRef<T> b, T* to, Index width) {
  if (k == 0) return;  // no panel at all
  if (columns < width) std::memset(to, 0, static_cast<std::size_t>(k * width) * sizeof(T));
  if (b.column == 1) {
    for (Index p = 0; p < k; ++p) {
      std::memcpy(to + p * width, b.data + p * b.row, static_cast<std::size_t>(columns) * sizeof(T));
    }
    return;
  }
  // The panel is a transpose: in blocks of 4 x 4 (or 2 x 2), four loads, four shuffles twice, four stores.
#if HWY_TARGET != HWY_SCALAR
  constexpr Index side = 16 / sizeof(T);
  const hn::FixedTag<T, side> d;
  Index j = 0;
  for (; b.row == 1 && j + side <= columns; j += side) {
    Index p = 0;
    for (; p + side <= k; p += side) {
      const T* from = b.data + p + j * b.column;
      if constexpr (side == 4) {
        const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + b.column);
        const auto r2 = hn::LoadU(d, from + 2 * b.column), r3 = hn::LoadU(d, from + 3 * b.column);
        const auto a02 = hn::InterleaveLower(d, r0, r2), b02 = hn::InterleaveUpper(d, r0, r2);
        const auto a13 = hn::InterleaveLower(d, r1, r3), b13 = hn::InterleaveUpper(d, r1, r3);
        T* row = to + p * width + j;
        hn::StoreU(hn::InterleaveLower(d, a02, a13), d, row);
        hn::StoreU(hn::InterleaveUpper(d, a02, a13), d, row + width);
        hn::StoreU(hn::InterleaveLower(d, b02, b13), d, row + 2 * width);
        hn::StoreU(hn::InterleaveUpper(d, b02, b13), d, row + 3 * width);
      } else {
        const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + b.column);
        hn::StoreU(hn::InterleaveLower(d, r0, r1), d, to + p * width + j);
        hn::StoreU(hn::InterleaveUpper(d, r0, r1), d, to + (p + 1) * width + j);
      }
    }
    for (; p < k; ++p) {
      for (Index q = j; q < j + side; ++q) to[p * width + q] = b.data[p * b.row + q * b.column];
    }
  }
#else
  Index j = 0;
#endif
  for (; j < columns; ++j) {
    for (Index p = 0; p < k; ++p) to[p * width + j] = b.data[p * b.row + j * b.column];
  }
}

/// c[i] = a_i . b for rows of A and a vector, both contiguous.
template <class T>
void matrix_vector(Index m, Index k, const T* a, Index a_row, const T* b, T* c, Index ldc, bool add,
                   const T* bias) {
  const Tag<T> d;
  const Index step = lanes<T>();
  const auto rows = [&](auto count, Index i) HWY_ATTR {
    constexpr Index R = decltype(count)::value;
    Vector<T> even[R], odd[R];
    for (Index r = 0; r < R; ++r) even[r] = odd[r] = hn::Zero(d);
    Index p = 0;
    for (; p + 2 * step <= k; p += 2 * step) {
      const Vector<T> first = load<T>(b + p), second = load<T>(b + p + step);
      for (Index r = 0; r < R; ++r) {
        even[r] = hn::MulAdd(load<T>(a + (i + r) * a_row + p), first, even[r]);
        odd[r] = hn::MulAdd(load<T>(a + (i + r) * a_row + p + step), second, odd[r]);
      }
    }
    for (; p < k; p += step) {
      const Index some = std::min(step, k - p);
      const Vector<T> first = load_some<T>(b + p, some);
      for (Index r = 0; r < R; ++r)
        even[r] = hn::MulAdd(load_some<T>(a + (i + r) * a_row + p, some), first, even[r]);
    }
    for (Index r = 0; r < R; ++r) {
      const T sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even[r], odd[r])));
      T& target = c[(i + r) * ldc];
      target = sum + (add ? target : bias != nullptr ? *bias : T{0});
    }
  };
  Index i = 0;
  for (; i + 4 <= m; i += 4) rows(std::integral_constant<Index, 4>(), i);
  for (; i < m; ++i) rows(std::integral_constant<Index, 1>(), i);
}

/// One thread's memory for packed panels; grows to the largest use and stays.
template <class T> T* workspace(Index count) {
  thread_local hwy::AlignedFreeUniquePtr<T[]> memory;
  thread_local Index size = 0;
  if (size < count) {
    memory = hwy::AllocateAligned<T>(static_cast<std::size_t>(count));
    size = count;
  }
  return memory.get();
}

template <class T>
void product(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
             const T* bias) {
  const Index width = tile_columns<T>;
  // Few rows use each panel only once or twice: then rows of B are read where they are.
  const bool in_place = b.column == 1 && m <= 2 * tile_rows;
  const Index panels = (n + width - 1) / width;
  const bool parallel =
      static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) >= parallel_products &&
      m > block_rows;
  T* const packed = workspace<T>(panels * width * std::min(k, block_inner));

  for (Index start = 0; start < k || start == 0; start += block_inner) {
    const Index inner = std::min(block_inner, k - start);
    const MatrixRef<T> right{b.data + start * b.row, b.row, b.column};
    const auto pack_panels = [&](Index first, Index last) {
      for (Index q = first; q < last; ++q) {
        const Index columns = std::min(width, n - q * width);
        if (in_place && columns == width) continue;
        pack<T>(inner, columns, {right.data + q * width * right.column, right.row, right.column},
                packed + q * width * inner, width);
      }
    };
    for_pieces(panels, parallel ? std::max<Index>(1, 256 / width) : panels, pack_panels);

    const auto multiply = [&](Index first, Index last) {
      const MatrixRef<T> left{a.data + first * a.row + start * a.column, a.row, a.column};
      for (Index q = 0; q < panels; ++q) {
        const Index columns = std::min(width, n - q * width);
        const bool direct = in_place && columns == width;
        const T* from = direct ? right.data + q * width : packed + q * width * inner;
        T* const to = c + first * ldc + q * width;
        const T* const shift = bias != nullptr && start == 0 ? bias + q * width : nullptr;
        if (columns <= width / 2) {
          panel<T, 1>(last - first, inner, left, from, width, to, ldc, columns, add || start > 0, shift);
        } else {
          panel<T, 2>(last - first, inner, left, from, direct ? right.row : width, to, ldc, columns,
                      add || start > 0, shift);
        }
      }
    };
    for_pieces(m, parallel ? block_rows : m, multiply);
  }
}

template <class T>
void multiply(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
              const T* bias) {
  if (m == 0 || n == 0) return;
  if (n == 1 && (a.column == 1 || k == 1) && (b.row == 1 || k == 1)) {
    for_pieces(m, std::max<Index>(4, elementwise_piece / std::max<Index>(k, 1)),
               [&](Index first, Index last) {
                 matrix_vector<T>(last - first, k, a.data + first * a.row, a.row, b.data, c + first * ldc,
                                  ldc, add, bias);
               });
    return;
  }
  product<T>(m, n, k, a, b, c, ldc, add, bias);
}

void gemm_f32(Index m, Index n, Index k, MatrixRef<float> a, MatrixRef<float> b, float* c, Index ldc,
              bool add, const float* bias) {
  multiply(m, n, k, a, b, c, ldc, add, bias);
}
void gemm_f64(Index m, Index n, Index k, MatrixRef<double> a, MatrixRef<double> b, double* c, Index ldc,
              bool add, const double* bias) {
  multiply(m, n, k, a, b, c, ldc, add, bias);
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

HWY_EXPORT(gemm_f32);
HWY_EXPORT(gemm_f64);

template <>
void gemm(Index m, Index n, Index k, MatrixRef<float> a, MatrixRef<float> b, float* c, Index ldc, bool add,
          const float* bias) {
  HWY_DYNAMIC_DISPATCH(gemm_f32)(m, n, k, a, b, c, ldc, add, bias);
}
template <>
void gemm(Index m, Index n, Index k, MatrixRef<double> a, MatrixRef<double> b, double* c, Index ldc, bool add,
          const double* bias) {
  HWY_DYNAMIC_DISPATCH(gemm_f64)(m, n, k, a, b, c, ldc, add, bias);
}

}  // namespace taper::kernels
#endif

// Included once per target, like simd-inl.hpp: what the steps of optimizers share.
#if defined(TAPER_KERNELS_UPDATE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPER_KERNELS_UPDATE_INL
#undef TAPER_KERNELS_UPDATE_INL
#else
#define TAPER_KERNELS_UPDATE_INL
#endif

#include <taper/autodiff/kernels/simd-inl.hpp>
#include <taper/autodiff/kernels/update.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// Up to one vector of elements at p, where `count` are left.
template <class T> struct Run {
  Index count;
  bool whole = count == lanes<T>();

  HWY_INLINE Vector<T> get(const T* p) const { return whole ? load<T>(p) : load_some<T>(p, count); }
  HWY_INLINE void put(Vector<T> v, T* p) const { whole ? store<T>(v, p) : store_some<T>(v, p, count); }
  /// Whole numbers as wide as T, one for each lane.
  HWY_INLINE auto get_ordinals(const Ordinal<T>* p) const {
    const hn::RebindToSigned<Tag<T>> d;
    HWY_ALIGN Ordinal<T> buffer[hn::MaxLanes(d)] = {};
    if (whole) return hn::LoadU(d, p);
    std::memcpy(buffer, p, static_cast<std::size_t>(count) * sizeof(*p));
    return hn::Load(d, buffer);
  }
  /// The bytes of a mask, widened to lanes.
  HWY_INLINE auto get_states(const EntryState* p) const {
    const hn::RebindToSigned<Tag<T>> d;
    if constexpr (sizeof(T) == 4) {
      const hn::Rebind<std::uint8_t, decltype(d)> bytes;
      if (whole) return hn::PromoteTo(d, hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(p)));
    }
    HWY_ALIGN Ordinal<T> buffer[hn::MaxLanes(d)] = {};
    for (Index i = 0; i < count; ++i) buffer[i] = static_cast<Ordinal<T>>(p[i]);
    return hn::Load(d, buffer);
  }
};

template <class T> using Lanes = decltype(hn::Zero(hn::RebindToSigned<Tag<T>>()));

template <class T> HWY_INLINE auto is(EntryState what, Lanes<T> states) {
  return hn::RebindMask(Tag<T>(),
                        hn::Eq(states, hn::Set(hn::RebindToSigned<Tag<T>>(), static_cast<Ordinal<T>>(what))));
}

/// Clipping in every lane.
template <class T> struct Clip {
  Vector<T> scale, more, limit;
  bool only_scale;

  explicit HWY_INLINE Clip(const Clipping& c)
      : scale(constant<T>(c.scale)),
        more(constant<T>(c.more)),
        limit(constant<T>(c.limit)),
        only_scale(c.more == 1 && c.limit == std::numeric_limits<double>::infinity()) {}

  HWY_INLINE Vector<T> operator()(Vector<T> g) const {
    if (only_scale) return hn::Mul(scale, g);
    return hn::Mul(more, hn::Mul(scale, hn::Min(hn::Max(g, hn::Neg(limit)), limit)));
  }
};

/// A second moment: decay times the last one, plus share times the square of a gradient. One that is outside
/// the range of T, as the square may be, is kept as minus its root.
template <class T> struct SecondMoment {
  using V = Vector<T>;
  V decay, share;
  // The range in which second moments are kept as they are, and have all their digits.
  static constexpr T least = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
  static constexpr T most = std::numeric_limits<T>::max() / 4;

  HWY_INLINE SecondMoment(double decay_, double share_)
      : decay(constant<T>(decay_)), share(constant<T>(share_)) {}

  /// Takes in a gradient, and returns the root.
  HWY_INLINE V next(V g, V& second) const {
    const Tag<T> d;
    V square = hn::MulAdd(decay, second, hn::Mul(share, hn::Mul(g, g))), root = hn::Sqrt(square);
    if (HWY_UNLIKELY(!in_range(square, second))) {
      const auto no_underflow = hn::Or(hn::Eq(g, hn::Zero(d)), hn::Ge(square, hn::Set(d, least)));
      const auto no_overflow = hn::And(hn::Ge(second, hn::Zero(d)), hn::Le(square, hn::Set(d, most)));
      const auto plain = hn::And(no_underflow, no_overflow);
      if (!hn::AllTrue(d, plain)) {
        const V far = far_root(g, second);
        root = hn::IfThenElse(plain, root, far);
        square = hn::IfThenElse(plain, square, encoded(far));
      }
    }
    second = square;
    return root;
  }
  /// The root of one that is kept so.
  static HWY_INLINE V root(V second) {
    return hn::IfThenElse(hn::Lt(second, hn::Zero(Tag<T>())), hn::Neg(second), hn::Sqrt(second));
  }

 private:
  /// Whether all squares are in [least, most) and no last moment was negative, by one comparison of bits:
  /// those of positive numbers are in their order, and a sign is beyond all of them.
  static HWY_INLINE bool in_range(V square, V second) {
    const hn::RebindToUnsigned<Tag<T>> d;
    const auto low = hn::BitCast(d, hn::Set(Tag<T>(), least)), high = hn::BitCast(d, hn::Set(Tag<T>(), most));
    const auto bits = hn::BitCast(d, hn::Or(square, hn::And(second, hn::SignBit(Tag<T>()))));
    return hn::AllTrue(d, hn::Lt(hn::Sub(bits, low), hn::Sub(high, low)));
  }
  /// The root of the next second moment, by parts of the larger of the last root and the gradient.
  HWY_INLINE V far_root(V g, V second) const {
    const V zero = hn::Zero(Tag<T>()), size = hn::Abs(g), before = root(second);
    const V larger = hn::Max(before, size), a = hn::Div(before, larger), b = hn::Div(size, larger);
    const V root = hn::Sqrt(hn::MulAdd(decay, hn::Mul(a, a), hn::Mul(share, hn::Mul(b, b))));
    return hn::IfThenZeroElse(hn::Eq(larger, zero), hn::Mul(larger, root));
  }
  /// How a second moment is kept, given its root.
  static HWY_INLINE V encoded(V root) {
    const Tag<T> d;
    const V square = hn::Mul(root, root);
    const auto fits = hn::And(hn::Ge(square, hn::Set(d, least)), hn::Le(square, hn::Set(d, most)));
    return hn::IfThenElse(fits, square, hn::Neg(root));
  }
};

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the guard per target

#include <taper/autodiff/kernels/bands.hpp>
#include <taper/autodiff/kernels/conv.hpp>
#include <taper/autodiff/kernels/depthwise.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/kernels/unary.hpp>
#include <taper/autodiff/kernels/workspace.hpp>
#include <taper/instantiate.hpp>

namespace taper::kernels {
namespace {

/// Fewer products than these are done by the caller's thread alone.
constexpr double few_products = 1 << 20;
/// At most so many sums over images are made at a time, each over so many images in a row, and they take no
/// more memory than this (but one does).
constexpr Index most_sums = 16, images_in_a_row = 16, most_memory = Index{1} << 24;

/// Whether the gradient of a weight is summed up as its transpose, taps x outputs. Products are fastest where
/// the columns of the result fill whole vectors. Vectors have 64 bytes here on every machine, as the layout
/// of the sums must not depend on the instruction set.
template <class T> bool sums_transposed(const Conv& of) {
  if (is_depthwise(of)) return false;
  constexpr Index vector = 64 / sizeof(T);
  const auto filled = [](Index columns) {
    return static_cast<double>(columns) / static_cast<double>((columns + vector - 1) / vector * vector);
  };
  return filled(of.outputs / of.groups) > 0.85 * filled(of.taps());
}

/// How the images are split for sums over them.
struct Sums {
  Index size, piece, count, pieces;  // elements of one; images; how many; how many pieces there are in each

  explicit Sums(const Conv& of) : size(of.weights() + of.outputs) {
    const Index most = std::clamp<Index>(most_memory / std::max<Index>(size, 1), 1, most_sums);
    piece = std::clamp<Index>((of.images + most - 1) / most, 1, images_in_a_row);
    const Index all = (of.images + piece - 1) / piece;
    pieces = std::max<Index>(1, (all + most - 1) / most);
    count = (all + pieces - 1) / pieces;
  }
  /// Where there are several pieces in a sum, each of them, and what rounding loses as they are added up.
  Index memory() const { return size * std::max<Index>(count, 1) * (pieces > 1 ? 3 : 1); }
};

/// The gradients of a convolution, image by image.
template <class T> class Gradients {
 public:
  Gradients(const Conv& of, const T* x, const T* w, const T* y, const T* gy, Activation f,
            const ConvGradient<T>& to)
      : conv_(of),
        bands_(of),
        transposed_(sums_transposed<T>(of)),
        x_(x),
        w_(w),
        y_(y),
        gy_(gy),
        f_(f),
        to_(to) {}

  /// Those of one image; that of the weight and the bias is stored in `sum` or added there.
  void image(Index index, T* sum, bool add) const {
    const Index channels = conv_.channels / conv_.groups, outputs = conv_.outputs / conv_.groups;
    const T* const x = x_ + index * conv_.channels * conv_.pixels();
    T* const gx = to_.x == nullptr ? nullptr : to_.x + index * conv_.channels * conv_.pixels();
    if (gx != nullptr && !to_.add) std::fill_n(gx, conv_.channels * conv_.pixels(), T{0});
    for (Index k = 0; k < bands_.count(); ++k) {
      const Band band = bands_[k];
      const bool add_here = add || k > 0;
      const MatrixRef<T> g =
          output_gradient(index, band, sum == nullptr ? nullptr : sum + conv_.weights(), add_here);
      for (Index group = 0; group < conv_.groups; ++group) {
        const MatrixRef<T> here{g.data + group * outputs * g.row, g.row, 1};
        const Index taps = band.taps(), windows = band.windows();
        if (is_depthwise(conv_)) {
          depthwise_gradient<T>(band, outputs, x + group * conv_.pixels(), w_ + group * outputs * taps,
                                here.data, gx == nullptr ? nullptr : gx + group * conv_.pixels(),
                                sum == nullptr ? nullptr : sum + group * outputs * taps, add_here);
          continue;
        }
        if (sum != nullptr) {
          const MatrixRef<T> seen = bands_.read(band, x + group * channels * conv_.pixels());
          T* const to = sum + group * outputs * taps;
          if (transposed_) {
            gemm_alone<T>(taps, outputs, windows, seen, {here.data, 1, here.row}, to, outputs, add_here);
          } else {
            gemm_alone<T>(outputs, taps, windows, here, {seen.data, seen.column, seen.row}, to, taps,
                          add_here);
          }
        }
        if (gx != nullptr) {
          bands_.add(band, w_ + group * outputs * taps, outputs, here,
                     gx + group * channels * conv_.pixels());
        }
      }
    }
  }

 private:
  /// The gradient before the activation, outputs x windows, whose sums are that of the bias.
  MatrixRef<T> output_gradient(Index image, const Band& band, T* sums, bool add) const {
    const Index all = conv_.windows(), windows = band.windows();
    const Index at = image * conv_.outputs * all + band.first * conv_.columns.output();
    T* const g = f_ == Activation::none ? nullptr : workspace<T, Use::gradient>(conv_.outputs * windows);
    if (g != nullptr || sums != nullptr)
      activation_gradient<T>(f_, conv_.outputs, windows, all, y_ + at, gy_ + at, g, sums, add);
    return g == nullptr ? MatrixRef<T>{gy_ + at, all, 1} : MatrixRef<T>{g, windows, 1};
  }

  const Conv& conv_;
  Bands<T> bands_;
  bool transposed_;
  const T *x_, *w_, *y_, *gy_;
  Activation f_;
  ConvGradient<T> to_;
};

template <class T> void store_or_add(Index count, const T* from, T* to, bool add) {
  scale<T>(count, T{1}, from, to, add);
}

/// Applies an activation by the caller's thread alone.
template <class T> void activate(Activation f, Index n, T* y) {
  if (f == Activation::none) return;
  const Unary function = f == Activation::relu   ? Unary::relu
                         : f == Activation::tanh ? Unary::tanh
                                                 : Unary::sigmoid;
  for (Index i = 0; i < n; i += elementwise_piece / costly) {
    unary<T>(function, std::min(n - i, elementwise_piece / costly), y + i, y + i);
  }
}

/// How many of such images one thread does alone.
Index few_images(const Conv& of) {
  const double products = static_cast<double>(of.weights()) * static_cast<double>(of.windows());
  return static_cast<Index>(few_products / std::max(products, 1.0));
}

}  // namespace

template <class T> Index conv_sums(const Conv& of) {
  return Sums(of).memory();
}

template <class T> void conv(const Conv& of, const T* x, const T* w, const T* bias, T* y, Activation f) {
  const Bands<T> bands(of);
  const Index channels = of.channels / of.groups, outputs = of.outputs / of.groups;
  const bool is_product = !is_depthwise(of);
  const auto run = [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      const Index image = k / bands.count() / of.groups, group = k / bands.count() % of.groups;
      const Band band = bands[k % bands.count()];
      const T* const from = x + (image * of.channels + group * channels) * of.pixels();
      const T *const weight = w + group * outputs * of.taps(), *const shift = bias == nullptr
                                                                                  ? nullptr
                                                                                  : bias + group * outputs;
      T* const to =
          y + (image * of.outputs + group * outputs) * of.windows() + band.first * of.columns.output();
      if (is_product) {
        gemm_alone<T>(outputs, band.windows(), of.taps(), {weight, of.taps(), 1}, bands.read(band, from), to,
                      of.windows(), false, shift, f);
      } else {
        depthwise<T>(band, outputs, from, weight, shift, to);
        activate(f, outputs * of.windows(), to);
      }
    }
  };
  for_pieces(of.images * of.groups * bands.count(), 1, run, few_images(of) * of.groups, Schedule::dynamic);
}

template <class T>
void conv_gradient(const Conv& of, const T* x, const T* w, const T* y, const T* gy, Activation f,
                   const ConvGradient<T>& to) {
  const Gradients<T> gradients(of, x, w, y, gy, f, to);
  const Sums sums(of);
  const Index size = sums.size;
  const bool careful = to.sums != nullptr && sums.pieces > 1;
  // Behind the sums are their pieces, and behind those what rounding loses.
  T* const pieces = careful ? to.sums + sums.count * size : to.sums;
  const auto run = [&](Index begin, Index end) {
    for (Index s = begin; s < end; ++s) {
      T* const sum = to.sums == nullptr ? nullptr : to.sums + s * size;
      T* const part = to.sums == nullptr ? nullptr : pieces + s * size;
      T* const lost = careful ? part + sums.count * size : nullptr;
      const Index first = s * sums.pieces * sums.piece,
                  last = std::min(of.images, first + sums.pieces * sums.piece);
      if (careful) std::fill_n(sum, size, T{0}), std::fill_n(lost, size, T{0});
      for (Index start = first; start < last; start += sums.piece) {
        const Index stop = std::min(last, start + sums.piece);
        for (Index image = start; image < stop; ++image) gradients.image(image, part, image > start);
        if (careful) add_carefully<T>(size, part, sum, lost);
      }
    }
  };
  for_pieces(sums.count, 1, run, few_images(of) / std::max<Index>(1, sums.piece * sums.pieces),
             Schedule::dynamic);
  if (to.sums == nullptr) return;
  if (of.images == 0) std::fill_n(to.sums, size, T{0});
  for (Index s = 1; s < sums.count; ++s) scale<T>(size, T{1}, to.sums + s * size, to.sums, true);
}

template <class T> void conv_weight_gradient(const Conv& of, const T* sums, T* gw, bool add) {
  if (!sums_transposed<T>(of)) return store_or_add(of.weights(), sums, gw, add);
  const Index taps = of.taps(), outputs = of.outputs / of.groups;
  for (Index group = 0; group < of.groups; ++group, sums += taps * outputs, gw += taps * outputs) {
    for (Index o = 0; o < outputs; ++o) {
      for (Index k = 0; k < taps; ++k)
        gw[o * taps + k] = sums[k * outputs + o] + (add ? gw[o * taps + k] : T{0});
    }
  }
}

template <class T> void conv_bias_gradient(const Conv& of, const T* sums, T* gbias, bool add) {
  store_or_add(of.outputs, sums + of.weights(), gbias, add);
}

#define TAPER_INSTANTIATE(T)                                                                   \
  template void conv(const Conv&, const T*, const T*, const T*, T*, Activation);               \
  template Index conv_sums<T>(const Conv&);                                                    \
  template void conv_weight_gradient(const Conv&, const T*, T*, bool);                         \
  template void conv_bias_gradient(const Conv&, const T*, T*, bool);                           \
  template void conv_gradient(const Conv&, const T*, const T*, const T*, const T*, Activation, \
                              const ConvGradient<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels

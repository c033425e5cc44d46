#include <cmath>

#include <taper/autodiff/kernels/norm.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

using kernels::ChannelPieces;

ChannelPieces pieces_of(const Shape& x) {
  Index inner = 1;
  for (Index k = 2; k < x.rank(); ++k) inner *= x[k];
  return {x[0], x[1], inner};
}

void require_channels(const char* where, const Shape& x) {
  if (x.rank() < 2) throw Error(where, "x ", x, ": expected rows x channels, or more dimensions");
}

/// Entries uniform in [1, 3): variances and scales.
Tensor<double> spreads(Rng& rng, const Shape& shape) {
  return ops::uniform(rng, shape, 1, 3);
}

// batch_moments: three rows, of which the first two go into batch_norm and the last into a running variance.

template <class T>
const Op<T> batch_moments_op{{
    .name = "batch_moments",
    .arity = 1,
    .shape =
        [](const Signature& s) {
          require_channels("batch_moments", s[0]);
          const ChannelPieces pieces = pieces_of(s[0]);
          if (pieces.outer * pieces.inner < 2) {
            throw Error("batch_moments", "x ", s[0], ", ", pieces.outer * pieces.inner,
                        " values for each channel: expected two or more, as in training");
          }
          return Shape{3, s[0][1]};
        },
    .forward =
        [](const Forward<T>& f) {
          const ChannelPieces pieces = pieces_of(f.input(0).shape());
          T* const y = f.output().data();
          kernels::channel_moments<T>(pieces, f.input(0).data(), y, y + pieces.channels,
                                      y + 2 * pieces.channels, f.scratch());
        },
    .backward =
        [](const Backward<T>& b) {
          const Gradient<T> g = b.gradient(0);
          if (!g) return;
          // The mean has the slope 1 / n, the variances have 2 (x - mean) / n and 2 (x - mean) / (n - 1).
          const ChannelPieces pieces = pieces_of(b.input(0).shape());
          const Index channels = pieces.channels;
          const T* const gy = b.output_gradient().data();
          T *const constant = b.scratch(), *const slope = constant + channels;
          const double n = static_cast<double>(pieces.outer * pieces.inner);
          for (Index c = 0; c < channels; ++c) {
            constant[c] = static_cast<T>(static_cast<double>(gy[c]) / n);
            slope[c] = static_cast<T>(2 * (static_cast<double>(gy[channels + c]) / n +
                                           static_cast<double>(gy[2 * channels + c]) / (n - 1)));
          }
          kernels::channel_moments_gradient<T>(pieces, b.input(0).data(), b.output().data(), constant, slope,
                                               g.data, g.add);
        },
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          out.same(0, 1, 1, s[0][1]);
          for (Index axis = 0; axis < s[0].rank(); ++axis) {
            if (axis != 1) out.reduce(0, axis, Reduce::other);
          }
          out.preserve_zero(0);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{{{ops::uniform(rng, {5, 3})}},
                                            {{ops::uniform(rng, {3, 2, 4})}},
                                            {{ops::uniform(rng, {2, 3, 2, 5})}},
                                            {{ops::uniform(rng, {150, 2})}}};
        },
    .scratch = [](const Signature& s) { return pieces_of(s[0]).scratch(3); },
}};

// batch_norm: the inputs are x, mean and variance, and, if any, weight and bias.

struct NormAttributes {
  double epsilon = 1e-5;
};

void require_epsilon(const char* where, double epsilon) {
  if (!(epsilon >= 0 && std::isfinite(epsilon))) {
    throw Error(where, "epsilon ", epsilon, ": expected 0 or more");
  }
}

/// The scratch: the factor of each channel, its part without weight, and the sums of the backward pass with
/// their parts.
template <class T> struct BatchScratch {
  T *scale, *inverse, *sum, *sum_x, *parts;

  BatchScratch(T* scratch, Index channels)
      : scale(scratch),
        inverse(scale + channels),
        sum(inverse + channels),
        sum_x(sum + channels),
        parts(sum_x + channels) {}
};

template <class T> void batch_norm_backward(const Backward<T>& b) {
  const ChannelPieces pieces = pieces_of(b.input(0).shape());
  const BatchScratch<T> scratch(b.scratch(), pieces.channels);
  const bool weighted = b.inputs() == 5;
  const Gradient<T> gx = b.gradient(0);
  kernels::channel_normalize_gradient<T>(pieces, b.input(0).data(), b.input(1).data(), scratch.scale,
                                         b.output_gradient().data(), gx ? gx.data : nullptr, gx.add,
                                         scratch.sum, scratch.sum_x, scratch.parts);
  const auto write = [&](Index input, const auto& slope) {
    if (const Gradient<T> g = b.gradient(input)) {
      for (Index c = 0; c < pieces.channels; ++c) {
        const auto number = [c](const T* values) { return static_cast<double>(values[c]); };
        const T value = static_cast<T>(slope(number(scratch.scale), number(scratch.inverse),
                                             number(scratch.sum), number(scratch.sum_x)));
        g.data[c] = g.add ? g.data[c] + value : value;
      }
    }
  };
  write(1, [](double scale, double, double sum, double) { return -scale * sum; });
  write(2, [](double scale, double inverse, double, double sum_x) {
    return -0.5 * scale * inverse * inverse * sum_x;
  });
  if (!weighted) return;
  write(3, [](double, double inverse, double, double sum_x) { return inverse * sum_x; });
  write(4, [](double, double, double sum, double) { return sum; });
}

template <class T>
const Op<T> batch_norm_op{{
    .name = "batch_norm",
    .arity = {3, 5},
    .shape =
        [](const Signature& s) {
          require_epsilon("batch_norm", as<NormAttributes>(s.attributes).epsilon);
          require_channels("batch_norm", s[0]);
          if (s.inputs() == 4) throw Error("batch_norm", "a weight without a bias: expected both or none");
          constexpr const char* names[] = {"mean", "variance", "weight", "bias"};
          for (Index i = 1; i < s.inputs(); ++i) {
            if (s[i] != Shape{s[0][1]}) {
              throw Error("batch_norm", names[i - 1], " ", s[i], " for x ", s[0], ": expected ",
                          Shape{s[0][1]}, ", one entry for each channel");
            }
          }
          return s[0];
        },
    .forward =
        [](const Forward<T>& f) {
          const ChannelPieces pieces = pieces_of(f.input(0).shape());
          const BatchScratch<T> scratch(f.scratch(), pieces.channels);
          const bool weighted = f.inputs() == 5;
          const double epsilon = as<NormAttributes>(f.attributes()).epsilon;
          for (Index c = 0; c < pieces.channels; ++c) {
            const double inverse = 1 / std::sqrt(static_cast<double>(f.input(2)[c]) + epsilon);
            scratch.inverse[c] = static_cast<T>(inverse);
            scratch.scale[c] =
                weighted ? static_cast<T>(inverse * static_cast<double>(f.input(3)[c])) : scratch.inverse[c];
          }
          kernels::channel_normalize<T>(pieces, f.input(0).data(), f.input(1).data(), scratch.scale,
                                        weighted ? f.input(4).data() : nullptr, f.output().data());
        },
    .backward = batch_norm_backward<T>,
    .attributes = attribute_fields<NormAttributes>({{"epsilon", &NormAttributes::epsilon}}),
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          ops::same_axes(s, out, 0);
          for (Index i = 1; i < s.inputs(); ++i) out.same(i, 0, 1, s[0][1]);
          if (s.inputs() < 5) return;
          for (const Index gated : {0, 1, 2}) out.gate(3, gated);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          std::vector<GradcheckCase> result;
          for (const Shape& shape : {Shape{5, 3}, Shape{3, 2, 4}, Shape{2, 3, 2, 5}, Shape{150, 2}}) {
            const Shape channels{shape[1]};
            for (const bool weighted : {false, true}) {
              GradcheckCase& example = result.emplace_back();
              example.inputs = {ops::uniform(rng, shape), ops::uniform(rng, channels),
                                spreads(rng, channels)};
              example.attributes = NormAttributes{0.1};
              if (!weighted) continue;
              example.inputs.push_back(spreads(rng, channels));
              example.inputs.push_back(ops::uniform(rng, channels));
            }
          }
          return result;
        },
    .scratch =
        [](const Signature& s) {
          const ChannelPieces pieces = pieces_of(s[0]);
          return 4 * pieces.channels + pieces.scratch(2);
        },
    .in_place = true,
    .backward_needs_output = false,
}};

// layer_norm and rms_norm: over the last axes, as many as the attribute says.

struct RowNormAttributes {
  Index axes = 1;
  double epsilon = 1e-5;
};

struct Rows {
  Index count = 1, length = 1;

  Rows(const Shape& x, Index axes) {
    for (Index k = 0; k < x.rank(); ++k) (k < x.rank() - axes ? count : length) *= x[k];
  }
};

Rows rows_of(const auto& pass) {
  return Rows(pass.input(0).shape(), as<RowNormAttributes>(pass.attributes()).axes);
}

Shape row_norm_shape(const char* name, const Signature& s) {
  const auto [axes, epsilon] = as<RowNormAttributes>(s.attributes);
  require_epsilon(name, epsilon);
  if (axes < 1 || axes > s[0].rank()) {
    throw Error(name, axes, " axes of x ", s[0], ": expected 1 to ", s[0].rank());
  }
  if (Rows(s[0], axes).length == 0) throw Error(name, "x ", s[0], ": expected entries to average");
  std::array<Index, Shape::max_rank> last{};
  for (Index k = 0; k < axes; ++k) last[static_cast<std::size_t>(k)] = s[0][s[0].rank() - axes + k];
  const Shape expected(last.data(), axes);
  for (Index i = 1; i < s.inputs(); ++i) {
    if (s[i] != expected) {
      throw Error(name, i == 1 ? "weight " : "bias ", s[i], " for x ", s[0], ": expected ", expected);
    }
  }
  return s[0];
}

template <class T, bool centered> void row_norm_backward(const Backward<T>& b) {
  const Rows rows = rows_of(b);
  const T *const x = b.input(0).data(), *const moments = b.scratch(), *const gy = b.output_gradient().data();
  const bool weighted = b.inputs() > 1;
  if (const Gradient<T> g = b.gradient(0)) {
    kernels::row_normalize_gradient<T>(rows.count, rows.length, centered, x,
                                       weighted ? b.input(1).data() : nullptr, moments, gy, g.data, g.add);
  }
  const bool needs_weight = weighted && b.requires_grad(1), needs_bias = b.inputs() > 2 && b.requires_grad(2);
  if (!needs_weight && !needs_bias) return;
  T *const sums = b.scratch() + 2 * rows.count, *const parts = sums + 2 * rows.length;
  kernels::row_normalize_weight_gradient<T>(rows.count, rows.length, x, moments, gy, sums, sums + rows.length,
                                            parts);
  for (Index input = 1; input < b.inputs(); ++input) {
    const Gradient<T> g = b.gradient(input);
    if (!g) continue;
    const T* const from = sums + (input - 1) * rows.length;
    for (Index i = 0; i < rows.length; ++i) g.data[i] = g.add ? g.data[i] + from[i] : from[i];
  }
}

template <class T, bool centered>
const Op<T> row_norm_op{{
    .name = centered ? "layer_norm" : "rms_norm",
    .arity = {1, centered ? 3 : 2},
    .shape = [](const Signature& s) { return row_norm_shape(centered ? "layer_norm" : "rms_norm", s); },
    .forward =
        [](const Forward<T>& f) {
          const Rows rows = rows_of(f);
          kernels::row_normalize<T>(
              rows.count, rows.length, centered, as<RowNormAttributes>(f.attributes()).epsilon,
              f.input(0).data(), f.inputs() > 1 ? f.input(1).data() : nullptr,
              f.inputs() > 2 ? f.input(2).data() : nullptr, f.output().data(), f.scratch());
        },
    .backward = row_norm_backward<T, centered>,
    .attributes = attribute_fields<RowNormAttributes>(
        {{"axes", &RowNormAttributes::axes}, {"epsilon", &RowNormAttributes::epsilon}}),
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          const Index first = s[0].rank() - as<RowNormAttributes>(s.attributes).axes;
          for (Index axis = 0; axis < s[0].rank(); ++axis) {
            if (axis < first) {
              out.same(0, axis, axis, s[0][axis]);
            } else {
              out.reduce(0, axis, Reduce::other);
            }
          }
        },
    .gradcheck_cases =
        [](Rng& rng) {
          std::vector<GradcheckCase> result;
          for (Index inputs = 1; inputs <= (centered ? 3 : 2); ++inputs) {
            for (const Index axes : {1, 2}) {
              GradcheckCase& example = result.emplace_back();
              example.inputs = {ops::uniform(rng, {2, 3, 5})};
              for (Index i = 1; i < inputs; ++i) {
                example.inputs.push_back(spreads(rng, axes == 1 ? Shape{5} : Shape{3, 5}));
              }
              example.attributes = RowNormAttributes{axes, 0.1};
            }
          }
          result.push_back({{ops::uniform(rng, {131, 3}), spreads(rng, {3})}, RowNormAttributes{1, 0.1}});
          return result;
        },
    .scratch =
        [](const Signature& s) {
          const Rows rows(s[0], as<RowNormAttributes>(s.attributes).axes);
          return 2 * rows.count + 2 * rows.length + kernels::row_scratch(rows.count, rows.length);
        },
    .backward_needs_output = false,
}};

}  // namespace

template <class T> Var<T> batch_moments(Var<T> x) {
  return apply(batch_moments_op<T>, {x});
}
template <class T> Var<T> batch_norm(Var<T> x, Var<T> mean, Var<T> variance, double epsilon) {
  return apply(batch_norm_op<T>, {x, mean, variance}, NormAttributes{epsilon});
}
template <class T>
Var<T> batch_norm(Var<T> x, Var<T> mean, Var<T> variance, Var<T> weight, Var<T> bias, double epsilon) {
  return apply(batch_norm_op<T>, {x, mean, variance, weight, bias}, NormAttributes{epsilon});
}
template <class T> Var<T> layer_norm(Var<T> x, Index axes, double epsilon) {
  return apply(row_norm_op<T, true>, {x}, RowNormAttributes{axes, epsilon});
}
template <class T> Var<T> layer_norm(Var<T> x, Var<T> weight, double epsilon) {
  return apply(row_norm_op<T, true>, {x, weight}, RowNormAttributes{weight.shape().rank(), epsilon});
}
template <class T> Var<T> layer_norm(Var<T> x, Var<T> weight, Var<T> bias, double epsilon) {
  return apply(row_norm_op<T, true>, {x, weight, bias}, RowNormAttributes{weight.shape().rank(), epsilon});
}
template <class T> Var<T> rms_norm(Var<T> x, Index axes, double epsilon) {
  return apply(row_norm_op<T, false>, {x}, RowNormAttributes{axes, epsilon});
}
template <class T> Var<T> rms_norm(Var<T> x, Var<T> weight, double epsilon) {
  return apply(row_norm_op<T, false>, {x, weight}, RowNormAttributes{weight.shape().rank(), epsilon});
}

#define TAPER_INSTANTIATE(T)                                                  \
  template Var<T> batch_moments(Var<T>);                                      \
  template Var<T> batch_norm(Var<T>, Var<T>, Var<T>, double);                 \
  template Var<T> batch_norm(Var<T>, Var<T>, Var<T>, Var<T>, Var<T>, double); \
  template Var<T> layer_norm(Var<T>, Index, double);                          \
  template Var<T> layer_norm(Var<T>, Var<T>, double);                         \
  template Var<T> layer_norm(Var<T>, Var<T>, Var<T>, double);                 \
  template Var<T> rms_norm(Var<T>, Index, double);                            \
  template Var<T> rms_norm(Var<T>, Var<T>, double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper

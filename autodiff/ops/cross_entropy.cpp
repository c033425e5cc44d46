#include <cmath>
#include <vector>

#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

constexpr std::string_view cross_entropy_reductions[] = {"mean", "sum", "none"};

struct CrossEntropyAttributes {
  LossReduction reduction = LossReduction::mean;
  Index ignore_index = -100;
  double label_smoothing = 0;
  bool class_weights = false;   // whether they are input 2
  bool sample_weights = false;  // whether they are the last input
};

/// What one pass reads. The scratch keeps the log-softmax, and behind it the factor of each row's loss, which
/// its part of the mean is in already.
template <class T> struct CrossEntropy {
  Index rows, classes;
  CrossEntropyAttributes settings;
  const T *labels, *class_weight = nullptr, *sample_weight = nullptr;
  T *logarithms, *factors;

  explicit CrossEntropy(const auto& pass)
      : rows(pass.input(0).shape()[0]),
        classes(pass.input(0).shape()[1]),
        settings(as<CrossEntropyAttributes>(pass.attributes())),
        labels(pass.input(1).data()),
        logarithms(pass.scratch()),
        factors(logarithms + rows * classes) {
    if (settings.class_weights) class_weight = pass.input(2).data();
    if (settings.sample_weights) sample_weight = pass.input(pass.inputs() - 1).data();
  }

  /// The label of a row, or -1 for one that is ignored.
  Index label(Index row) const {
    const T label = labels[row];
    if (label == static_cast<T>(settings.ignore_index)) return -1;
    if (!(std::floor(label) == label) || label < 0 || label >= static_cast<T>(classes)) {
      throw Error("cross_entropy_loss", "label ", label, ": expected a whole number from 0 to ", classes - 1);
    }
    return static_cast<Index>(label);
  }
  double of_class(Index k) const {
    return class_weight == nullptr ? 1 : static_cast<double>(class_weight[k]);
  }
  double of_sample(Index row) const {
    return sample_weight == nullptr ? 1 : static_cast<double>(sample_weight[row]);
  }

  /// What -log softmax of a class counts in the loss of a row with this label (PyTorch's definition: both
  /// parts of the target are weighted by their classes).
  double share(Index k, Index label) const {
    const double spread = settings.label_smoothing / static_cast<double>(classes);
    return of_class(k) * (spread + (k == label ? 1 - settings.label_smoothing : 0));
  }
  double loss(Index row, Index label) const {
    const T* const logarithm = logarithms + row * classes;
    if (settings.label_smoothing == 0) return -of_class(label) * static_cast<double>(logarithm[label]);
    double total = 0;
    for (Index k = 0; k < classes; ++k) total -= share(k, label) * static_cast<double>(logarithm[k]);
    return total;
  }
};

template <class T> void cross_entropy_forward(const Forward<T>& f) {
  const CrossEntropy<T> pass(f);
  kernels::softmax_axis<T>(pass.rows, pass.classes, 1, f.input(0).data(), pass.logarithms, true);
  double total = 0, divisor = 0;
  for (Index i = 0; i < pass.rows; ++i) {
    const Index label = pass.label(i);
    const double weight = label < 0 ? 0 : pass.of_sample(i);
    const double loss = label < 0 ? 0 : weight * pass.loss(i, label);
    pass.factors[i] = static_cast<T>(weight);
    if (pass.settings.reduction == LossReduction::none) f.output()[i] = static_cast<T>(loss);
    total += loss;
    divisor += label < 0 ? 0 : weight * pass.of_class(label);
  }
  if (pass.settings.reduction == LossReduction::none) return;
  if (pass.settings.reduction == LossReduction::sum) {
    f.output()[0] = static_cast<T>(total);
    return;
  }
  if (divisor == 0) {
    throw Error("cross_entropy_loss", "the mean of ", pass.rows,
                " rows, all ignored or of weight 0: expected one that counts");
  }
  for (Index i = 0; i < pass.rows; ++i) {
    pass.factors[i] = static_cast<T>(static_cast<double>(pass.factors[i]) / divisor);
  }
  f.output()[0] = static_cast<T>(total / divisor);
}

/// The gradient of a row's loss is sum(share) softmax(row) - share.
template <class T> void cross_entropy_backward(const Backward<T>& b) {
  const Gradient<T> g = b.gradient(0);
  if (!g) return;
  const CrossEntropy<T> pass(b);
  const bool each = pass.settings.reduction == LossReduction::none;
  const bool plain = pass.settings.label_smoothing == 0;
  for (Index i = 0; i < pass.rows; ++i) {
    T* const to = g.data + i * pass.classes;
    const Index label = pass.label(i);
    if (label < 0) {  // whatever the logits are
      if (!g.add) std::fill_n(to, pass.classes, T{0});
      continue;
    }
    const T scale = b.output_gradient()[each ? i : 0] * pass.factors[i];
    double shares = 0;
    for (Index k = 0; k < pass.classes && !plain; ++k) shares += pass.share(k, label);
    if (plain) shares = pass.of_class(label);
    const T whole = static_cast<T>(static_cast<double>(scale) * shares);
    const T zeros[] = {0, 0};
    // The gradient of a log sum exp that is 0: exp(logarithm - 0) * whole.
    kernels::logsumexp_axis_gradient<T>(1, pass.classes, 1, pass.logarithms + i * pass.classes, zeros, &whole,
                                        to, g.add);
    if (plain) {
      to[label] -= whole;
    } else {
      for (Index k = 0; k < pass.classes; ++k) to[k] -= scale * static_cast<T>(pass.share(k, label));
    }
  }
}

Shape cross_entropy_shape(const Signature& s) {
  const auto settings = as<CrossEntropyAttributes>(s.attributes);
  const auto refuse = [](const auto&... parts) { throw Error("cross_entropy_loss", parts...); };
  if (s[0].rank() != 2 || s[0].size() == 0) refuse("logits ", s[0], ": expected rows x classes");
  const Index rows = s[0][0], classes = s[0][1];
  const auto of_rows = [&](const Shape& shape) { return shape == Shape{rows} || shape == Shape{rows, 1}; };
  if (!of_rows(s[1])) refuse("labels ", s[1], " for logits ", s[0], ": expected ", rows, " entries");
  if (s.inputs() != 2 + settings.class_weights + settings.sample_weights) {
    refuse(s.inputs(), " inputs: expected logits, labels and the weights that the settings name");
  }
  if (settings.class_weights && s[2] != Shape{classes}) {
    refuse("weight ", s[2], " for logits ", s[0], ": expected ", classes, " entries");
  }
  if (settings.sample_weights && !of_rows(s[s.inputs() - 1])) {
    refuse("sample_weight ", s[s.inputs() - 1], " for logits ", s[0], ": expected ", rows, " entries");
  }
  if (!(settings.label_smoothing >= 0 && settings.label_smoothing <= 1)) {
    refuse("label_smoothing ", settings.label_smoothing, ": expected 0 to 1");
  }
  return settings.reduction == LossReduction::none ? Shape{rows} : Shape{};
}

template <class T>
const Op<T> cross_entropy_op{{
    .name = "cross_entropy_loss",
    .arity = {2, 4},
    .shape = cross_entropy_shape,
    .forward = cross_entropy_forward<T>,
    .backward = cross_entropy_backward<T>,
    .attributes = attribute_fields<CrossEntropyAttributes>(
        {{"reduction", &CrossEntropyAttributes::reduction, std::span(cross_entropy_reductions)},
         {"ignore_index", &CrossEntropyAttributes::ignore_index},
         {"label_smoothing", &CrossEntropyAttributes::label_smoothing},
         {"class_weights", &CrossEntropyAttributes::class_weights},
         {"sample_weights", &CrossEntropyAttributes::sample_weights}}),
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          const auto settings = as<CrossEntropyAttributes>(s.attributes);
          if (settings.reduction != LossReduction::none) return ops::reduce_all(s, output, out);
          out.same(0, 0, 0, s[0][0]);
          out.reduce(0, 1, Reduce::other);
          out.same(1, 0, 0, s[0][0]);
          if (settings.class_weights) out.reduce(2, 0, Reduce::other);
          if (settings.sample_weights) out.same(s.inputs() - 1, 0, 0, s[0][0]);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          std::vector<GradcheckCase> result{
              {{ops::uniform(rng, {5, 4}), ops::whole(rng, {5}, 4)}, CrossEntropyAttributes{}},
              {{ops::uniform(rng, {3, 19}), ops::whole(rng, {3, 1}, 19)}, CrossEntropyAttributes{}}};
          using R = LossReduction;
          for (const R reduction : {R::mean, R::sum, R::none}) {
            for (const double smoothing : {0.0, 0.2}) {
              result.push_back({{ops::uniform(rng, {5, 4}), ops::whole(rng, {5}, 4),
                                 ops::uniform(rng, {4}, 0.5, 2), ops::uniform(rng, {5}, 0.5, 2)},
                                CrossEntropyAttributes{reduction, 2, smoothing, true, true}});
              result.back().inputs[1][0] = 2;
              result.back().inputs[1][1] = 1;
              result.push_back(
                  {{ops::uniform(rng, {5, 4}), ops::whole(rng, {5}, 4), ops::uniform(rng, {5, 1}, 0.5, 2)},
                   CrossEntropyAttributes{reduction, -100, smoothing, false, true}});
            }
          }
          return result;
        },
    .scratch = [](const Signature& s) { return s[0].size() + s[0][0]; },
    .constants = 0b1110,
}};

}  // namespace

template <class T>
Var<T> cross_entropy_loss(Var<T> logits, Var<T> labels,
                          const CrossEntropyOptions<std::type_identity_t<T>>& options) {
  std::vector<Var<T>> inputs{logits, labels};
  if (options.weight) inputs.push_back(*options.weight);
  if (options.sample_weight) inputs.push_back(*options.sample_weight);
  return logits.tape().record(
      cross_entropy_op<T>, std::span<const Var<T>>(inputs),
      CrossEntropyAttributes{options.reduction, options.ignore_index, options.label_smoothing,
                             options.weight.has_value(), options.sample_weight.has_value()});
}

#define TAPER_INSTANTIATE(T) \
  template Var<T> cross_entropy_loss(Var<T>, Var<T>, const CrossEntropyOptions<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper

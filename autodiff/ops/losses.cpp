#include <cmath>

#include <taper/autodiff/kernels/loss.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

using kernels::Loss;

constexpr const char* loss_names[] = {"mse_loss",   "mae_loss",         "huber_loss",  "bce_with_logits_loss",
                                      "hinge_loss", "poisson_log_loss", "poisson_loss"};

constexpr const char* loss_name(Loss kind) {
  return loss_names[static_cast<int>(kind)];
}

constexpr std::string_view reduction_words[] = {"mean", "sum", "none"};

/// `delta` is that of huber and the eps of poisson.
struct LossAttributes {
  LossReduction reduction = LossReduction::mean;
  double delta = 0;
};

constexpr bool has_delta(Loss kind) {
  return kind == Loss::huber || kind == Loss::poisson;
}

template <Loss kind> Shape shape_of_pair(const Signature& s) {
  if (s[0] != s[1]) {
    throw Error(loss_name(kind), "prediction ", s[0], " and target ", s[1], ": expected the same shape");
  }
  const auto [reduction, delta] = as<LossAttributes>(s.attributes);
  if (s[0].size() == 0 && reduction == LossReduction::mean) {
    throw Error(loss_name(kind), "prediction ", s[0], ": expected entries");
  }
  if (has_delta(kind) && !(delta > 0)) {
    throw Error(loss_name(kind), kind == Loss::huber ? "delta " : "eps ", delta,
                ": expected a positive number");
  }
  return reduction == LossReduction::none ? s[0] : Shape{};
}

template <Loss kind> std::vector<GradcheckCase> gradcheck_cases(Rng& rng) {
  std::vector<GradcheckCase> result;
  for (const LossReduction reduction : {LossReduction::mean, LossReduction::sum, LossReduction::none}) {
    for (const Shape& shape : {Shape{7, 3}, Shape{1}, Shape{2, 2, 2, 3}}) {
      const double least = kind == Loss::poisson ? 0.2 : -3;
      Tensor<double> prediction = ops::uniform(rng, shape, least, 3), target = ops::uniform(rng, shape, 0, 1);
      for (Index i = 0; i < prediction.size(); ++i) {
        // Away from equality, and from the bends of huber at 0.7 and of hinge.
        const double gap = std::abs(prediction[i] - target[i]);
        if (gap < 0.05 || std::abs(gap - 0.7) < 0.05) prediction[i] += 0.12;
        if (kind == Loss::hinge && std::abs(prediction[i] * target[i] - 1) < 0.05) prediction[i] -= 0.5;
      }
      result.push_back({{prediction, target}, LossAttributes{reduction, 0.7}});
    }
  }
  return result;
}

AttributeFields fields(Loss kind) {
  AttributeFields result = attribute_fields<LossAttributes>(
      {{"reduction", &LossAttributes::reduction, std::span(reduction_words)}});
  if (has_delta(kind))
    result.list.emplace_back(kind == Loss::huber ? "delta" : "eps", &LossAttributes::delta);
  return result;
}

/// Entry by entry, or everything to one number.
void loss_structure(const Signature& s, const Shape& output, Structure& out) {
  switch (as<LossAttributes>(s.attributes).reduction) {
    case LossReduction::none:
      return ops::elementwise(s, output, out);
    case LossReduction::mean:
    case LossReduction::sum:
      return ops::reduce_all(s, output, out);
  }
}

template <class T, Loss kind>
const Op<T> loss_op{{
    .name = loss_name(kind),
    .arity = 2,
    .shape = shape_of_pair<kind>,
    .forward =
        [](const Forward<T>& f) {
          const auto [reduction, delta] = as<LossAttributes>(f.attributes());
          const Index n = f.input(0).size();
          const T *const p = f.input(0).data(), *const t = f.input(1).data();
          if (reduction == LossReduction::none) {
            return kernels::loss_each<T>(kind, n, p, t, static_cast<T>(delta), f.output().data());
          }
          const double total = kernels::loss<T>(kind, n, p, t, static_cast<T>(delta));
          const double divisor = reduction == LossReduction::mean ? static_cast<double>(n) : 1;
          f.output()[0] = static_cast<T>(total / divisor);
        },
    .backward =
        [](const Backward<T>& b) {
          const auto [reduction, delta] = as<LossAttributes>(b.attributes());
          const Index n = b.input(0).size();
          const T *const p = b.input(0).data(), *const t = b.input(1).data();
          const T* const gy = b.output_gradient().data();
          for (const int of : {0, 1}) {
            const Gradient<T> g = b.gradient(of);
            if (!g) continue;
            if (reduction == LossReduction::none) {
              kernels::loss_each_gradient<T>(kind, of, n, p, t, static_cast<T>(delta), gy, g.data, g.add);
            } else {
              const T scale = reduction == LossReduction::mean ? *gy / static_cast<T>(n) : *gy;
              kernels::loss_gradient<T>(kind, of, n, p, t, static_cast<T>(delta), scale, g.data, g.add);
            }
          }
        },
    .attributes = fields(kind),
    .structure = loss_structure,
    .gradcheck_cases = gradcheck_cases<kind>,
}};

template <Loss kind, class T>
Var<T> record(Var<T> prediction, Var<T> target, LossReduction reduction, double delta = 0) {
  return apply(loss_op<T, kind>, {prediction, target}, LossAttributes{reduction, delta});
}

template <class T> Var<T> reduced(Var<T> losses, LossReduction reduction) {
  if (reduction == LossReduction::none) return losses;
  return reduction == LossReduction::sum ? sum(losses) : mean(losses);
}

/// Losses times their weights, which must not make them larger.
template <class T> Var<T> weighted(Var<T> losses, Var<T> weight, const char* where) {
  const Var<T> result = losses * weight;
  if (result.shape() != losses.shape()) {
    throw Error(where, "weight ", weight.shape(), " of losses ", losses.shape(),
                ": expected a shape that is repeated to theirs");
  }
  return result;
}

template <Loss kind, class T>
Var<T> record(Var<T> prediction, Var<T> target, const LossOptions<T>& options, double delta = 0) {
  if (!options.weight) return record<kind>(prediction, target, options.reduction, delta);
  const Var<T> losses = weighted(record<kind>(prediction, target, LossReduction::none, delta),
                                 *options.weight, loss_name(kind));
  if (options.reduction != LossReduction::mean) return reduced(losses, options.reduction);
  return mean(losses) / mean(*options.weight);  // of a repeated weight, the mean is the same
}

}  // namespace

#define TAPER_PLAIN_LOSS(name, kind)                                                                   \
  template <class T>                                                                                   \
  Var<T> name(Var<T> prediction, Var<T> target, const LossOptions<std::type_identity_t<T>>& options) { \
    return record<kind>(prediction, target, options);                                                  \
  }                                                                                                    \
  template Var<float> name(Var<float>, Var<float>, const LossOptions<float>&);                         \
  template Var<double> name(Var<double>, Var<double>, const LossOptions<double>&);
TAPER_PLAIN_LOSS(mse_loss, Loss::square)
TAPER_PLAIN_LOSS(mae_loss, Loss::absolute)
TAPER_PLAIN_LOSS(hinge_loss, Loss::hinge)
#undef TAPER_PLAIN_LOSS

template <class T>
Var<T> huber_loss(Var<T> prediction, Var<T> target, std::type_identity_t<T> delta,
                  const LossOptions<std::type_identity_t<T>>& options) {
  return record<Loss::huber>(prediction, target, options, delta);
}

template <class T>
Var<T> poisson_nll_loss(Var<T> prediction, Var<T> target,
                        const PoissonOptions<std::type_identity_t<T>>& options) {
  if (options.log_input) return record<Loss::poisson_log>(prediction, target, options.reduction);
  return record<Loss::poisson>(prediction, target, options.reduction, options.eps);
}

template <class T>
Var<T> bce_with_logits_loss(Var<T> logits, Var<T> target,
                            const BceOptions<std::type_identity_t<T>>& options) {
  constexpr Loss kind = Loss::bce_with_logits;
  if (!options.weight && !options.pos_weight) return record<kind>(logits, target, options.reduction);
  Var<T> losses = record<kind>(logits, target, LossReduction::none);
  if (options.pos_weight) {
    losses = weighted(target, *options.pos_weight, loss_name(kind)) * softplus(-logits) +
             (T{1} - target) * softplus(logits);
  }
  if (options.weight) losses = weighted(losses, *options.weight, loss_name(kind));
  return reduced(losses, options.reduction);
}

#define TAPER_INSTANTIATE(T)                                                                  \
  template Var<T> huber_loss(Var<T>, Var<T>, std::type_identity_t<T>, const LossOptions<T>&); \
  template Var<T> poisson_nll_loss(Var<T>, Var<T>, const PoissonOptions<T>&);                 \
  template Var<T> bce_with_logits_loss(Var<T>, Var<T>, const BceOptions<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper

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

constexpr const char* loss_names[] = {"mse_loss", "mae_loss", "huber_loss", "bce_with_logits_loss"};

constexpr const char* loss_name(Loss kind) {
  return loss_names[static_cast<int>(kind)];
}

/// Of the losses entry by entry. One of them alone has the setting.
struct LossAttributes {
  double delta = 0;
};

template <Loss kind> Shape scalar_of_pair(const Signature& s) {
  if (s[0] != s[1]) {
    throw Error(loss_name(kind), "prediction ", s[0], " and target ", s[1], ": expected the same shape");
  }
  if (s[0].size() == 0) throw Error(loss_name(kind), "prediction ", s[0], ": expected entries");
  const auto [delta] = as<LossAttributes>(s.attributes);
  if (kind == Loss::huber && !(delta > 0)) {
    throw Error(loss_name(kind), "delta ", delta, ": expected a positive number");
  }
  return Shape{};
}

template <Loss kind> std::vector<GradcheckCase> gradcheck_cases(Rng& rng) {
  std::vector<GradcheckCase> result;
  for (const Shape& shape : {Shape{7, 3}, Shape{1}, Shape{2, 2, 2, 3}}) {
    Tensor<double> prediction = ops::uniform(rng, shape, -3, 3), target = ops::uniform(rng, shape, 0, 1);
    for (Index i = 0; i < prediction.size(); ++i) {  // away from equality, and from the bend of huber at 0.7
      const double gap = std::abs(prediction[i] - target[i]);
      if (gap < 0.05 || std::abs(gap - 0.7) < 0.05) prediction[i] += 0.12;
    }
    result.push_back({{prediction, target}, LossAttributes{0.7}});
  }
  return result;
}

AttributeFields fields(Loss kind) {
  if (kind != Loss::huber) return attribute_fields<LossAttributes>({});
  return attribute_fields<LossAttributes>({{"delta", &LossAttributes::delta}});
}

template <class T> T delta_of(const auto& pass) {
  return static_cast<T>(as<LossAttributes>(pass.attributes()).delta);
}

template <class T, Loss kind>
const Op<T> loss_op{{
    .name = loss_name(kind),
    .arity = 2,
    .shape = scalar_of_pair<kind>,
    .forward =
        [](const Forward<T>& f) {
          const Index n = f.input(0).size();
          const double total =
              kernels::loss<T>(kind, n, f.input(0).data(), f.input(1).data(), delta_of<T>(f));
          f.output()[0] = static_cast<T>(total / static_cast<double>(n));
        },
    .backward =
        [](const Backward<T>& b) {
          const Index n = b.input(0).size();
          const T scale = b.output_gradient()[0] / static_cast<T>(n);
          for (const int of : {0, 1}) {
            if (const Gradient<T> g = b.gradient(of)) {
              kernels::loss_gradient<T>(kind, of, n, b.input(0).data(), b.input(1).data(), delta_of<T>(b),
                                        scale, g.data, g.add);
            }
          }
        },
    .attributes = fields(kind),
    .structure = ops::reduce_all,
    .gradcheck_cases = gradcheck_cases<kind>,
}};

template <Loss kind, class T> Var<T> record(Var<T> prediction, Var<T> target, double delta = 0) {
  return apply(loss_op<T, kind>, {prediction, target}, LossAttributes{delta});
}

// cross_entropy: the scratch keeps the log-softmax.

template <class T> Index class_of(T label, Index classes) {
  if (!(std::floor(label) == label) || label < 0 || label >= static_cast<T>(classes)) {
    throw Error("cross_entropy_loss", "label ", label, ": expected a whole number from 0 to ", classes - 1);
  }
  return static_cast<Index>(label);
}

template <class T>
const Op<T> cross_entropy_op{{
    .name = "cross_entropy_loss",
    .arity = 2,
    .shape =
        [](const Signature& s) {
          if (s[0].rank() != 2 || s[0].size() == 0) {
            throw Error("cross_entropy_loss", "logits ", s[0], ": expected rows x classes");
          }
          if (s[1] != Shape{s[0][0]} && s[1] != Shape{s[0][0], 1}) {
            throw Error("cross_entropy_loss", "labels ", s[1], " for logits ", s[0], ": expected ", s[0][0],
                        " entries");
          }
          return Shape{};
        },
    .forward =
        [](const Forward<T>& f) {
          const Index rows = f.input(0).shape()[0], classes = f.input(0).shape()[1];
          kernels::softmax_axis<T>(rows, classes, 1, f.input(0).data(), f.scratch(), true);
          double total = 0;
          for (Index i = 0; i < rows; ++i) {
            total -= static_cast<double>(f.scratch()[i * classes + class_of(f.input(1)[i], classes)]);
          }
          f.output()[0] = static_cast<T>(total / static_cast<double>(rows));
        },
    .backward =
        [](const Backward<T>& b) {
          const Gradient<T> g = b.gradient(0);
          if (!g) return;
          // The gradient of -log softmax(row)[label] is softmax(row), less one at the label.
          const Index rows = b.input(0).shape()[0], classes = b.input(0).shape()[1];
          const T scale = b.output_gradient()[0] / static_cast<T>(rows);
          for (Index i = 0; i < rows; ++i) {
            const T* const logarithms = b.scratch() + i * classes;
            T* const to = g.data + i * classes;
            const T zeros[] = {0, 0};
            // The gradient of a log sum exp that is 0: exp(logarithm - 0) * scale.
            kernels::logsumexp_axis_gradient<T>(1, classes, 1, logarithms, zeros, &scale, to, g.add);
            to[class_of(b.input(1)[i], classes)] -= scale;
          }
        },
    .structure = ops::reduce_all,
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{{{ops::uniform(rng, {5, 4}), ops::whole(rng, {5}, 4)}},
                                            {{ops::uniform(rng, {3, 19}), ops::whole(rng, {3, 1}, 19)}}};
        },
    .scratch = [](const Signature& s) { return s[0].size(); },
    .constants = 0b10,
}};

}  // namespace

template <class T> Var<T> mse_loss(Var<T> prediction, Var<T> target) {
  return record<Loss::square>(prediction, target);
}
template <class T> Var<T> mae_loss(Var<T> prediction, Var<T> target) {
  return record<Loss::absolute>(prediction, target);
}
template <class T> Var<T> huber_loss(Var<T> prediction, Var<T> target, std::type_identity_t<T> delta) {
  return record<Loss::huber>(prediction, target, delta);
}
template <class T> Var<T> bce_with_logits_loss(Var<T> logits, Var<T> target) {
  return record<Loss::bce_with_logits>(logits, target);
}
template <class T> Var<T> cross_entropy_loss(Var<T> logits, Var<T> labels) {
  return apply(cross_entropy_op<T>, {logits, labels});
}

#define TAPER_LOSSES(T)                                                \
  template Var<T> mse_loss(Var<T>, Var<T>);                            \
  template Var<T> mae_loss(Var<T>, Var<T>);                            \
  template Var<T> huber_loss(Var<T>, Var<T>, std::type_identity_t<T>); \
  template Var<T> bce_with_logits_loss(Var<T>, Var<T>);                \
  template Var<T> cross_entropy_loss(Var<T>, Var<T>);
TAPER_FOR_SCALARS(TAPER_LOSSES)

}  // namespace taper

#include <taper/optim/output_loss.hpp>

#include <algorithm>
#include <cmath>
#include <variant>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/instantiate.hpp>

namespace taper::optim {
namespace {

/// log(1 + exp(x)).
double log_one_plus_exp(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

double logistic_function(double x) {
  const double e = std::exp(-std::abs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}

/// The largest entry, and the sum of exp(entry - largest).
struct ExponentialSum {
  explicit ExponentialSum(std::span<const double> x) : most(std::ranges::max(x)) {
    for (const double entry : x) sum += std::exp(entry - most);
  }
  double share(double entry) const { return std::exp(entry - most) / sum; }

  double most, sum = 0;
};

}  // namespace

template <class T>
OutputLoss::OutputLoss(const Node<T>& node, Index outputs, const char* where)
    : outputs_(outputs), where_(where) {
  const std::string_view name = node.op == nullptr ? "no operation" : node.op->name;
  if (name == "cross_entropy_loss") {
    kind_ = Kind::softmax;
  } else if (name == "bce_with_logits_loss") {
    kind_ = Kind::logistic;
  } else if (name != "mse_loss") {
    throw Error(where, "a loss that ends with ", name,
                ": expected mse_loss, bce_with_logits_loss or cross_entropy_loss");
  }
  for_attributes(*node.op, node.attributes, [&](std::string_view field, const AttributeValue& value) {
    if (field == "reduction" && std::get<std::string_view>(value) != "mean") {
      throw Error(where, name, " with reduction ", value, ": expected the mean");
    }
    if ((field == "class_weights" || field == "sample_weights") && std::get<bool>(value)) {
      throw Error(where, name, " with ", field, ": expected none of the loss, see sample_weights here");
    }
    if (field == "label_smoothing") smoothing_ = std::get<double>(value);
    if (field == "ignore_index") ignored_ = static_cast<double>(std::get<Index>(value));
  });
}

void OutputLoss::check(std::span<const double> targets) const {
  if (kind_ == Kind::squares) return;
  if (kind_ == Kind::logistic) {  // of others, the loss has no least value
    for (const double target : targets) {
      if (target >= 0 && target <= 1) continue;
      throw Error(where_, "target ", target, " of bce_with_logits_loss: expected a probability, from 0 to 1");
    }
    return;
  }
  for (const double label : targets) {
    if (is_ignored(label)) continue;
    if (std::floor(label) == label && label >= 0 && label < static_cast<double>(outputs_)) continue;
    throw Error(where_, "label ", label, ": expected a whole number from 0 to ", outputs_ - 1);
  }
}

double OutputLoss::terms(std::span<const double> targets) const {
  if (kind_ == Kind::softmax) return is_ignored(targets[0]) ? 0 : 1;
  return static_cast<double>(outputs_);
}

double OutputLoss::value(std::span<const double> outputs, std::span<const double> targets) const {
  double total = 0;
  switch (kind_) {
    case Kind::squares:
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        total += (outputs[k] - targets[k]) * (outputs[k] - targets[k]);
      }
      return total;
    case Kind::logistic:
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        total += log_one_plus_exp(outputs[k]) - targets[k] * outputs[k];
      }
      return total;
    case Kind::softmax: {
      if (is_ignored(targets[0])) return 0;
      const ExponentialSum of(outputs);
      const double whole = of.most + std::log(of.sum);
      total = (1 - smoothing_) * (whole - outputs[static_cast<std::size_t>(targets[0])]);
      if (smoothing_ == 0) return total;
      for (const double output : outputs) {
        total += smoothing_ / static_cast<double>(outputs_) * (whole - output);
      }
      return total;
    }
  }
  return total;
}

void OutputLoss::gradient(std::span<const double> outputs, std::span<const double> targets, double weight,
                          std::span<double> to) const {
  switch (kind_) {
    case Kind::squares:
      for (std::size_t k = 0; k < to.size(); ++k) to[k] = weight * 2 * (outputs[k] - targets[k]);
      return;
    case Kind::logistic:
      for (std::size_t k = 0; k < to.size(); ++k) {
        to[k] = weight * (logistic_function(outputs[k]) - targets[k]);
      }
      return;
    case Kind::softmax: {
      if (is_ignored(targets[0])) {
        std::ranges::fill(to, 0.0);
        return;
      }
      const ExponentialSum whole(outputs);
      const double spread = smoothing_ / static_cast<double>(outputs_);
      for (std::size_t k = 0; k < to.size(); ++k) to[k] = weight * (whole.share(outputs[k]) - spread);
      to[static_cast<std::size_t>(targets[0])] -= weight * (1 - smoothing_);
      return;
    }
  }
}

void OutputLoss::curvature(std::span<const double> outputs, double weight, std::span<double> to) const {
  std::ranges::fill(to, 0.0);
  const std::size_t n = outputs.size();
  switch (kind_) {
    case Kind::squares:
      for (std::size_t k = 0; k < n; ++k) to[k * n + k] = std::sqrt(2 * weight);
      return;
    case Kind::logistic:
      for (std::size_t k = 0; k < n; ++k) {
        const double e = std::exp(-std::abs(outputs[k]));
        to[k * n + k] = std::sqrt(weight * e) / (1 + e);
      }
      return;
    case Kind::softmax: {
      if (n == 1) return;
      // Row k: its own entry is sqrt(p_k r_k / (p_k + r_k)), with r_k what comes behind it, and entry j there
      // -p_j sqrt(p_k / (r_k (p_k + r_k))). What would be the last row is zero. The first row, which is
      // written last, holds p until then.
      const ExponentialSum whole(outputs);
      const std::span<double> p = to.first(n);
      std::ranges::transform(outputs, p.begin(), [&](double output) { return whole.share(output); });
      double behind = p[n - 1];
      for (std::size_t k = n - 1; k-- > 0;) {
        const double own = p[k];
        const double share = own > 0 && behind > 0
                                 ? std::sqrt(weight) * std::sqrt(own / (own + behind)) / std::sqrt(behind)
                                 : 0;
        for (std::size_t j = k + 1; j < n; ++j) to[k * n + j] = -share * p[j];
        to[k * n + k] = share * behind;
        behind += own;
      }
      return;
    }
  }
}

#define TAPER_INSTANTIATE(T) template OutputLoss::OutputLoss(const Node<T>&, Index, const char*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::optim

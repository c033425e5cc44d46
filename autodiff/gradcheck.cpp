#include <taper/autodiff/gradcheck.hpp>

#include <cmath>
#include <ostream>

#include <taper/autodiff/ops.hpp>

namespace taper {
namespace {

/// A function recorded once, with its gradient at the starting point.
class Check {
 public:
  Check(const TapeFunction& f, std::span<const Tensor<double>> inputs, unsigned constants,
        const GradcheckOptions& options)
      : options_(options), rng_(options.seed) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool fixed = i < 32 && (constants >> i & 1u) != 0;
      inputs_.push_back(fixed ? tape_.constant(inputs[i]) : tape_.variable(inputs[i]));
      if (!fixed) free_.push_back(i);
    }
    output_ = f(inputs_);
    weights_ = random_weights(output_.shape());
    tape_.replay(options.seed);  // the random numbers that all later replays will use too
    // Twice: a first writer that adds would add to what the first pass has left.
    tape_.backward(output_, weights_.view());
    tape_.backward(output_, weights_.view());
    for (const std::size_t i : free_) {
      gradients_.emplace_back(inputs_[i].gradient());
      directions_.emplace_back(inputs_[i].shape());
    }
  }

  GradcheckReport run() {
    for (std::size_t k = 0; k < free_.size(); ++k) {
      if (gradients_[k].size() > options_.most_entries) continue;
      for (Index at = 0; at < gradients_[k].size(); ++at) check_entry(k, at);
    }
    for (int p = 0; p < options_.projections; ++p) check_projection(p);
    check_adding();
    return report_;
  }

 private:
  /// Whether every operation adds its gradients to those of other users. A backward pass is linear in what
  /// arrives: from the output and from a second use of every variable together, it must give the sum of what
  /// it gives from each of them alone. Second uses are recorded last, so they are the first to write.
  void check_adding() {
    tape_.replay(options_.seed);
    const auto count = static_cast<Index>(tape_.nodes().size());
    std::vector<Var<double>> uses{sum(output_ * tape_.constant(weights_))};
    for (Index i = 0; i < count; ++i) {
      const Var<double> x = tape_.at(i);
      if (!tape_.nodes()[static_cast<std::size_t>(i)].requires_grad) continue;
      uses.push_back(sum(x * tape_.constant(random_weights(x.shape()))));
    }
    std::vector<Tensor<double>> sums;
    for (const std::size_t i : free_) sums.emplace_back(inputs_[i].shape());
    Var<double> together = uses[0];
    for (std::size_t u = 0; u < uses.size(); ++u) {
      if (u > 0) together = together + uses[u];
      tape_.backward(uses[u]);
      for (std::size_t k = 0; k < free_.size(); ++k)
        sums[k].vector() += inputs_[free_[k]].gradient().vector();
    }
    tape_.backward(together);
    for (std::size_t k = 0; k < free_.size(); ++k) {
      const View<const double> g = inputs_[free_[k]].gradient();
      for (Index i = 0; i < g.size(); ++i) {
        if (!std::isfinite(sums[k][i])) continue;  // of values at the end of the range
        note(
            g[i], sums[k][i], [&] { return entry(i, free_[k]) + ", to which other operations add"; },
            "sum of single ones");
      }
    }
  }

  static std::string entry(Index entry, std::size_t input) {
    return "entry " + std::to_string(entry) + " of input " + std::to_string(input);
  }

  Tensor<double> random_weights(const Shape& shape) {
    Tensor<double> weights(shape);
    for (double& weight : weights) weight = rng_.uniform(0.5, 1.5);
    return weights;
  }

  double evaluate() {
    tape_.replay(options_.seed);
    double total = 0;
    for (Index i = 0; i < weights_.size(); ++i) total += weights_[i] * output_.value()[i];
    return total;
  }

  /// The derivative of the output as all inputs move along the directions times t, at t = 0.
  double difference(double step) {
    const auto move = [&](double by) {
      for (std::size_t k = 0; k < free_.size(); ++k) {
        const View<double> x = inputs_[free_[k]].data();
        for (Index i = 0; i < x.size(); ++i) x[i] += by * directions_[k][i];
      }
    };
    move(step);
    const double above = evaluate();
    move(-2 * step);
    const double below = evaluate();
    move(step);
    return (above - below) / (2 * step);
  }

  void check_entry(std::size_t k, Index at) {
    const View<double> x = inputs_[free_[k]].data();
    const double start = x[at];
    directions_[k][at] = 1;
    const double numeric = difference(options_.step * std::max(1.0, std::abs(start)));
    directions_[k][at] = 0;
    x[at] = start;  // to the bit
    note(gradients_[k][at], numeric, [&] { return entry(at, free_[k]); });
  }

  void check_projection(int number) {
    std::vector<Tensor<double>> start;
    double analytic = 0;
    for (std::size_t k = 0; k < free_.size(); ++k) {
      start.emplace_back(inputs_[free_[k]].value());
      for (Index i = 0; i < gradients_[k].size(); ++i) {
        directions_[k][i] = rng_.normal();
        analytic += directions_[k][i] * gradients_[k][i];
      }
    }
    const double numeric = difference(options_.step);
    for (std::size_t k = 0; k < free_.size(); ++k) {
      inputs_[free_[k]].assign(start[k]);
      directions_[k] = Tensor<double>(directions_[k].shape());
    }
    note(analytic, numeric, [&] { return "random direction " + std::to_string(number); });
  }

  template <class Where>
  void note(double analytic, double numeric, const Where& where, const char* beside = "difference") {
    const double scale = 1 + std::max(std::abs(analytic), std::abs(numeric));
    const double apart = std::abs(analytic - numeric) / scale;
    const bool fine = apart <= options_.tolerance;  // false for NaN
    if (!fine) report_.ok = false;
    if (apart <= report_.worst || std::isnan(report_.worst)) return;  // a NaN is the worst
    report_.worst = apart;
    report_.where =
        where() + ": derivative " + std::to_string(analytic) + ", " + beside + " " + std::to_string(numeric);
  }

  GradcheckOptions options_;
  Rng rng_;
  Tape<double> tape_;
  std::vector<Var<double>> inputs_;
  std::vector<std::size_t> free_;  // the inputs that have a derivative
  Var<double> output_;
  Tensor<double> weights_;
  std::vector<Tensor<double>> gradients_, directions_;  // of the free ones
  GradcheckReport report_;
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const GradcheckReport& report) {
  return out << (report.ok ? "gradients agree" : "gradients differ") << ", at most " << report.worst << " ("
             << report.where << ")";
}

GradcheckReport gradcheck(const TapeFunction& f, std::span<const Tensor<double>> inputs,
                          const GradcheckOptions& options) {
  return Check(f, inputs, 0, options).run();
}

GradcheckReport gradcheck(const Op<double>& op, const GradcheckCase& example,
                          const GradcheckOptions& options) {
  const TapeFunction f = [&](std::span<const Var<double>> x) {
    return x[0].tape().record(op, x, example.attributes);
  };
  return Check(f, example.inputs, op.constants, options).run();
}

}  // namespace taper

#include <taper/sparsity/shrink.hpp>

#include <cmath>
#include <ostream>

#include <taper/sparsity/chain.hpp>
#include <taper/train/fit.hpp>

namespace taper::sparsity {
namespace {

/// Compares both networks on these inputs and notes the largest difference.
template <class T>
void compare(nn::Sequential<T>& before, nn::Sequential<T>& after, View<const T> x, ShrinkReport& report) {
  if (x.size() == 0) return;
  const Tensor<T> expected = train::predict(before, x), got = train::predict(after, x);
  report.probes += x.shape().rows();
  const auto want = expected.matrix().template cast<double>().eval();
  const auto difference = (got.matrix().template cast<double>() - want).cwiseAbs().eval();
  if (!want.allFinite() || !difference.allFinite()) {
    throw Error("shrink", "an output of the network is not finite: expected finite outputs on the probes");
  }
  for (Index column = 0; column < want.cols(); ++column) {
    const double largest = difference.col(column).maxCoeff(), scale = want.col(column).cwiseAbs().maxCoeff();
    report.max_abs_difference = std::max(report.max_abs_difference, largest);
    if (largest == 0) continue;
    report.max_relative_difference = std::max(report.max_relative_difference, largest / scale);
  }
}

void require(const char* name, double value) {
  if (!(std::isfinite(value) && value >= 0))
    throw Error("shrink", name, " ", value, ": expected a finite number, 0 or more");
}

void print(std::ostream& out, const std::vector<Index>& widths) {
  const char* separator = "";
  for (const Index width : widths) {
    out << separator << width;
    separator = "-";
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const ShrinkReport& report) {
  out << report.parameters_before << " -> " << report.parameters_after << " parameters (";
  print(out, report.widths_before);
  out << " -> ";
  print(out, report.widths_after);
  out << "), " << report.inputs.size() << " of " << report.widths_before.front()
      << " inputs read, max |difference| " << report.max_abs_difference << " ("
      << report.max_relative_difference << " relative) on " << report.probes << " probes";
  return out;
}

template <class T>
Shrunk<T> shrink(nn::Sequential<T>& model, const ShrinkOptions& options,
                 std::type_identity_t<View<const T>> probes) {
  require("threshold", options.threshold);
  require("tolerance", options.tolerance);
  if (options.random_probes < 0)
    throw Error("shrink", options.random_probes, " random probes: expected 0 or more");
  if (options.random_probes == 0 && (probes.data() == nullptr || probes.size() == 0))
    throw Error("shrink", "no probes, neither random nor given: expected at least one");
  Chain<T> chain(model);
  Shrunk<T> result;
  ShrinkReport& report = result.report;
  report.parameters_before = chain.parameters();
  report.widths_before = chain.widths();
  chain.zero_below(options.threshold);
  chain.cut();
  report.parameters_after = chain.parameters();
  report.widths_after = chain.widths();
  report.inputs = chain.inputs();
  result.model = chain.build(model);

  Tensor<T> random({options.random_probes, chain.input_width()});
  Rng rng(options.seed);
  for (T& entry : random) entry = static_cast<T>(rng.normal());
  compare<T>(model, result.model, random, report);
  if (probes.data() != nullptr) compare<T>(model, result.model, probes, report);
  if (report.max_relative_difference > options.tolerance) {
    throw Error("shrink", "the smaller network differs by ", report.max_relative_difference,
                " of the largest output: expected at most ", options.tolerance, "; a threshold below ",
                options.threshold, " cuts less");
  }
  return result;
}

template Shrunk<float> shrink(nn::Sequential<float>&, const ShrinkOptions&, View<const float>);
template Shrunk<double> shrink(nn::Sequential<double>&, const ShrinkOptions&, View<const double>);

}  // namespace taper::sparsity

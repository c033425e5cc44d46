#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/instantiate.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/sparsity/shrink/recording.hpp>

namespace taper::sparsity::shrinking {

template <class T> Tensor<T> select_columns(View<const T> x, const std::vector<Index>& columns) {
  Tensor<T> result(x.shape().with(x.shape().rank() - 1, static_cast<Index>(columns.size())));
  for (std::size_t j = 0; j < columns.size(); ++j) {
    result.matrix().col(static_cast<Index>(j)) = x.matrix().col(columns[j]);
  }
  return result;
}

namespace {

/// How large the terms are that an output is the sum of, by index of its last axis: rounding is relative to
/// them, and not to what is left where they cancel. Empty for an output that is no sums with a bias, or a
/// function of such sums entry by entry.
template <class T> std::vector<double> sizes_of_terms(const Tape<T>& tape, Var<T> output) {
  const Node<T>* node = &tape.nodes()[static_cast<std::size_t>(output.index())];
  while (node->op != nullptr && node->inputs == 1 && is_elementwise(tape, *node)) {
    node = &tape.nodes()[tape.inputs(*node)[0]];
  }
  if (node->op == nullptr || node->shape.size() == 0 || node->shape != output.shape()) return {};
  const Structure rule = structure_of(tape, *node);
  const auto inputs = tape.inputs(*node);
  const Index last = node->shape.rank() - 1;
  if (last < 1 || rule.bias_axis != last || rule.contractions.size() != 1) return {};
  const Contraction& sum = rule.contractions[0];
  const Node<T>&data = tape.nodes()[inputs[static_cast<std::size_t>(sum.input_a)]],
        &weight = tape.nodes()[inputs[static_cast<std::size_t>(sum.input_b)]];
  if (data.shape.rank() != last + 1 || sum.axis_a != last || weight.shape.rank() != 2 || sum.axis_b != 1)
    return {};
  const auto largest = View<const T>(data.value, data.shape).matrix().cwiseAbs().colwise().maxCoeff().eval();
  const auto products = View<const T>(weight.value, weight.shape).matrix().cwiseAbs() * largest.transpose();
  std::vector<double> result;
  for (Index o = 0; o < weight.shape[0]; ++o) {
    const bool biased = rule.bias < static_cast<Index>(inputs.size());
    const T bias = biased ? tape.nodes()[inputs[static_cast<std::size_t>(rule.bias)]].value[o] : T{};
    result.push_back(static_cast<double>(products(o)) + std::abs(static_cast<double>(bias)));
  }
  return result;
}

/// All outputs of a model for all rows, in batches, and the sizes of their terms where these are asked for.
template <class T>
std::vector<Tensor<T>> outputs_of(const nn::Module<T>& model, const std::vector<View<const T>>& inputs,
                                  Index& multiply_adds_of_a_row,
                                  std::vector<std::vector<double>>* terms = nullptr) {
  std::vector<Tensor<T>> result;
  const Index rows = inputs.empty() ? 0 : inputs[0].shape()[0];
  Tape<T> tape(Mode::evaluation);
  for (Index begin = 0; begin < rows; begin += most_rows) {
    const Index count = std::min(most_rows, rows - begin);
    tape.clear();
    const nn::ModuleScope<T> scope(tape, model);
    std::vector<Var<T>> given;
    for (const View<const T>& x : inputs) {
      const Index width = x.size() / rows;
      given.push_back(tape.constant({x.data() + begin * width, x.shape().with(0, count)}, "x"));
    }
    const std::vector<Var<T>> outputs = model.record(given);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const View<const T> value = outputs[k].value();
      if (value.shape().rank() < 1 || value.shape()[0] != count) {
        throw Error("shrink", "an output ", value.shape(), " for ", count,
                    " rows: expected one row for each");
      }
      if (begin == 0) {
        result.emplace_back(value.shape().with(0, rows));
        if (terms != nullptr) terms->push_back(sizes_of_terms(tape, outputs[k]));
      }
      std::copy(value.begin(), value.end(), result[k].data() + begin * (value.size() / count));
    }
    if (begin == 0) multiply_adds_of_a_row = multiply_adds(tape, count);
  }
  return result;
}

/// Throws Error where the original can be recorded for training and the smaller model cannot: what only
/// training uses was not there to be looked at.
template <class T>
void require_training(const nn::Module<T>& original, const std::vector<View<const T>>& inputs,
                      const nn::Module<T>& small, const std::vector<View<const T>>& given) {
  const auto record = [](const nn::Module<T>& model, const std::vector<View<const T>>& examples) {
    Tape<T> tape(Mode::training);
    const nn::ModuleScope<T> scope(tape, model);
    std::vector<Var<T>> variables;
    for (const View<const T>& x : examples) {
      variables.push_back(tape.constant({x.data(), x.shape().with(0, std::min<Index>(x.shape()[0], 2))}));
    }
    model.record(variables);
  };
  try {
    record(small, given);
  } catch (const Error& error) {
    if (error.where() == "memory") throw;
    try {
      record(original, inputs);
    } catch (const Error& before) {
      if (before.where() == "memory") throw;
      return;  // it could not be, either
    }
    throw Error("shrink", "the smaller network cannot be recorded for training (", error.what(),
                "): expected a model that uses all its parts in evaluation");
  }
}

}  // namespace

template <class T>
void compare(const nn::Module<T>& original, const nn::Module<T>& small, const ShrinkOptions<T>& options,
             bool selected, ShrinkReport& report) {
  const std::vector<View<const T>>& examples = options.examples.inputs();
  std::vector<Tensor<T>> columns;
  std::vector<View<const T>> given = examples;
  columns.reserve(given.size());
  for (std::size_t k = 0; k < given.size() && selected; ++k) {
    if (given[k].shape().rank() == 2)
      given[k] = columns.emplace_back(select_columns(given[k], report.inputs[k]));
  }
  report.probes = examples.empty() ? 0 : examples[0].shape()[0];
  std::vector<std::vector<double>> terms;
  const std::vector<Tensor<T>> expected = outputs_of(original, examples, report.multiply_adds_before, &terms);
  const std::vector<Tensor<T>> got = outputs_of(small, given, report.multiply_adds_after);
  for (std::size_t k = 0; k < expected.size(); ++k) {
    // One row for each example, whatever the rank.
    const auto rows_of = [&](const Tensor<T>& all) {
      return View<const T>(all.data(), {report.probes, all.size() / report.probes});
    };
    const auto want = rows_of(expected[k]).matrix().template cast<double>().eval();
    const auto difference = (rows_of(got[k]).matrix().template cast<double>() - want).cwiseAbs().eval();
    if (!want.allFinite() || !difference.allFinite()) {
      throw Error("shrink",
                  "an output of the network is not finite: expected finite outputs on the examples");
    }
    for (Index column = 0; column < want.cols(); ++column) {
      const double largest = difference.col(column).maxCoeff();
      double size = want.col(column).cwiseAbs().maxCoeff();
      if (!terms[k].empty())
        size = std::max(size, terms[k][static_cast<std::size_t>(column) % terms[k].size()]);
      const double deviation = (want.col(column).array() - want.col(column).mean()).abs().maxCoeff();
      report.max_abs_difference = std::max(report.max_abs_difference, largest);
      // What an output that hardly varies loses to rounding is no difference.
      const double rounding = 64 * static_cast<double>(std::numeric_limits<T>::epsilon()) * size;
      if (largest == 0) continue;
      report.max_relative_difference =
          std::max(report.max_relative_difference, largest / std::max(deviation, rounding / 1e-4));
    }
  }
  require_training(original, examples, small, given);
  if (report.max_relative_difference > options.tolerance) {
    throw Error("shrink", "the smaller network differs by ", report.max_relative_difference,
                " of what an output varies: expected at most ", options.tolerance,
                "; a lower threshold cuts less");
  }
}

#define TAPER_INSTANTIATE(T)                                                                       \
  template Tensor<T> select_columns(View<const T>, const std::vector<Index>&);                     \
  template void compare(const nn::Module<T>&, const nn::Module<T>&, const ShrinkOptions<T>&, bool, \
                        ShrinkReport&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity::shrinking

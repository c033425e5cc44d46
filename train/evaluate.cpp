#include <taper/train/evaluate.hpp>

#include <algorithm>

#include <taper/instantiate.hpp>
#include <taper/train/trainer/recorded_step.hpp>

namespace taper::train {
namespace {

constexpr Index most_rows = 1024;  // in a batch

/// Rows of a tensor, which has rows first.
template <class T> View<const T> rows_of(View<const T> x, Index begin, Index count) {
  const Index rows = x.shape()[0], width = rows == 0 ? 0 : x.size() / rows;
  return {x.data() + begin * width, x.shape().with(0, count)};
}

}  // namespace

template <class T> Tensor<T> predict(const nn::Module<T>& model, std::type_identity_t<View<const T>> given) {
  const View<const T> x = data::as_rows(given);
  if (x.shape().rank() < 1) throw Error("predict", "an input ", x.shape(), ": expected rows");
  const Index rows = x.shape()[0];
  Tensor<T> result;
  Tape<T> tape(Mode::evaluation);
  for (Index begin = 0; begin == 0 || begin < rows; begin += most_rows) {
    const Index count = std::min(most_rows, rows - begin);
    tape.clear();
    const Var<T> y = nn::record_one(model, tape.constant(rows_of(x, begin, count), "x"), "predict");
    if (y.shape().rank() < 1 || y.shape()[0] != count) {
      throw Error("predict", "an output ", y.shape(), " for ", count, " rows: expected one row for each");
    }
    if (begin == 0) result = Tensor<T>(y.shape().with(0, rows));
    std::copy(y.value().begin(), y.value().end(),
              result.data() + (count == 0 ? 0 : begin * (y.value().size() / count)));
  }
  return result;
}

template <class T>
double evaluate(const nn::Module<T>& model, const data::Dataset<T>& data,
                const std::type_identity_t<nn::Loss<T>>& loss, bool pairwise_loss) {
  data::check(data, "evaluate");
  const Tensor<T> prediction = predict(model, data.inputs());
  Tape<T> tape(Mode::evaluation);
  const Var<T> given = tape.constant(prediction), target = tape.constant(data.targets());
  const std::size_t before = tape.nodes().size();
  const Var<T> output = loss(given, target);
  if (!pairwise_loss) require_no_pairs(tape, before, "evaluate");
  return static_cast<double>(output.item());
}

template <class T>
double evaluate(const nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& given,
                const std::type_identity_t<Step<T>>& step) {
  const std::vector<View<const T>> columns = data::checked_columns<T>(given, "evaluate");
  const StepOf<T> of = step_of(model, step, columns.size());
  const Index rows = columns.front().shape()[0];
  double mean = 0;
  Tape<T> tape(Mode::evaluation);
  for (Index begin = 0; begin < rows; begin += most_rows) {
    const Index count = std::min(most_rows, rows - begin);
    tape.clear();
    const std::vector<Var<T>> inputs = of.inputs(tape, columns, count);
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i].assign(rows_of(columns[i], begin, count));
    const auto loss = static_cast<double>(of.record(tape, inputs, "evaluate").item());
    mean += loss * (static_cast<double>(count) / static_cast<double>(rows));
  }
  return mean;
}

#define TAPER_INSTANTIATE(T)                                                                              \
  template Tensor<T> predict(const nn::Module<T>&, std::type_identity_t<View<const T>>);                  \
  template double evaluate(const nn::Module<T>&, const data::Dataset<T>&,                                 \
                           const std::type_identity_t<nn::Loss<T>>&, bool);                               \
  template double evaluate(const nn::Module<T>&, const std::vector<View<const std::type_identity_t<T>>>&, \
                           const std::type_identity_t<Step<T>>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::train

#include <taper/train/trainer/setup.hpp>

#include <taper/instantiate.hpp>
#include <taper/train/evaluate.hpp>

namespace taper::train {
namespace {

template <class T> std::vector<View<const T>> columns_of(const data::Dataset<T>& set) {
  return {set.inputs(), set.targets()};
}

}  // namespace

template <class T>
Setup<T> setup_with_step(const nn::Module<T>& model, const std::vector<View<const T>>& columns,
                         const Step<T>& step, const FitOptions<T>& options) {
  if (!step) throw Error("fit", "an empty step: expected one that can be recorded");
  Setup<T> setup{step_of(model, step, columns.size()), data::checked_columns<T>(columns, "fit"), {}, {}};
  const bool has_set = options.validation != nullptr, has_columns = !options.validation_columns.empty();
  if (has_set && has_columns) {
    throw Error("fit", "a validation set and validation columns: expected one of the two");
  }
  if (has_set || has_columns) {
    setup.validation = data::checked_columns<T>(
        has_set ? columns_of(*options.validation) : options.validation_columns, "fit");
    if (setup.validation.size() != columns.size()) {
      throw Error("fit", setup.validation.size(), " columns of validation data: expected ", columns.size(),
                  ", as in the training");
    }
  }
  if (has_set || has_columns || options.early_stopping) {
    setup.judge = [&model, step, judged = setup.validation.empty() ? setup.columns : setup.validation] {
      return evaluate(model, judged, step);
    };
  }
  return setup;
}

template <class T>
Setup<T> setup_with_loss(const nn::Module<T>& model, const data::Dataset<T>& data, const nn::Loss<T>& loss,
                         const FitOptions<T>& options) {
  data::check(data, "fit");
  if (!options.validation_columns.empty()) {
    throw Error("fit", "validation columns for a training with a loss: expected a validation set");
  }
  const bool pairwise = options.pairwise_loss;
  Setup<T> setup{
      {&model, step_with_loss(model, loss, pairwise, "fit"), {"x", "y"}}, columns_of(data), {}, {}};
  const data::Dataset<T>* const validation = options.validation;
  if (validation != nullptr) {
    data::check(*validation, "fit");
    if (validation->rows() == 0) throw Error("fit", "a validation set of 0 rows: expected some");
    setup.validation = columns_of(*validation);
  }
  if (validation != nullptr || options.early_stopping) {
    setup.judge = [&model, judged = validation != nullptr ? validation : &data, loss, pairwise] {
      return evaluate(model, *judged, loss, pairwise);
    };
  }
  return setup;
}

#define TAPER_INSTANTIATE(T)                                                                                 \
  template Setup<T> setup_with_step(const nn::Module<T>&, const std::vector<View<const T>>&, const Step<T>&, \
                                    const FitOptions<T>&);                                                   \
  template Setup<T> setup_with_loss(const nn::Module<T>&, const data::Dataset<T>&, const nn::Loss<T>&,       \
                                    const FitOptions<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::train

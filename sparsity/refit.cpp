#include <taper/sparsity/refit.hpp>

#include <algorithm>

#include <taper/autodiff/difference.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/gauss_newton.hpp>

namespace taper::sparsity {
namespace {

constexpr Index most_free = 1000, outputs_for_each = 10;
constexpr double most_outputs = 1e8;

/// The outputs of a row, where the model computes the same in training as in evaluation; else 0. Throws Error
/// for what Levenberg-Marquardt cannot train.
template <class T>
Index outputs_of_row(nn::Module<T>& model, const data::Dataset<T>& data, const nn::Loss<T>& loss) {
  const KeepRandomState keep;
  const Index rows = std::min<Index>(2, data.rows());
  Tape<T> training(Mode::training), evaluation(Mode::evaluation);
  const auto record = [&](Tape<T>& tape, View<const T> x) {
    const Shape shape = x.shape().with(0, rows);
    return nn::record_one(model, tape.constant(View<const T>(x.data(), shape)), "refit");
  };
  record(training, data.inputs());
  record(evaluation, data.inputs());
  if (!difference(training, evaluation).empty()) return 0;
  const optim::RowLoss<T> row_loss = [&](Tape<T>&, std::span<const Var<T>> in) {
    return loss(nn::record_one(model, in[0], "refit"), in[1]);
  };
  return optim::GaussNewton<T>(model, {data.inputs(), data.targets()}, row_loss, {}, "refit")
      .loss()
      .outputs();
}

}  // namespace

template <class T>
bool suits_second_order(nn::Module<T>& model, const data::Dataset<T>& data,
                        const std::type_identity_t<nn::Loss<T>>& loss,
                        const std::type_identity_t<train::FitOptions<T>>& fit) {
  if (fit.schedule || fit.augment || fit.checkpoint.save || fit.checkpoint.resume || fit.accumulate != 1)
    return false;
  Index free = 0;
  const nn::Parameters<T> parameters = model.parameters();
  for (const auto& entry : parameters.entries()) {
    const std::uint8_t* const frozen = parameters.block()->frozen.data() + entry.offset;
    free += std::count(frozen, frozen + entry.shape.size(), 0);
  }
  if (free == 0 || free > most_free) return false;
  double outputs = 0;
  try {
    outputs = static_cast<double>(data.rows()) * static_cast<double>(outputs_of_row<T>(model, data, loss));
  } catch (const Error&) {
    return false;  // another loss, or something that the training itself says better
  }
  if (!(outputs > 0 && outputs <= most_outputs)) return false;
  return fit.early_stopping || outputs >= static_cast<double>(outputs_for_each * free);
}

template <class T>
train::History refit(nn::Module<T>& model, const data::Dataset<T>& data,
                     const std::type_identity_t<nn::Loss<T>>& loss, const RefitOptions& options,
                     const std::type_identity_t<train::FitOptions<T>>& fit) {
  const bool second_order =
      options.method == RefitMethod::levenberg_marquardt ||
      (options.method == RefitMethod::by_size && suits_second_order(model, data, loss, fit));
  if (second_order) {
    return train::fit(model, data, loss,
                      optim::LevenbergMarquardtOptions{.weight_decay = options.weight_decay,
                                                       .max_iterations = std::max<Index>(fit.epochs, 0)},
                      fit);
  }
  return train::fit(
      model, data, loss,
      optim::Adam<T>(model.parameters(), {.lr = options.lr, .weight_decay = options.weight_decay}), fit);
}

#define TAPER_INSTANTIATE(T)                                                                   \
  template bool suits_second_order(nn::Module<T>&, const data::Dataset<T>&,                    \
                                   const std::type_identity_t<nn::Loss<T>>&,                   \
                                   const std::type_identity_t<train::FitOptions<T>>&);         \
  template train::History refit(nn::Module<T>&, const data::Dataset<T>&,                       \
                                const std::type_identity_t<nn::Loss<T>>&, const RefitOptions&, \
                                const std::type_identity_t<train::FitOptions<T>>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity

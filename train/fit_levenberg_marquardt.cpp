#include <taper/train/fit_levenberg_marquardt.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

#include <taper/instantiate.hpp>
#include <taper/train/diverged.hpp>
#include <taper/train/trainer/training.hpp>

namespace taper::train {
namespace {

template <class T> void refuse_what_it_has_not(const FitOptions<T>& options) {
  const auto refuse = [](const char* what) {
    throw Error("fit", what, " with Levenberg-Marquardt, which takes all rows at a time: expected none");
  };
  if (options.epochs < 0) throw Error("fit", options.epochs, " epochs: expected 0 or more");
  if (options.schedule) refuse("a schedule of learning rates");
  if (options.accumulate != 1) refuse("batches to be accumulated");
  if (options.augment) refuse("rows that are changed in each batch (augment)");
  if (options.checkpoint.save || options.checkpoint.resume) refuse("a checkpoint");
}

}  // namespace

template <class T>
History fit(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
            const optim::LevenbergMarquardtOptions& method,
            const std::type_identity_t<FitOptions<T>>& options) {
  using Clock = std::chrono::steady_clock;
  refuse_what_it_has_not(options);
  const auto begin = Clock::now();
  auto last = begin;
  const auto seconds_since = [](Clock::time_point time) {
    return std::chrono::duration<double>(Clock::now() - time).count();
  };
  const Setup<T> setup = setup_with_loss(model, data, loss, options);
  Best<T> best(options.early_stopping, model, model.parameters());
  ProgressDisplay progress(kind_of(options.progress), options.title, options.epochs);
  History history;

  optim::LevenbergMarquardtOptions with_callbacks = method;
  with_callbacks.max_iterations = std::min(method.max_iterations, options.epochs);
  with_callbacks.callback = [&](const optim::LevenbergMarquardtIterate& at) {
    Epoch ended{at.iteration - 1, at.loss, {}, 0, 0};
    if (setup.judge) {
      ended.validation_loss = setup.judge();
      if (!std::isfinite(*ended.validation_loss)) {
        throw Diverged(history, ended.number, {}, "the validation loss became ", *ended.validation_loss,
                       " in step ", ended.number, ": expected a finite number");
      }
    }
    ended.seconds = seconds_since(last);
    last = Clock::now();
    history.epochs.push_back(ended);
    progress.show(ended, seconds_since(begin));
    if (best.should_stop(ended.validation_loss.value_or(ended.loss))) history.stopped = "no improvement";
    for (const auto& callback : options.callbacks) {
      if (!callback(ended)) history.stopped = "a callback asked for it";
    }
    if (method.callback && !method.callback(at)) history.stopped = "a callback asked for it";
    return history.stopped.empty();
  };
  optim::LevenbergMarquardt<T> lm(model, data, loss, with_callbacks);
  if (best.must_begin()) best.begin(setup.judge());
  try {
    const optim::Outcome outcome = lm.minimize();
    const bool is_at_its_end = static_cast<Index>(history.epochs.size()) >= options.epochs;
    if (history.stopped.empty() && !is_at_its_end) history.stopped = outcome.reason;
  } catch (...) {
    best.restore();
    throw;
  }
  best.restore();
  history.seconds = seconds_since(begin);
  return history;
}

#define TAPER_INSTANTIATE(T)                                                                              \
  template History fit(nn::Module<T>&, const data::Dataset<T>&, const std::type_identity_t<nn::Loss<T>>&, \
                       const optim::LevenbergMarquardtOptions&, const std::type_identity_t<FitOptions<T>>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::train

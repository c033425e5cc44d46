#include <taper/train/trainer/training.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/data/checksum.hpp>
#include <taper/instantiate.hpp>
#include <taper/train/diverged.hpp>

namespace taper::train {
namespace {

#ifdef NDEBUG
constexpr bool debugging = false;
#else
constexpr bool debugging = true;
#endif

}  // namespace

ProgressDisplay::Kind kind_of(Progress progress) {
  if (progress == Progress::quiet) return ProgressDisplay::Kind::none;
  return isatty(STDERR_FILENO) ? ProgressDisplay::Kind::bar : ProgressDisplay::Kind::lines;
}

template <class T>
Training<T>::Training(nn::Module<T>& model_, Setup<T> setup_, optim::Optimizer<T>& optimizer_,
                      const FitOptions<T>& options_)
    : model(model_),
      optimizer(optimizer_),
      options(options_),
      setup(std::move(setup_)),
      batches(setup.columns, options.batch_size, options.shuffle, options.seed),
      parameters(model.parameters()),
      best(options.early_stopping, model, parameters),
      finite(model, parameters),
      progress(kind_of(options.progress), options.title, options.epochs),
      seeds(options.seed, ~std::uint64_t{0}),  // a stream that no epoch's order comes from
      last_lr_factor(optimizer.lr_factor()) {
  if (options.epochs < 0) throw Error("fit", options.epochs, " epochs: expected 0 or more");
  if (options.accumulate < 1) {
    throw Error("fit", options.accumulate, " batches in a step: expected 1 or more");
  }
  if (!optimizer.optimizes(parameters)) {
    throw Error("fit",
                "an optimizer that was not built on all parameters of this model: expected one that was");
  }
  steps.emplace_back(setup.step, parameters, setup.columns, batches.size(0));
  const Index rows_left = batches.size(batches.count() - 1);
  if (rows_left != batches.size(0)) steps.emplace_back(setup.step, parameters, setup.columns, rows_left);
  const auto most = static_cast<std::size_t>(std::min<Index>(options.epochs, 1000));  // few train longer
  history.epochs.reserve(most);
  losses.reserve(most);
  if (options.checkpoint.save) checksum();  // of the data before a callback can change them
}

template <class T> double Training<T>::step() {
  if (batch == 0) begin_epoch();
  if (options.schedule && options.schedule.is_per_step()) optimizer.set_lr_factor(options.schedule(time()));
  const double loss = run_batches(batch + std::min(options.accumulate, batches.count() - batch));
  if (batch == batches.count()) end_epoch();
  return loss;
}

template <class T> void Training<T>::begin_epoch() {
  epoch_start = Clock::now();
  if (options.schedule && !options.schedule.is_per_step()) optimizer.set_lr_factor(options.schedule(time()));
  if (best.must_begin()) best.begin(setup.judge());
  batches.start_epoch(epoch);
  mean = 0;
}

/// Runs the batches from the present one to `end`, which make one step of the optimizer. Returns their mean
/// loss.
template <class T> double Training<T>::run_batches(Index end) {
  const bool is_single = end - batch == 1;
  Index rows = 0;
  for (Index at = batch; at < end; ++at) rows += batches.size(at);
  double loss = 0, mean_after = mean;
  for (Index at = batch; at < end; ++at) {
    RecordedStep<T>& step = recorded(at);
    step.load(batches, at);
    if (options.augment) {  // streams of their own: those of epochs are small numbers
      const std::uint64_t batch_of_all =
          static_cast<std::uint64_t>(epoch) << 32 | static_cast<std::uint64_t>(at);
      Rng rng(options.seed, ~batch_of_all);
      options.augment(step.columns(), rng);
    }
    if (options.check_recording || debugging) check_recording(setup.step, step, epoch, at);
    seed = seeds.bits();
    const auto size = static_cast<double>(batches.size(at));
    const double share = size / static_cast<double>(rows);
    if (is_single) {
      step.run(*seed);
    } else {
      step.run(*seed, share, at == batch ? Accumulate::no : Accumulate::yes);
    }
    if (const std::string fault = finite.fault(step, *seed); !fault.empty()) diverge(epoch, at, fault);
    // Weighed one by one: the sum over all rows may be beyond double.
    const auto of_batch = static_cast<double>(step.loss.item());
    loss += of_batch * share;
    mean_after += of_batch * (size / static_cast<double>(setup.rows()));
    if (!is_single) step.tape.update_buffers();
  }
  optimizer.step();
  if (is_single) recorded(batch).tape.update_buffers();
  mean = mean_after;
  batch = end;
  return loss;
}

template <class T> void Training<T>::end_epoch() {
  Epoch ended{epoch, mean, {}, optimizer.lr(), 0};
  // The last step, which no batch has looked at yet.
  if (const std::string fault = finite.fault_of_model(); !fault.empty()) diverge(epoch, {}, fault);
  if (setup.judge) {
    ended.validation_loss = setup.judge();
    if (!std::isfinite(*ended.validation_loss)) {
      diverge(epoch, {},
              concatenate("the ", setup.validation.empty() ? "loss on the training set" : "validation loss",
                          " became ", *ended.validation_loss,
                          ": expected a finite number; a lower learning rate may help"));
    }
  }
  ended.seconds = std::chrono::duration<double>(Clock::now() - epoch_start).count();
  history.epochs.push_back(ended);
  losses.push_back(ended.validation_loss.value_or(ended.loss));
  ++epoch;
  batch = 0;
  progress.show(ended, seconds());
  // Before the callbacks, which may change the model.
  const bool is_stale = best.should_stop(losses.back());
  for (const auto& callback : options.callbacks) {
    if (!callback(ended)) history.stopped = "a callback asked for it";
  }
  if (is_stale) history.stopped = "no improvement";
  history.seconds = seconds_before + seconds();
  if (!is_done()) return;
  progress.finish();
  check_last_step();
}

template <class T> void Training<T>::check_last_step() {
  if (setup.judge || !seed || parameters.version() != parameters.block()->version) return;
  const bool is_between = batch == 0;  // two epochs
  const Index last = (is_between ? batches.count() : batch) - 1;
  const std::string fault = FiniteCheck<T>::fault_after(recorded(last), *seed);
  if (fault.empty()) return;
  diverge(is_between ? epoch - 1 : epoch, is_between ? std::nullopt : std::optional(last), fault);
}

template <class T> optim::TrainingTime Training<T>::time() const {
  const Index steps_of_epoch = (batches.count() - 1) / options.accumulate + 1;
  const bool is_known = options.epochs <= std::numeric_limits<Index>::max() / steps_of_epoch;
  return {.epoch = epoch,
          .step = epoch * steps_of_epoch + batch / options.accumulate,
          .epochs = options.epochs,
          .steps = is_known ? options.epochs * steps_of_epoch : 0,
          .losses = losses};
}

/// Ends the training with what there is of its history.
template <class T>
void Training<T>::diverge(Index in_epoch, std::optional<Index> in_batch, const std::string& what) {
  history.seconds = seconds_before + seconds();
  const std::string place = in_batch ? "batch " + std::to_string(*in_batch) : "at its end";
  throw Diverged(history, in_epoch, in_batch, "training diverged in epoch ", in_epoch, ", ", place, ": ",
                 what);
}

template <class T> void Training<T>::finish() {
  progress.finish();
  if (options.schedule) optimizer.set_lr_factor(last_lr_factor);
  best.restore();
}

template <class T> std::uint64_t Training<T>::checksum() const {
  if (!known_checksum) {
    std::vector<View<const T>> all = setup.columns;
    all.insert(all.end(), setup.validation.begin(), setup.validation.end());
    known_checksum = data::checksum(std::span<const View<const T>>(all));
  }
  return *known_checksum;
}

TAPER_INSTANTIATE_CLASS(Training)

}  // namespace taper::train

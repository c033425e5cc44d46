#pragma once

#include <memory>
#include <type_traits>
#include <vector>

#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>
#include <taper/optim/optimizer.hpp>
#include <taper/train/diverged.hpp>
#include <taper/train/fit_options.hpp>
#include <taper/train/step.hpp>
#include <taper/train/trainer_state.hpp>

namespace taper::train {

template <class T> struct Training;  // what a trainer consists of: none of its users' concern

/// A training as an object: `fit` is a loop over it. It can be stopped between any two steps, looked at,
/// saved, and taken up again, with the bits of a training that was never stopped:
///
///     train::Trainer trainer(net, set, nn::mse_loss, adam, {.epochs = 10});
///     trainer.run(5);
///     const train::TrainerState<float> half = trainer.state();
///     trainer.run();  // the other 5
///     trainer.finish();
///
/// The step is recorded once for each batch size that occurs (whole batches and the remainder), for training
/// (Tape::training), and replayed after that, so that steps allocate nothing. What the model's `forward` does
/// besides recording, it does once; see FitOptions::check_recording. Gradients of what is computed, and the
/// values of factorized weights, are not kept on its tape. Evaluations are recorded for evaluation: the
/// model itself has no mode and is left in none.
///
/// Model, data and optimizer must outlive the trainer. A vector among the columns is a column, n x 1.
template <class T> class Trainer {
 public:
  /// Trains with a step of one's own; see Step. `columns` have one row for each example. What the parameters
  /// are judged by is the mean of the step over all rows, as evaluate(model, columns, step) has it. Throws
  /// Error for a batch size or a number of batches to a step below 1, fewer than 0 epochs, settings of early
  /// stopping out of range, columns that are empty, not finite, of different lengths or do not fit the step,
  /// an optimizer that was not built on all parameters of the model, and a parameter or module that the step
  /// computes with and the model does not name.
  Trainer(nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& columns,
          const std::type_identity_t<Step<T>>& step, optim::Optimizer<T>& optimizer,
          const std::type_identity_t<FitOptions<T>>& options = {});
  /// Trains a model of one input and one output, judged by evaluate(model, data, loss). Throws Error in the
  /// same way, and for a loss that repeats prediction and target along each other.
  Trainer(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
          optim::Optimizer<T>& optimizer, const std::type_identity_t<FitOptions<T>>& options = {});
  Trainer(nn::Module<T>&, data::Dataset<T>&&, const std::type_identity_t<nn::Loss<T>>&, optim::Optimizer<T>&,
          const std::type_identity_t<FitOptions<T>>& = {}) = delete;
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;
  ~Trainer();

  /// Makes one step of the optimizer, and returns its loss, the mean over the rows. Begins and ends epochs by
  /// itself: at the end of one, the parameters are judged, callbacks are called and history grows. After each
  /// step, FitOptions::checkpoint is asked to save.
  ///
  /// Throws Diverged when the loss of a batch, its gradient in an entry that is not frozen, parameters or
  /// buffers at the end of an epoch, the loss that these are judged by, or without that the loss of the last
  /// batch after the last step is not finite. Loss and gradient of a batch are looked at before the step,
  /// which is not made then, and the text names the operation that made the number.
  double step();
  /// Makes all steps to the end of the present epoch, also from the middle of it.
  const Epoch& run_epoch();
  /// Runs so many more epochs, 0 or more; one that has begun counts as one. Ends early when a callback or
  /// early stopping says so (History::stopped), and does nothing after that. Throws Error for fewer.
  const History& run(Index epochs);
  /// Runs to the end of FitOptions::epochs.
  const History& run();
  /// Puts back the best parameters and buffers, if early stopping is to do that, and after a schedule the lr
  /// factor that the optimizer came with. fit() calls it at the end, also when that is an Error.
  void finish();

  /// The epoch and the batch that the next step begins with, from 0.
  Index epoch() const;
  Index batch() const;
  /// How many FitOptions::epochs says.
  Index epochs() const;
  /// Whether all epochs have been run, or it has stopped before.
  bool is_done() const;
  const History& history() const;

  /// A copy of all that the next steps depend on. Throws Error when the model's parameters were laid out anew
  /// since the trainer was made.
  TrainerState<T> state() const;
  /// Goes on from a state, of this trainer or of another one that was made in the same way, in this process
  /// or in another: the next steps are, to the bit, those that would have followed, for any number of
  /// threads. The random generators of this thread (random_state) go on from where they were, too. The number
  /// of epochs, schedule, callbacks and the settings of early stopping are those of this trainer and are not
  /// compared; what callbacks remember is their own concern.
  ///
  /// Throws Error for a state of another model, by names and shapes, of an optimizer of another kind or with
  /// other settings, of other data, batch size, accumulation, order or seed, or one with early stopping where
  /// there is none here, or the other way round; nothing has changed then.
  void load_state(const TrainerState<T>& state);

 private:
  std::unique_ptr<Training<T>> training_;
};

}  // namespace taper::train

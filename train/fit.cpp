#include <taper/train/fit.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include <taper/autodiff/difference.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/data/batches.hpp>
#include <taper/train/progress.hpp>

namespace taper::train {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The shape of `rows` rows of a tensor.
Shape rows_of(const Shape& shape, Index rows) {
  return shape.with(0, rows);
}

#ifdef NDEBUG
constexpr bool debugging = false;
#else
constexpr bool debugging = true;
#endif

/// One step of training for batches of one size, recorded once.
template <class T> struct Step {
  Step(const nn::Module<T>& model, const nn::Loss<T>& loss, const data::Dataset<T>& data, Index rows)
      : x(tape.input(rows_of(data.x.shape(), rows), "x")), y(tape.input(rows_of(data.y.shape(), rows), "y")) {
    const data::Batches<T> first(data, rows, false, 0);
    first.copy(0, x.data().data(), y.data().data());  // real values, so that labels are labels
    output = loss(model(x), y);
    tape.keep_gradients(false);
  }

  Tape<T> tape;
  Var<T> x, y, output;
};

/// Records steps again, to see whether what is replayed is still what the model would do.
template <class T> class RecordingCheck {
 public:
  void operator()(const nn::Module<T>& model, const nn::Loss<T>& loss, const Step<T>& step, Index epoch,
                  Index batch) {
    tape_.clear();
    const Var<T> x = tape_.input(step.x.shape(), "x"), y = tape_.input(step.y.shape(), "y");
    x.assign(step.x.value());
    y.assign(step.y.value());
    loss(model(x), y);
    const std::string found = difference(tape_, step.tape);
    if (found.empty()) return;
    throw Error("fit", "recorded again in epoch ", epoch, ", batch ", batch, ", the step ", found,
                ", which is replayed: expected a model that records the same in every step");
  }

 private:
  Tape<T> tape_;
};

/// What holds after a training, however it ends: the model is in evaluation mode, and a schedule has left no
/// trace on the optimizer.
template <class T> class Ending {
 public:
  Ending(nn::Module<T>& model, optim::Optimizer<T>& optimizer, bool schedule)
      : model_(model), optimizer_(optimizer), schedule_(schedule), factor_(optimizer.rate_factor()) {}
  ~Ending() {
    model_.eval();
    if (schedule_) optimizer_.set_rate_factor(factor_);
  }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;

 private:
  nn::Module<T>& model_;
  optim::Optimizer<T>& optimizer_;
  bool schedule_;
  double factor_;
};

void check(const EarlyStopping& rule) {
  if (rule.patience < 1) throw Error("fit", "a patience of ", rule.patience, " epochs: expected 1 or more");
  if (!(std::isfinite(rule.at_least) && rule.at_least >= 0)) {
    throw Error("fit", "an improvement of at least ", rule.at_least, ": expected a finite number, 0 or more");
  }
}

ProgressDisplay::Kind kind_of(Progress progress) {
  if (progress == Progress::quiet) return ProgressDisplay::Kind::none;
  return isatty(STDERR_FILENO) ? ProgressDisplay::Kind::bar : ProgressDisplay::Kind::lines;
}

/// Remembers the best epoch and its parameters, and says when to stop.
template <class T> class BestEpoch {
 public:
  BestEpoch(const std::optional<EarlyStopping>& rule, nn::Parameters<T> parameters)
      : rule_(rule), parameters_(std::move(parameters)), masks_(parameters_.block()->mask_version) {}

  bool should_stop(double loss) {
    if (!rule_) return false;
    const Block<T>& block = *parameters_.block();
    if (masks_ != block.mask_version) {  // another model from here on: what was best before is not its own
      masks_ = block.mask_version;
      best_ = std::numeric_limits<double>::infinity();
      kept_ = {};
    }
    if (loss < best_ - rule_->at_least) {
      best_ = loss;
      waited_ = 0;
      if (rule_->restore_best) kept_ = block.values;
      return false;
    }
    return ++waited_ >= rule_->patience;
  }
  void restore() {
    if (kept_.size() > 0 && masks_ == parameters_.block()->mask_version)
      std::copy_n(kept_.data(), kept_.size(), parameters_.block()->values.data());
  }

 private:
  std::optional<EarlyStopping> rule_;
  nn::Parameters<T> parameters_;
  std::uint64_t masks_;
  double best_ = std::numeric_limits<double>::infinity();
  Index waited_ = 0;
  AlignedArray<T> kept_;
};

}  // namespace

template <class T>
History fit(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
            optim::Optimizer<T>& optimizer, const std::type_identity_t<FitOptions<T>>& options) {
  const auto start = Clock::now();
  if (options.epochs < 0) throw Error("fit", options.epochs, " epochs: expected 0 or more");
  if (options.early_stopping) check(*options.early_stopping);
  data::check(data, "fit");
  if (options.validation != nullptr) data::check(*options.validation, "fit");
  data::Batches<T> batches(data, options.batch_size, options.shuffle, options.seed);
  if (options.validation != nullptr && options.validation->rows() == 0) {
    throw Error("fit", "a validation set of 0 rows: expected some");
  }
  if (!optimizer.moves(model.parameters())) {
    throw Error("fit",
                "an optimizer that was not built on all parameters of this model: expected one that was");
  }
  BestEpoch<T> best(options.early_stopping, model.parameters());
  ProgressDisplay progress(kind_of(options.progress), options.title, options.epochs);

  const Ending<T> ending(model, optimizer, static_cast<bool>(options.schedule));
  model.train();
  std::map<Index, Step<T>> steps;  // by batch size: at most two
  for (const Index batch : {Index{0}, batches.count() - 1}) {
    const Index size = batches.size(batch);
    steps.try_emplace(size, model, loss, data, size);
  }
  History history;
  history.epochs.reserve(
      static_cast<std::size_t>(std::min<Index>(options.epochs, 1024)));  // few train that long
  RecordingCheck<T> check_recording;
  Rng seeds(options.seed, ~std::uint64_t{0});  // a stream that no epoch's order comes from
  for (Index number = 0; number < options.epochs; ++number) {
    const auto epoch_start = Clock::now();
    if (options.schedule) optimizer.set_rate_factor(options.schedule(number));
    batches.start_epoch(number);
    double total = 0;
    for (Index batch = 0; batch < batches.count(); ++batch) {
      Step<T>& step = steps.at(batches.size(batch));
      batches.copy(batch, step.x.data().data(), step.y.data().data());
      if (options.check_recording || debugging) check_recording(model, loss, step, number, batch);
      step.tape.replay_with_gradient(step.output, seeds.bits());
      const auto value = static_cast<double>(step.output.item());
      if (!std::isfinite(value)) {
        throw Error("fit", "the loss became ", value, " in epoch ", number, ", batch ", batch,
                    ": expected a finite number; a lower rate may help");
      }
      total += value * static_cast<double>(batches.size(batch));
      optimizer.step();
    }
    Epoch epoch{number, total / static_cast<double>(data.rows()), {}, optimizer.rate(), 0};
    if (options.validation != nullptr) {
      epoch.validation_loss = evaluate(model, *options.validation, loss);
    }
    epoch.seconds = since(epoch_start);
    history.epochs.push_back(epoch);
    progress.show(epoch, since(start));
    // Before the callbacks, which may change the model.
    const bool stale = best.should_stop(epoch.validation_loss.value_or(epoch.loss));
    for (const auto& callback : options.callbacks) {
      if (!callback(epoch)) history.stopped = "a callback asked for it";
    }
    if (stale) history.stopped = "no improvement";
    if (!history.stopped.empty()) break;
  }
  progress.finish();
  best.restore();
  history.seconds = since(start);
  return history;
}

template <class T> Tensor<T> predict(nn::Module<T>& model, std::type_identity_t<View<const T>> x) {
  if (x.shape().rank() < 1) throw Error("predict", "an input ", x.shape(), ": expected rows");
  const typename nn::Module<T>::Evaluating mode(model);
  constexpr Index most = 1024;
  const Index rows = x.shape()[0], width = rows == 0 ? 0 : x.size() / rows;
  Tensor<T> result;
  Tape<T> tape;
  for (Index begin = 0; begin == 0 || begin < rows; begin += most) {
    const Index count = std::min(most, rows - begin);
    tape.clear();
    const Var<T> y = model(tape.constant({x.data() + begin * width, rows_of(x.shape(), count)}, "x"));
    if (y.shape().rank() < 1 || y.shape()[0] != count) {
      throw Error("predict", "an output ", y.shape(), " for ", count, " rows: expected one row for each");
    }
    if (begin == 0) result = Tensor<T>(rows_of(y.shape(), rows));
    std::copy(y.value().begin(), y.value().end(),
              result.data() + (count == 0 ? 0 : begin * (y.value().size() / count)));
  }
  return result;
}

template <class T>
double evaluate(nn::Module<T>& model, const data::Dataset<T>& data,
                const std::type_identity_t<nn::Loss<T>>& loss) {
  data::check(data, "evaluate");
  const Tensor<T> prediction = predict(model, data.x);
  Tape<T> tape;
  return static_cast<double>(loss(tape.constant(prediction), tape.constant(data.y)).item());
}

#define TAPER_INSTANTIATE(T)                                                                              \
  template History fit(nn::Module<T>&, const data::Dataset<T>&, const std::type_identity_t<nn::Loss<T>>&, \
                       optim::Optimizer<T>&, const std::type_identity_t<FitOptions<T>>&);                 \
  template Tensor<T> predict(nn::Module<T>&, std::type_identity_t<View<const T>>);                        \
  template double evaluate(nn::Module<T>&, const data::Dataset<T>&, const std::type_identity_t<nn::Loss<T>>&);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper::train

#include <taper/train/fit.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>

#include <taper/autodiff/difference.hpp>
#include <taper/autodiff/finite.hpp>
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

/// Throws Error, by the name of `where`, for an operation from position `begin` on that repeats both of its
/// operands.
template <class T> void require_no_pairs(const Tape<T>& tape, std::size_t begin, const char* where) {
  for (const Node<T>& node : tape.nodes().subspan(begin)) {
    if (node.inputs != 2 || !is_elementwise(tape, node)) continue;
    const auto inputs = tape.inputs(node);
    const Shape &a = tape.nodes()[inputs[0]].shape, &b = tape.nodes()[inputs[1]].shape;
    if (node.shape.size() <= std::max(a.size(), b.size())) continue;
    throw Error(where, "the loss has ", line(tape, node), ", where ", a, " and ", b,
                " are both repeated: expected operands of which one has the shape of the result, or "
                "pairwise_loss for a table of all pairs");
  }
}

/// One step of training for batches of one size, recorded once.
template <class T> struct Step {
  Step(const nn::Module<T>& model, const nn::Parameters<T>& parameters, const nn::Loss<T>& loss,
       const data::Dataset<T>& data, Index rows, bool pairwise)
      : x(tape.input(rows_of(data.inputs().shape(), rows), "x")),
        y(tape.input(rows_of(data.targets().shape(), rows), "y")) {
    const data::Batches<T> first(data, rows, false, 0);
    first.copy(0, x.data().data(), y.data().data());  // real values, so that labels are labels
    const Var<T> prediction = nn::record_one(model, x, "fit");
    parameters.require_all_of(tape, "fit");
    const std::size_t before = tape.nodes().size();
    output = loss(prediction, y);
    if (!pairwise) require_no_pairs(tape, before, "fit");
    tape.keep_gradients(false);
  }

  Tape<T> tape{Mode::training};
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
    loss(nn::record_one(model, x, "fit"), y);
    const std::string found = difference(tape_, step.tape);
    if (found.empty()) return;
    throw Error("fit", "recorded again in epoch ", epoch, ", batch ", batch, ", the step ", found,
                ", which is replayed: expected a model that records the same in every step");
  }

 private:
  Tape<T> tape_{Mode::training};
};

/// What holds after a training, however it ends: a schedule has left no trace on the optimizer.
template <class T> class Ending {
 public:
  Ending(optim::Optimizer<T>& optimizer, bool schedule)
      : optimizer_(optimizer), schedule_(schedule), factor_(optimizer.lr_factor()) {}
  ~Ending() {
    if (schedule_) optimizer_.set_lr_factor(factor_);
  }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;

 private:
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

/// Remembers the best parameters and their loss, and says when to stop.
template <class T> class Best {
 public:
  Best(const std::optional<EarlyStopping>& rule, nn::Parameters<T> parameters)
      : rule_(rule), parameters_(std::move(parameters)) {}
  /// The best parameters come back, however the training ends. Those of a model with other masks or another
  /// layout are of no use.
  ~Best() {
    const Block<T>& block = *parameters_.block();
    if (kept_.size() == 0 || masks_ != block.mask_version || parameters_.version() != block.version) return;
    std::copy_n(kept_.data(), kept_.size(), parameters_.block()->values.data());
  }
  Best(const Best&) = delete;
  Best& operator=(const Best&) = delete;

  /// Whether there is a rule, and nothing is known of the model as it is now: at first, and when masks have
  /// changed, which makes another model of it.
  bool must_begin() const { return rule_ && masks_ != parameters_.block()->mask_version; }
  /// Begins with the parameters as they are, and forgets what was best before. `loss` is theirs.
  void begin(double loss) {
    masks_ = parameters_.block()->mask_version;
    best_epoch_ = infinity;
    keep(std::isfinite(loss) ? loss : infinity);
  }

  /// The parameters as they are have this loss at the end of an epoch.
  bool should_stop(double loss) {
    if (loss < best_epoch_ - rule_->at_least) {
      best_epoch_ = loss;
      waited_ = 0;
      if (loss <= kept_loss_) keep(loss);
      return false;
    }
    return ++waited_ >= rule_->patience;
  }

 private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  void keep(double loss) {
    kept_loss_ = loss;
    if (!rule_->restore_best) return;
    const AlignedArray<T>& values = parameters_.block()->values;
    if (kept_.size() != values.size()) kept_ = AlignedArray<T>(values.size(), Uninitialized{});
    std::copy_n(values.data(), values.size(), kept_.data());
  }

  std::optional<EarlyStopping> rule_;
  nn::Parameters<T> parameters_;
  std::optional<std::uint64_t> masks_;  // in which version the block had them at begin
  double best_epoch_ = infinity;        // its loss
  Index waited_ = 0;                    // epochs since then
  double kept_loss_ = infinity;
  AlignedArray<T> kept_;
};

/// Looks for what is not finite in training.
template <class T> class FiniteCheck {
 public:
  explicit FiniteCheck(nn::Parameters<T> parameters) : parameters_(std::move(parameters)) {}

  /// What is wrong with a step that was replayed with this seed; empty when nothing is.
  std::string fault(Step<T>& step, std::uint64_t seed) const {
    const T loss = step.output.item();
    if (!std::isfinite(loss)) {
      return concatenate("the loss became ", loss) + origin(step, seed) +
             ": expected a finite number; a lower learning rate may help";
    }
    const std::string gradient = first_bad("the gradient of ", parameters_.block()->gradients);
    if (gradient.empty()) return {};
    return gradient + origin(step, seed) + ": expected finite numbers";
  }

  /// What is wrong with the parameters.
  std::string fault_of_parameters() const {
    const std::string value = first_bad("", parameters_.block()->values);
    return value.empty() ? value : value + ": expected finite numbers; a lower learning rate may help";
  }

  /// What is wrong with the loss of a batch once the parameters have moved.
  static std::string fault_after(Step<T>& step, std::uint64_t seed) {
    step.tape.replay(seed);
    const T loss = step.output.item();
    if (std::isfinite(loss)) return {};
    return concatenate("the loss of the last batch became ", loss) + origin(step, seed) +
           ": expected a finite number; a lower learning rate may help";
  }

 private:
  /// The first entry that is not finite, and not frozen: in one pass over the whole block, as long as there
  /// is none.
  std::string first_bad(const char* what, const AlignedArray<T>& numbers) const {
    if (first_not_finite(numbers.data(), static_cast<Index>(numbers.size())) < 0) return {};
    const Block<T>& block = *parameters_.block();
    for (const auto& entry : parameters_.entries()) {
      for (Index i = 0; i < entry.shape.size(); ++i) {
        const auto at = static_cast<std::size_t>(entry.offset + i);
        if (std::isfinite(numbers.data()[at]) || block.frozen.data()[at] != 0) continue;
        return concatenate(what, "'", entry.name, "' became ", numbers.data()[at], " at entry ", i);
      }
    }
    return {};
  }

  /// The operation that made it, found by a replay that looks at every result.
  static std::string origin(Step<T>& step, std::uint64_t seed) {
    std::string found;
    step.tape.check_finite(true);
    try {
      step.tape.value_and_gradient(step.output, seed);
    } catch (const Error& error) {
      found = concatenate(" (", error.what(), ")");
    }
    step.tape.check_finite(false);
    return found;
  }

  nn::Parameters<T> parameters_;
};

/// Ends a training with what there is of its history.
[[noreturn]] void diverge(History& history, Clock::time_point start, Index epoch, std::optional<Index> batch,
                          const std::string& what) {
  history.seconds = since(start);
  const std::string place = batch ? "batch " + std::to_string(*batch) : "at its end";
  throw Diverged(std::move(history), epoch, batch, "training diverged in epoch ", epoch, ", ", place, ": ",
                 what);
}

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
  if (!optimizer.optimizes(model.parameters())) {
    throw Error("fit",
                "an optimizer that was not built on all parameters of this model: expected one that was");
  }
  const nn::Parameters<T> parameters = model.parameters();
  Best<T> best(options.early_stopping, parameters);
  const FiniteCheck<T> finite(parameters);
  ProgressDisplay progress(kind_of(options.progress), options.title, options.epochs);

  const Ending<T> ending(optimizer, static_cast<bool>(options.schedule));
  std::map<Index, Step<T>> steps;  // by batch size: at most two
  for (const Index batch : {Index{0}, batches.count() - 1}) {
    const Index size = batches.size(batch);
    steps.try_emplace(size, model, parameters, loss, data, size, options.pairwise_loss);
  }
  History history;
  history.epochs.reserve(
      static_cast<std::size_t>(std::min<Index>(options.epochs, 1000)));  // few train longer
  RecordingCheck<T> check_recording;
  // What the parameters at the end of an epoch are judged by, if they are.
  const data::Dataset<T>* const judge = options.validation != nullptr ? options.validation
                                        : options.early_stopping      ? &data
                                                                      : nullptr;
  const auto judged = [&] { return evaluate(model, *judge, loss, options.pairwise_loss); };
  const auto rows = static_cast<double>(data.rows());
  std::uint64_t seed = 0;                      // of the last step
  Rng seeds(options.seed, ~std::uint64_t{0});  // a stream that no epoch's order comes from
  for (Index number = 0; number < options.epochs; ++number) {
    const auto epoch_start = Clock::now();
    if (options.schedule) optimizer.set_lr_factor(options.schedule(number));
    if (best.must_begin()) best.begin(judged());
    batches.start_epoch(number);
    double mean = 0;
    for (Index batch = 0; batch < batches.count(); ++batch) {
      Step<T>& step = steps.at(batches.size(batch));
      batches.copy(batch, step.x.data().data(), step.y.data().data());
      if (options.check_recording || debugging) check_recording(model, loss, step, number, batch);
      seed = seeds.bits();
      step.tape.value_and_gradient(step.output, seed);
      if (const std::string fault = finite.fault(step, seed); !fault.empty()) {
        diverge(history, start, number, batch, fault);
      }
      // Weighed one by one: the sum over all rows may be beyond double.
      mean += static_cast<double>(step.output.item()) * (static_cast<double>(batches.size(batch)) / rows);
      optimizer.step();
      step.tape.update_buffers();
    }
    Epoch epoch{number, mean, {}, optimizer.lr(), 0};
    // The last step, which no batch has looked at yet.
    if (const std::string fault = finite.fault_of_parameters(); !fault.empty()) {
      diverge(history, start, number, {}, fault);
    }
    if (judge != nullptr) {
      epoch.validation_loss = judged();
      if (!std::isfinite(*epoch.validation_loss)) {
        diverge(history, start, number, {},
                concatenate("the ", judge == &data ? "loss on the training set" : "validation loss",
                            " became ", *epoch.validation_loss,
                            ": expected a finite number; a lower learning rate may help"));
      }
    }
    epoch.seconds = since(epoch_start);
    history.epochs.push_back(epoch);
    progress.show(epoch, since(start));
    // Before the callbacks, which may change the model.
    const bool stale = options.early_stopping && best.should_stop(*epoch.validation_loss);
    for (const auto& callback : options.callbacks) {
      if (!callback(epoch)) history.stopped = "a callback asked for it";
    }
    if (stale) history.stopped = "no improvement";
    if (!history.stopped.empty()) break;
  }
  progress.finish();
  // What the last step made of the loss. A callback may have laid out the model anew.
  if (judge == nullptr && !history.epochs.empty() && parameters.version() == parameters.block()->version) {
    const std::string fault = finite.fault_after(steps.at(batches.size(batches.count() - 1)), seed);
    if (!fault.empty()) diverge(history, start, history.epochs.back().number, {}, fault);
  }
  history.seconds = since(start);
  return history;
}

template <class T> Tensor<T> predict(const nn::Module<T>& model, std::type_identity_t<View<const T>> given) {
  const View<const T> x = data::as_rows(given);
  if (x.shape().rank() < 1) throw Error("predict", "an input ", x.shape(), ": expected rows");
  constexpr Index most = 1024;
  const Index rows = x.shape()[0], width = rows == 0 ? 0 : x.size() / rows;
  Tensor<T> result;
  Tape<T> tape(Mode::evaluation);
  for (Index begin = 0; begin == 0 || begin < rows; begin += most) {
    const Index count = std::min(most, rows - begin);
    tape.clear();
    const Var<T> rows_in = tape.constant({x.data() + begin * width, rows_of(x.shape(), count)}, "x");
    const Var<T> y = nn::record_one(model, rows_in, "predict");
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

#define TAPER_INSTANTIATE(T)                                                                              \
  template History fit(nn::Module<T>&, const data::Dataset<T>&, const std::type_identity_t<nn::Loss<T>>&, \
                       optim::Optimizer<T>&, const std::type_identity_t<FitOptions<T>>&);                 \
  template Tensor<T> predict(const nn::Module<T>&, std::type_identity_t<View<const T>>);                  \
  template double evaluate(const nn::Module<T>&, const data::Dataset<T>&,                                 \
                           const std::type_identity_t<nn::Loss<T>>&, bool);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper::train

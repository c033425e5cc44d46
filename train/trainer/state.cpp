#include <taper/train/trainer/state.hpp>

#include <algorithm>
#include <utility>

#include <taper/instantiate.hpp>

namespace taper::train {
namespace {

/// Names and shapes of parameters or buffers, in order.
using Parts = std::vector<std::pair<std::string, Shape>>;

template <class T> Parts parameters_of(const Training<T>& training) {
  Parts parts;
  for (const auto& entry : training.parameters.entries()) parts.emplace_back(entry.name, entry.shape);
  return parts;
}

template <class T> Parts buffers_of(const Training<T>& training) {
  Parts parts;
  std::as_const(training.model).for_buffers([&](const std::string& name, const nn::Buffer<T>& buffer) {
    parts.emplace_back(name, buffer.shape());
  });
  return parts;
}

template <class Entries> Parts parts_of(const Entries& entries) {
  Parts parts;
  for (const auto& entry : entries) parts.emplace_back(entry.name, entry.value.shape());
  return parts;
}

void require_parts(const char* kind, const Parts& given, const Parts& expected) {
  const auto text = [](const Parts& parts, std::size_t i) {
    return i < parts.size() ? concatenate("'", parts[i].first, "' ", parts[i].second) : "none";
  };
  for (std::size_t i = 0; i < std::max(given.size(), expected.size()); ++i) {
    if (i < given.size() && i < expected.size() && given[i] == expected[i]) continue;
    throw Error("trainer", "a state whose ", kind, " ", i, " (counted from 0) is ", text(given, i),
                ": expected ", text(expected, i));
  }
}

template <class V> void require_same(const char* what, const V& given, const V& expected) {
  if (given == expected) return;
  throw Error("trainer", "a state of a training with ", what, ' ', given, ": expected ", expected);
}

using Settings = std::vector<optim::Setting>;

void require_settings(const Settings& given, const Settings& expected) {
  const auto text = [](const Settings& settings, const std::string& name) {
    const auto found = std::ranges::find(settings, name, &optim::Setting::name);
    return found == settings.end() ? "none" : concatenate(found->value);
  };
  for (const Settings* settings : {&expected, &given}) {
    const Settings& others = settings == &given ? expected : given;
    for (const optim::Setting& setting : *settings) {
      if (std::ranges::find(others, setting) != others.end()) continue;
      throw Error("trainer", "a state of an optimizer with ", setting.name, ' ', text(given, setting.name),
                  ": expected ", text(expected, setting.name));
    }
  }
}

/// Throws Error unless the training can go on from the state.
template <class T> void check(const Training<T>& training, const TrainerState<T>& state) {
  require_same("the batch size", state.batch_size, training.options.batch_size);
  require_same("the number of batches in a step", state.accumulate, training.options.accumulate);
  require_same("the setting shuffle", state.shuffle, training.options.shuffle);
  require_same("the seed", state.seed, training.options.seed);
  require_same("the number of rows", state.rows, training.setup.rows());
  if (state.data_checksum != training.checksum()) {
    throw Error("trainer", "a state of a training on other data: expected the same, to the bit");
  }
  require_parts("parameter", parts_of(state.parameters), parameters_of(training));
  require_parts("buffer", parts_of(state.buffers), buffers_of(training));
  for (const auto& part : state.parameters) part.mask.require(part.value.shape(), "trainer", part.name);
  training.best.check(state.best);
  const Index count = training.batches.count();
  if (state.epoch < 0 || state.batch < 0 || state.batch >= count || state.batch % state.accumulate != 0) {
    throw Error("trainer", "a state before batch ", state.batch, " of epoch ", state.epoch,
                ": expected the beginning of a step, of epochs of ", count, " batches");
  }
  if (static_cast<Index>(state.history.epochs.size()) != state.epoch) {
    throw Error("trainer", "a state with a history of ", state.history.epochs.size(), " epochs: expected ",
                state.epoch);
  }
  const Settings expected = training.optimizer.settings();
  if (state.optimizer.settings != expected) {  // of another kind, perhaps, which says more
    require_same("the optimizer", state.optimizer.kind, training.optimizer.state().kind);
  }
  require_settings(state.optimizer.settings, expected);
  for (const Rng::State& words : {state.seeds, state.random.weights, state.random.tapes}) {
    Rng(0).set_state(words);  // throws for one that no generator has
  }
}

}  // namespace

template <class T> TrainerState<T> state_of(const Training<T>& training) {
  const nn::Parameters<T>& parameters = training.parameters;
  const Block<T>& block = *parameters.block();
  if (parameters.version() != block.version) {
    throw Error("trainer",
                "the model's parameters were laid out anew since the trainer was made: make a new one");
  }
  TrainerState<T> state{.epoch = training.epoch,
                        .batch = training.batch,
                        .loss = training.batch == 0 ? 0 : training.mean,
                        .seeds = training.seeds.state(),
                        .random = random_state(),
                        .last_lr_factor = training.last_lr_factor,
                        .optimizer = training.optimizer.state(),
                        .best = training.best.state(),
                        .history = training.history,
                        .batch_size = training.options.batch_size,
                        .accumulate = training.options.accumulate,
                        .shuffle = training.options.shuffle,
                        .seed = training.options.seed,
                        .rows = training.setup.rows(),
                        .data_checksum = training.checksum()};
  for (const auto& entry : parameters.entries()) {
    const std::uint8_t* const frozen = block.frozen.data() + entry.offset;
    state.parameters.push_back({entry.name, Tensor<T>(View<const T>(parameters.value(entry))),
                                Mask::frozen(entry.shape, [&](Index i) { return frozen[i] != 0; })});
  }
  std::as_const(training.model).for_buffers([&](const std::string& name, const nn::Buffer<T>& buffer) {
    state.buffers.push_back({name, Tensor<T>(buffer.value())});
  });
  return state;
}

template <class T> void load_state(Training<T>& training, const TrainerState<T>& state) {
  check(training, state);
  training.optimizer.load_state(state.optimizer);
  Block<T>& block = *training.parameters.block();
  bool have_masks_changed = false;
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    const Index offset = training.parameters.entries()[i].offset;
    const auto& [name, value, mask] = state.parameters[i];
    std::copy(value.begin(), value.end(), block.values.data() + offset);
    for (Index at = 0; at < value.size(); ++at) {
      const std::uint8_t is_frozen = mask.is_frozen(at);
      have_masks_changed |= std::exchange(block.frozen.data()[offset + at], is_frozen) != is_frozen;
    }
  }
  if (have_masks_changed) ++block.mask_version;
  auto buffer_state = state.buffers.begin();
  training.model.for_buffers(
      [&](const std::string&, nn::Buffer<T>& buffer) { buffer = (buffer_state++)->value.view(); });
  training.best.load_state(state.best);
  training.epoch = state.epoch;
  training.batch = state.batch;
  training.mean = state.loss;
  training.batches.start_epoch(state.epoch);
  training.seeds.set_state(state.seeds);
  training.seed.reset();
  training.last_lr_factor = state.last_lr_factor;
  training.history = state.history;
  training.losses.clear();
  for (const Epoch& epoch : state.history.epochs) {
    training.losses.push_back(epoch.validation_loss.value_or(epoch.loss));
  }
  training.seconds_before = state.history.seconds - training.seconds();
  training.progress.start_at(state.epoch);
  set_random_state(state.random);
}

#define TAPER_INSTANTIATE(T)                             \
  template TrainerState<T> state_of(const Training<T>&); \
  template void load_state(Training<T>&, const TrainerState<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::train

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include <taper/data/checksum.hpp>
#include <taper/data/quote.hpp>
#include <taper/instantiate.hpp>
#include <taper/io/archive.hpp>
#include <taper/io/archive_writer.hpp>
#include <taper/io/checkpoint.hpp>
#include <taper/io/checkpoint_file.hpp>
#include <taper/io/dtype.hpp>
#include <taper/io/model_tensors.hpp>

namespace taper::io {
namespace {

using Json = nlohmann::ordered_json;

constexpr int version = 1;
constexpr const char* text_name = "checkpoint";
constexpr const char* checksum_name = "checksum";
constexpr double infinity = std::numeric_limits<double>::infinity();

// JSON has no infinity, which is what a loss is that no epoch has had yet.
Json finite_or_null(double value) {
  return value == infinity ? Json() : Json(value);
}
double or_infinity(const Json& value) {
  return value.is_null() ? infinity : value.get<double>();
}

std::string model_name(const std::string& name) {
  return "model." + name;
}
std::string best_name(const std::string& name) {
  return "best." + name;
}
std::string optimizer_name(const std::string& tensor, const std::string& name) {
  return "optimizer." + tensor + '.' + name;
}

template <class Parts> std::vector<std::string> names_of(const Parts& parts) {
  std::vector<std::string> names;
  for (const auto& part : parts) names.push_back(part.name);
  return names;
}

/// All that is no tensor.
template <class T> Json text_of(const train::TrainerState<T>& state) {
  const optim::OptimizerState<T>& optimizer = state.optimizer;
  Json settings = Json::array();
  for (const optim::Setting& setting : optimizer.settings) settings.push_back({setting.name, setting.value});
  Json best;
  if (state.best) {
    best = {{"loss", finite_or_null(state.best->loss)},
            {"waited", state.best->waited},
            {"kept_loss", finite_or_null(state.best->kept_loss)},
            {"is_of_present_masks", state.best->is_of_present_masks},
            {"is_kept", !state.best->parameters.empty()}};
  }
  return {{"version", version},
          {"epoch", state.epoch},
          {"batch", state.batch},
          {"loss", state.loss},
          {"stopped", state.history.stopped},
          {"seeds", state.seeds},
          {"random", {{"weights", state.random.weights}, {"tapes", state.random.tapes}}},
          {"last_lr_factor", state.last_lr_factor},
          {"parameters", names_of(state.parameters)},
          {"buffers", names_of(state.buffers)},
          {"best", best},
          {"optimizer",
           {{"kind", optimizer.kind},
            {"steps", optimizer.steps},
            {"lr_factor", optimizer.lr_factor},
            {"settings", settings},
            {"tensors", optimizer.tensor_names},
            {"parameters", names_of(optimizer.entries)}}},
          {"batch_size", state.batch_size},
          {"accumulate", state.accumulate},
          {"shuffle", state.shuffle},
          {"seed", state.seed},
          {"rows", state.rows},
          {"data_checksum", state.data_checksum}};
}

/// The text of a checksum that does not depend on the order of the tensors.
class Checksum {
 public:
  explicit Checksum(std::string_view text) : sum_(data::checksum(text)) {}
  void add(const std::string& name, const void* bytes, std::size_t size) {
    sum_ += data::checksum({static_cast<const char*>(bytes), size}, data::checksum(name));
  }
  std::string text() const {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(sum_));
    return digits;
  }

 private:
  std::uint64_t sum_;
};

/// A file whose contents are checked.
template <class T> class Writer {
 public:
  explicit Writer(std::string text) : text_(std::move(text)), checksum_(text_) {}

  void add(const std::string& name, const char* dtype, const Shape& shape, const void* bytes) {
    writer_.add(name, dtype, shape, bytes);
    checksum_.add(name, bytes, static_cast<std::size_t>(shape.size()) * bytes_of(dtype));
  }
  void add(const std::string& name, const Tensor<T>& tensor) {
    add(name, dtype_of<T>, tensor.shape(), tensor.data());
  }
  void write(const std::string& path) const {
    writer_.write(path, {{"format", "taper"}, {text_name, text_}, {checksum_name, checksum_.text()}});
  }

 private:
  ArchiveWriter writer_{"checkpoint"};
  std::string text_;
  Checksum checksum_;
};

/// Whether a file has anything of a checkpoint. If not, another program has written it, or `save`.
bool is_checkpoint(const Archive& archive) {
  return archive.metadata().contains(text_name) || archive.metadata().contains(checksum_name);
}

/// The text of a checkpoint. Throws Error when its contents are not those that were written.
std::string checked_text(const Archive& archive) {
  const auto text = archive.metadata().find(text_name), sum = archive.metadata().find(checksum_name);
  if (text == archive.metadata().end() || sum == archive.metadata().end()) {
    archive.fail("has one half of a checkpoint's texts: expected both");
  }
  Checksum checksum(text->second);
  archive.while_unchanged([&] {
    for (const auto& [name, stored] : archive.tensors()) {
      checksum.add(name, archive.data(stored), static_cast<std::size_t>(stored.end - stored.begin));
    }
  });
  if (checksum.text() != sum->second) {
    archive.fail("has the checksum ", checksum.text(), ": expected ", sum->second, ", as it was written");
  }
  return text->second;
}

/// The mask of this name. A tensor of numbers is none, but a parameter that is called so.
Mask mask_in(const Archive& archive, const std::string& name, const Shape& shape) {
  const auto found = archive.tensors().find(name);
  if (found == archive.tensors().end() || is_floating(found->second.dtype)) return Mask::all_free(shape);
  const char* const entries = archive.data(archive.require(name, "BOOL", shape));
  return Mask::free(shape, [=](Index i) { return entries[i] != 0; });
}

/// A list of names, each of them once: a tensor of the file is read for each.
std::vector<std::string> distinct_names(const Archive& archive, const Json& list) {
  std::set<std::string> seen;
  for (const Json& name : list) {
    if (!seen.insert(name.get<std::string>()).second) {
      archive.fail("has ", data::quote(name.get<std::string>()), " twice in its text: expected it once");
    }
  }
  return list.get<std::vector<std::string>>();
}

template <class T>
void read_optimizer(const Archive& archive, const Json& text, optim::OptimizerState<T>& optimizer) {
  text.at("kind").get_to(optimizer.kind);
  text.at("steps").get_to(optimizer.steps);
  text.at("lr_factor").get_to(optimizer.lr_factor);
  optimizer.tensor_names = distinct_names(archive, text.at("tensors"));
  for (const Json& setting : text.at("settings")) {
    optimizer.settings.push_back({setting.at(0).get<std::string>(), setting.at(1).get<double>()});
  }
  for (const std::string& name : distinct_names(archive, text.at("parameters"))) {
    auto& entry = optimizer.entries.emplace_back();
    entry.name = name;
    entry.shape = archive.template read<T>(model_name(entry.name)).shape();
    for (const std::string& tensor : optimizer.tensor_names) {
      entry.tensors.push_back(archive.template read<T>(optimizer_name(tensor, entry.name)));
    }
    const std::string steps = optimizer_name("steps", entry.name);
    if (!archive.contains(steps)) continue;
    for (const double made : archive.read<double>(steps)) {
      if (!(std::abs(made) <= 0x1p53)) archive.fail("has ", made, " steps: expected a number of steps");
      entry.steps.push_back(static_cast<Index>(made));
    }
  }
}

template <class T> void read_best(const Archive& archive, const Json& text, train::TrainerState<T>& state) {
  if (text.is_null()) return;
  auto& best = state.best.emplace();
  best.loss = or_infinity(text.at("loss"));
  text.at("waited").get_to(best.waited);
  best.kept_loss = or_infinity(text.at("kept_loss"));
  text.at("is_of_present_masks").get_to(best.is_of_present_masks);
  if (!text.at("is_kept").get<bool>()) return;
  for (const auto& part : state.parameters) {
    best.parameters.push_back(archive.template read<T>(best_name(part.name)));
  }
  for (const auto& part : state.buffers) {
    best.buffers.push_back(archive.template read<T>(best_name(part.name)));
  }
}

void read_history(const Archive& archive, const Json& text, train::History& history) {
  text.at("stopped").get_to(history.stopped);
  const Tensor<double> rows = archive.read<double>("history");
  for (Index number = 0; number < rows.size() / 3; ++number) {
    const double* const row = rows.data() + 3 * number;
    train::Epoch& epoch = history.epochs.emplace_back(train::Epoch{number, row[0], {}, row[2], 0});
    if (!std::isnan(row[1])) epoch.validation_loss = row[1];
  }
}

template <class T> train::TrainerState<T> state_in(const Archive& archive, const Json& text) {
  if (text.at("version").get<int>() != version) {
    archive.fail("is a checkpoint of version ", text.at("version").dump(), ": expected ", version);
  }
  train::TrainerState<T> state;
  text.at("epoch").get_to(state.epoch);
  text.at("batch").get_to(state.batch);
  text.at("loss").get_to(state.loss);
  text.at("seeds").get_to(state.seeds);
  text.at("random").at("weights").get_to(state.random.weights);
  text.at("random").at("tapes").get_to(state.random.tapes);
  text.at("last_lr_factor").get_to(state.last_lr_factor);
  text.at("batch_size").get_to(state.batch_size);
  text.at("accumulate").get_to(state.accumulate);
  text.at("shuffle").get_to(state.shuffle);
  text.at("seed").get_to(state.seed);
  text.at("rows").get_to(state.rows);
  text.at("data_checksum").get_to(state.data_checksum);
  for (const std::string& name : distinct_names(archive, text.at("parameters"))) {
    auto& part = state.parameters.emplace_back();
    part.name = name;
    const std::string& dtype = archive.tensor(model_name(part.name)).dtype;
    if (dtype != dtype_of<T>) archive.fail("has a model of ", dtype, ": expected ", dtype_of<T>);
    part.value = archive.template read<T>(model_name(part.name));
    part.mask = mask_in(archive, mask_name(model_name(part.name)), part.value.shape());
  }
  for (const std::string& name : distinct_names(archive, text.at("buffers"))) {
    auto& part = state.buffers.emplace_back();
    part.name = name;
    part.value = archive.template read<T>(model_name(part.name));
  }
  read_best(archive, text.at("best"), state);
  read_optimizer(archive, text.at("optimizer"), state.optimizer);
  read_history(archive, text, state.history);
  return state;
}

template <class T> train::TrainerState<T> read(const Archive& archive, const std::string& text) {
  try {
    return state_in<T>(archive, Json::parse(text));
  } catch (const nlohmann::json::exception&) {
    archive.fail("has a text that is no checkpoint's: expected one that write_checkpoint has written");
  }
}

template <class T> std::string written_text(const train::TrainerState<T>& state) {
  try {
    return text_of(state).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error("checkpoint", "a model with names that are not UTF-8: expected text");
  }
}

[[noreturn]] void fail_as_other(const Archive& archive) {
  archive.fail("is no checkpoint: expected one");
}

}  // namespace

template <class T> void write_checkpoint(const train::TrainerState<T>& state, const std::string& path) {
  Writer<T> writer(written_text(state));
  // Large elements first: see ArchiveWriter.
  Tensor<double> history(Shape{static_cast<Index>(state.history.epochs.size()), 3});
  double* row = history.data();
  for (const train::Epoch& epoch : state.history.epochs) {
    *row++ = epoch.loss;
    *row++ = epoch.validation_loss.value_or(std::numeric_limits<double>::quiet_NaN());
    *row++ = epoch.lr;
  }
  writer.add("history", "F64", history.shape(), history.data());
  std::vector<std::vector<double>> all_steps;
  for (const auto& entry : state.optimizer.entries) {
    if (entry.steps.empty()) continue;
    const auto& steps = all_steps.emplace_back(entry.steps.begin(), entry.steps.end());
    writer.add(optimizer_name("steps", entry.name), "F64", entry.shape, steps.data());
  }
  for (const auto& part : state.parameters) writer.add(model_name(part.name), part.value);
  for (const auto& part : state.buffers) writer.add(model_name(part.name), part.value);
  for (const auto& entry : state.optimizer.entries) {
    for (std::size_t i = 0; i < entry.tensors.size(); ++i) {
      writer.add(optimizer_name(state.optimizer.tensor_names[i], entry.name), entry.tensors[i]);
    }
  }
  if (state.best && !state.best->parameters.empty()) {
    for (std::size_t i = 0; i < state.parameters.size(); ++i) {
      writer.add(best_name(state.parameters[i].name), state.best->parameters[i]);
    }
    for (std::size_t i = 0; i < state.buffers.size(); ++i) {
      writer.add(best_name(state.buffers[i].name), state.best->buffers[i]);
    }
  }
  std::vector<std::vector<std::uint8_t>> masks;
  for (const auto& part : state.parameters) {
    if (part.mask.all_free()) continue;
    std::vector<std::uint8_t>& mask = masks.emplace_back();
    for (Index i = 0; i < part.mask.size(); ++i) mask.push_back(part.mask.is_free(i));
    writer.add(mask_name(model_name(part.name)), "BOOL", part.mask.shape(), mask.data());
  }
  writer.write(path);
}

template <class T> train::TrainerState<T> read_checkpoint(const std::string& path) {
  const Archive archive(path);
  if (!is_checkpoint(archive)) fail_as_other(archive);
  return read<T>(archive, checked_text(archive));
}

template <class T>
std::optional<train::TrainerState<T>> read_unless_damaged(const std::string& path,
                                                          std::optional<Error>& damage) {
  std::optional<Archive> archive;
  std::string text;
  try {
    archive.emplace(path);
    if (is_checkpoint(*archive)) text = checked_text(*archive);
  } catch (const Error& error) {
    damage = error;
    return {};
  }
  if (!is_checkpoint(*archive)) fail_as_other(*archive);
  return read<T>(*archive, text);
}

#define TAPER_INSTANTIATE(T)                                                             \
  template void write_checkpoint(const train::TrainerState<T>&, const std::string&);     \
  template train::TrainerState<T> read_checkpoint(const std::string&);                   \
  template std::optional<train::TrainerState<T>> read_unless_damaged(const std::string&, \
                                                                     std::optional<Error>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io

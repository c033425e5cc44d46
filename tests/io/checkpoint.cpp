#include <taper/io/checkpoint.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <string>

#include <taper/autodiff/threads.hpp>
#include <taper/data/checksum.hpp>
#include <taper/io/archive.hpp>
#include <taper/io/archive_writer.hpp>
#include <taper/io/load.hpp>
#include <taper/io/save.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/refit.hpp>
#include <taper/sparsity/shrink.hpp>

#include "../check.hpp"
#include "../train/training.hpp"

using namespace taper;
using training::Everything, training::text_of;
namespace fs = std::filesystem;

namespace {

/// A folder of our own that goes away with us.
struct Folder {
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path operator/(const char* name) const { return path / name; }
  fs::path path = fs::temp_directory_path() / ("taper_checkpoint_" + std::to_string(::getpid()));
};

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  return all.str();
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

struct Killed {};

/// Ends a training before this step, as a kill would.
template <class T> void kill_before(Index step, train::FitOptions<T>& options) {
  options.schedule = [step, before = options.schedule](const optim::TrainingTime& at) {
    if (at.step == step) throw Killed();
    return before ? before(at) : 1.0;
  };
}

/// Runs until it is killed.
template <class Run> void until_killed(const Run& run) {
  try {
    run();
    FAIL("it was not killed");
  } catch (const Killed&) {
  }
}

}  // namespace

TEST_CASE_TEMPLATE("checkpoint: a state becomes a file and a state again, to the bit", T, float, double) {
  const Folder folder;
  const fs::path path = folder / "state";
  Everything<T> all;
  all.options.callbacks = {[&](const train::Epoch& epoch) {
    if (epoch.number == 1) all.model.thaw("right.weight", Mask::free(Shape{8, 2}, {4}));  // uneven steps
    return epoch.number < 3;
  }};
  train::Trainer<T> trainer = all.trainer();
  while (!trainer.is_done()) {
    const train::TrainerState<T> state = trainer.state();
    io::write_checkpoint(state, path);
    CHECK(text_of(io::read_checkpoint<T>(path)) == text_of(state));
    // Times make no difference.
    const std::string bytes = bytes_of(path);
    train::TrainerState<T> later = state;
    later.history.seconds += 1;
    for (train::Epoch& epoch : later.history.epochs) epoch.seconds += 1;
    io::write_checkpoint(later, path);
    CHECK(bytes_of(path) == bytes);
    trainer.step();
  }
  io::write_checkpoint(trainer.state(), path);
  CHECK(io::read_checkpoint<T>(path).history.stopped == "a callback asked for it");
  using Other = std::conditional_t<std::is_same_v<T, float>, double, float>;
  CHECK_ERROR(
      io::read_checkpoint<Other>(path), "[load] ",
      std::is_same_v<T, float> ? "has a model of F32: expected F64" : "has a model of F64: expected F32");
}

TEST_CASE("checkpoint: the model in it can be loaded alone, with its masks") {
  const Folder folder;
  Everything<double> all;
  train::Trainer<double> trainer = all.trainer();
  trainer.run(2);
  io::write_checkpoint(trainer.state(), folder / "state");
  Everything<double> other;
  const io::LoadReport report =
      io::load(other.model, folder / "state", {.partial = true, .rename = {{"model.*", "*"}}});
  CHECK(report.missing.empty());
  CHECK(same_bits(other.model.running.value(), all.model.running.value()));
  CHECK(same_bits(other.model.right.weight.value(), all.model.right.weight.value()));
  CHECK(other.model.right.weight.mask() == all.model.right.weight.mask());
}

TEST_CASE("checkpoint: killed before any step, on other threads, the end is the same file") {
  const Folder folder;
  const fs::path path = folder / "run", expected = folder / "expected";
  const int before = threads();
  const auto fit = [](Everything<double>& all, const fs::path& to) {
    all.options.checkpoint = io::checkpoint(to, {.every = 0});
    train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options);
  };
  Everything<double> whole;
  fit(whole, expected);
  for (Index step = 0; step < 36; step += 5) {
    Everything<double> first, second;
    set_threads(1 + static_cast<int>(step) % 3);
    kill_before(step, first.options);
    until_killed([&] { fit(first, path); });
    manual_seed(99);
    set_threads(1 + static_cast<int>(step + 1) % 3);
    fit(second, path);
    CHECK(bytes_of(path) == bytes_of(expected));
    for (const char* name : {"run", "run.1"}) fs::remove(folder / name);
  }
  set_threads(before);
}

TEST_CASE("checkpoint: training, shrinking and training again, killed in either training") {
  const Folder folder;
  const data::Dataset<float> set{normal_tensor<float>({40, 6}, 1), normal_tensor<float>({40, 1}, 2), {}, {}};
  // As a program does it; killed before a step of one of its trainings.
  const auto program = [&](const std::string& name, Index kill_in, Index step) {
    manual_seed(1);
    nn::Sequential<float> net(nn::Linear(6, 12), nn::ReLU(), nn::Dropout(0.1), nn::Linear(12, 1));
    sparsity::factorize(net, sparsity::Groups::inputs);
    const auto options = [&](Index phase) {
      train::FitOptions<float> fit{.epochs = 8, .batch_size = 8, .progress = train::Progress::quiet};
      fit.checkpoint = io::checkpoint(folder.path / (name + std::to_string(phase)), {.every = 0});
      if (kill_in == phase) kill_before(step, fit);
      return fit;
    };
    train::fit(net, set, nn::mse_loss, optim::Adam(net.parameters(), {.lr = 0.05, .weight_decay = 0.1}),
               options(1));
    nn::Sequential<float> small = sparsity::shrink(net, {.examples = set.x}).model;
    CHECK(small.parameters().count() < net.parameters().count());
    nn::Linear<float> drawn(2, 2);  // whatever comes from the generators after the training
    sparsity::refit(small, set, nn::mse_loss, {}, options(2));
    std::ostringstream text;
    text << std::hexfloat;
    for (const float w : drawn.weight.value()) text << w << ' ';
    for (const float y : train::predict(small, set.x)) text << y << ' ';
    return text.str();
  };
  const std::string expected = program("whole", 0, 0);
  CHECK(program("whole", 0, 0) == expected);  // both trainings load their ends
  for (const Index step : {0, 7, 39}) {
    for (const Index kill_in : {1, 2}) {
      until_killed([&] { program("killed", kill_in, step); });
      CHECK(program("killed", 0, 0) == expected);
      CHECK(bytes_of(folder / "killed1") == bytes_of(folder / "whole1"));
      CHECK(bytes_of(folder / "killed2") == bytes_of(folder / "whole2"));
      for (const char* name : {"killed1", "killed1.1", "killed2", "killed2.1"}) fs::remove(folder / name);
    }
  }
}

TEST_CASE("checkpoint: files are rotated, and a damaged or missing newest one is passed over") {
  const Folder folder;
  const fs::path path = folder / "run";
  const auto fit = [&](Everything<double>& all, Index epochs) {
    all.options.epochs = epochs;
    all.options.schedule = {};
    all.options.checkpoint = io::checkpoint(path, {.keep = 3, .every = 0});
    train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options);
    return bytes_of(path);
  };
  Everything<double> first, second;
  fit(first, 3);
  CHECK(fs::exists(folder / "run.2"));
  CHECK_FALSE(fs::exists(folder / "run.3"));
  CHECK(io::read_checkpoint<double>(path).epoch == 3);
  CHECK(io::read_checkpoint<double>(folder / "run.1").batch == 5);
  CHECK(io::read_checkpoint<double>(folder / "run.2").batch == 4);
  const std::string good = bytes_of(path), one_before = bytes_of(folder / "run.1");
  const std::string expected = fit(second, 5);  // goes on where the first ended

  std::string flipped = good;
  flipped[flipped.size() - 3] ^= 1;
  for (const std::string& bad : {good.substr(0, good.size() / 2), std::string(), flipped,
                                 std::string("<html>"), std::string("missing")}) {
    write(path, bad);
    if (bad == "missing") fs::remove(path);
    write(folder / "run.1", one_before);
    Everything<double> all;
    CHECK(fit(all, 5) == expected);
  }
  for (const char* name : {"run", "run.1", "run.2"}) write(folder / name, flipped);
  Everything<double> all;
  CHECK_ERROR(fit(all, 5), "[checkpoint] /", "run has the checksum", ", and there is no older one: expected ",
              "as it was written; moved away, training begins anew");
  CHECK(bytes_of(path) == flipped);
  // One of a training with other settings is not damaged.
  write(path, good);
  write(folder / "run.1", one_before);
  Everything<double> other;
  other.options.seed = 8;
  CHECK_ERROR(fit(other, 5), "[checkpoint] /",
              "run does not fit this training, [trainer] a state of a training with the seed 7: expected 8");
  Everything<double> less;
  CHECK_ERROR(fit(less, 2), "run is of a training after 3 epochs: expected 2 at most");
  Everything<double> plain;
  optim::SGD<double> sgd(plain.model.parameters(), {.lr = 0.01});
  plain.options.checkpoint = io::checkpoint(path);
  CHECK_ERROR(train::fit(plain.model, plain.columns.views(), plain.step(), sgd, plain.options),
              "[trainer] a state of a training with the optimizer adam: expected sgd");
}

TEST_CASE("checkpoint: a whole file of something else is neither passed over nor rotated away") {
  const Folder folder;
  const fs::path path = folder / "run";
  const auto fit = [&](Everything<double>& all) {
    all.options.checkpoint = io::checkpoint(path, {.every = 0});
    train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options);
  };
  Everything<double> first;
  fit(first);
  const auto refused = [&](const char* words) {
    const std::string bytes = bytes_of(path), before = bytes_of(folder / "run.1");
    Everything<double> all;
    CHECK_ERROR(fit(all), words);
    CHECK(bytes_of(path) == bytes);
    CHECK(bytes_of(folder / "run.1") == before);
  };
  const io::Archive archive(bytes_of(path), "run");
  const std::string text = archive.metadata().at("checkpoint"), sum = archive.metadata().at("checksum");
  // A version that is to come. The checksum is that of the text and those of the tensors, added up.
  const auto rewrite = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    std::ostringstream other_sum;
    other_sum << std::hex << std::setw(16) << std::setfill('0')
              << std::stoull(sum, nullptr, 16) - data::checksum(text) + data::checksum(changed);
    io::ArchiveWriter writer("test");
    for (const auto& [name, stored] : archive.tensors()) {
      const std::vector<Index> dimensions(stored.shape.begin(), stored.shape.end());
      writer.add(name, stored.dtype.c_str(), Shape(dimensions.data(), static_cast<Index>(dimensions.size())),
                 archive.data(stored));
    }
    writer.write(path, {{"checkpoint", changed}, {"checksum", other_sum.str()}});
  };
  rewrite("\"buffers\":[", "\"buffers\":[\"running\",");
  refused("run has \"running\" twice in its text: expected it once");
  rewrite("\"epoch\":", "\"epochs\":");
  refused("run has a text that is no checkpoint's");
  rewrite("\"version\":1", "\"version\":2");
  refused("run is a checkpoint of version 2: expected 1");
  // The model of the training, saved where its checkpoints are.
  io::save(first.model, path);
  refused("run is no checkpoint: expected one");
  io::save(first.model, path, {{"checkpoint", text}, {"checksum", sum}});
  Everything<double> passed;
  fit(passed);  // that is damaged
  CHECK(same_bits(passed.model.out.weight.value(), first.model.out.weight.value()));
  // One of another scalar.
  Everything<float> other;
  train::Trainer<float> trainer = other.trainer();
  io::write_checkpoint(trainer.state(), path);
  refused("run has a model of F32: expected F64");
}

TEST_CASE("checkpoint: parameters with names that look like masks, and names that are no text") {
  struct Named : nn::Layer<double> {
    nn::Parameter<double> scale{Shape{2}}, shift{Shape{2}};
    std::string first, second;
    Named(const char* a, const char* b) : first(a), second(b) {}
    void visit(nn::Visitor<double>& v) const override { v(first, scale), v(second, shift); }
    Var<double> forward(Var<double> x) const override {
      return x * scale.bind(x.tape()) + shift.bind(x.tape());
    }
  };
  const Folder folder;
  const data::Dataset<double> set{normal_tensor<double>({6, 2}, 1), normal_tensor<double>({6, 2}, 2), {}, {}};
  const auto fit = [&](Named& model, Index epochs) {
    train::fit(model, set, nn::mse_loss, optim::Adam<double>(model.parameters()),
               {.epochs = epochs,
                .progress = train::Progress::quiet,
                .checkpoint = io::checkpoint(folder / "run", {.every = 0})});
  };
  Named half("w", "w.mask"), rest("w", "w.mask");
  fit(half, 2);
  fit(rest, 4);
  CHECK(io::read_checkpoint<double>(folder / "run").epoch == 4);
  for (const char* name : {"run", "run.1"}) fs::remove(folder / name);
  Named odd("w\xff", "b");
  CHECK_ERROR(fit(odd, 1), "[checkpoint] a model with names that are not UTF-8: expected text");
  CHECK_FALSE(fs::exists(folder / "run"));
}

TEST_CASE("checkpoint: a training that is done loads its end, and a checkpoint is for one training") {
  const Folder folder;
  Everything<double> first, second, third;
  first.options.checkpoint = io::checkpoint(folder / "run");
  const auto fit = [](Everything<double>& all) {
    return train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options);
  };
  fit(first);
  const RandomState random = random_state();
  CHECK_ERROR(fit(first), "[checkpoint]", "is of a training that is done: expected a checkpoint for each");
  second.options.checkpoint = io::checkpoint(folder / "run");
  bool called = false;
  second.options.callbacks = {[&](const train::Epoch&) { return called = true; }};
  CHECK(fit(second).epochs.size() == 6);
  CHECK_FALSE(called);
  CHECK(random_state() == random);
  CHECK(same_bits(first.model.out.weight.value(), second.model.out.weight.value()));
  CHECK(same_bits(first.model.running.value(), second.model.running.value()));
  CHECK(first.adam->lr_factor() == second.adam->lr_factor());
  CHECK_ERROR(fit(second), "is of a training that is done");
  third.options.checkpoint = io::checkpoint(folder / "run");
  third.options.epochs = 8;
  CHECK(fit(third).epochs.size() == 8);
}

TEST_CASE("checkpoint: what cannot be written shows before the training") {
  const Folder folder;
  CHECK_ERROR(io::checkpoint(folder / "run", {.keep = 0}),
              "[checkpoint] 0 files to keep: expected 1 or more");
  CHECK_ERROR(io::checkpoint(folder / "run", {.every = -1}), "[checkpoint] -1 seconds");
  CHECK_ERROR(io::checkpoint(folder / "run", {.every = std::nan("")}), "[checkpoint] nan seconds");
  Everything<double> all;
  const auto state = [&] { return text_of(all.trainer().state()); };
  const std::string before = state();
  all.options.checkpoint = io::checkpoint(folder.path / "none" / "run");
  CHECK_ERROR(train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options), "[checkpoint]",
              "cannot be written");
  all.options.checkpoint = {};
  CHECK(state().substr(0, 200) == before.substr(0, 200));
}

TEST_CASE("checkpoint: one file is kept where one is asked for, behind a link too") {
  const Folder folder;
  fs::create_directories(folder / "far");
  write(folder.path / "far" / "target", "");
  fs::create_symlink(folder.path / "far" / "target", folder / "link");
  fs::remove(folder.path / "far" / "target");
  write(folder.path / "far" / "target", "not a checkpoint");
  Everything<double> all;
  all.options.checkpoint = io::checkpoint(folder / "link", {.keep = 1, .every = 0});
  CHECK_ERROR(train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options), "[checkpoint]",
              "no older one");
  fs::remove(folder.path / "far" / "target");
  Everything<double> again;
  again.options.checkpoint = io::checkpoint(folder / "link", {.keep = 1, .every = 0});
  train::fit(again.model, again.columns.views(), again.step(), *again.adam, again.options);
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(io::read_checkpoint<double>(folder.path / "far" / "target").epoch == 6);
  CHECK_FALSE(fs::exists(folder.path / "far" / "target.1"));
  // Also a link to where there is nothing at first.
  fs::remove(folder.path / "far" / "target");
  Everything<double> anew;
  anew.options.checkpoint = io::checkpoint(folder / "link", {.every = 0});
  train::fit(anew.model, anew.columns.views(), anew.step(), *anew.adam, anew.options);
  CHECK(fs::is_symlink(folder / "link"));
  CHECK_FALSE(fs::exists(folder / "link.1"));
  CHECK(io::read_checkpoint<double>(folder.path / "far" / "target").epoch == 6);
  CHECK(io::read_checkpoint<double>(folder.path / "far" / "target.1").batch == 5);
}

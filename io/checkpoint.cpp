#include <taper/io/checkpoint.hpp>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>

#include <taper/instantiate.hpp>
#include <taper/io/checkpoint_file.hpp>

namespace taper::io {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

}  // namespace

struct CheckpointFiles::Files {
  fs::path path;
  CheckpointOptions options;
  Clock::time_point saved = Clock::now();
  bool is_done = false;  // the training

  /// The file that was the newest so many files ago.
  fs::path before(Index number) const {
    fs::path name = path;
    return number == 0 ? name : name += '.' + std::to_string(number);
  }

  /// Renaming a link would leave the place that it leads to.
  void follow_link() {
    std::error_code problem;
    const fs::path target = fs::canonical(path, problem);
    if (!problem) path = target;
  }

  /// Makes room for a new one. Ended in between, it has lost none but the oldest: there is none at `path`
  /// for a moment, but then there is one before.
  void rotate() const {
    std::error_code problem;
    if (!fs::exists(path, problem)) return;
    for (Index number = options.keep - 1; number > 0; --number) {
      if (!fs::exists(before(number - 1), problem)) continue;
      fs::rename(before(number - 1), before(number), problem);
      if (problem) {
        throw Error("checkpoint", before(number).string(), " cannot be written: ", problem.message());
      }
    }
  }
};

CheckpointFiles::CheckpointFiles(const std::string& path, const CheckpointOptions& options)
    : files_(std::make_shared<Files>(Files{path, options})) {
  if (options.keep < 1) throw Error("checkpoint", options.keep, " files to keep: expected 1 or more");
  if (!(options.every >= 0)) {
    throw Error("checkpoint", options.every, " seconds from one to the next: expected 0 or more");
  }
  files_->follow_link();
}

CheckpointFiles checkpoint(const std::string& path, const CheckpointOptions& options) {
  return {path, options};
}

template <class T> void CheckpointFiles::resume(train::Trainer<T>& trainer) const {
  if (files_->is_done) {
    throw Error("checkpoint", files_->path.string(),
                " is of a training that is done: expected a checkpoint for each training");
  }
  std::optional<Error> damage;
  for (Index number = 0; number < files_->options.keep; ++number) {
    const fs::path path = files_->before(number);
    std::error_code problem;
    if (!fs::exists(path, problem) && !problem) continue;
    std::optional<Error> found;
    const auto state = read_unless_damaged<T>(path.string(), found);
    if (!state) {
      if (!damage) damage = found;
      continue;
    }
    if (state->epoch > trainer.epochs()) {
      throw Error("checkpoint", path.string(), " is of a training after ", state->epoch, " epochs: expected ",
                  trainer.epochs(), " at most");
    }
    try {
      trainer.load_state(*state);
    } catch (const Error& error) {
      throw Error("checkpoint", path.string(), " does not fit this training, ", error.what());
    }
    files_->is_done = trainer.is_done();
    files_->saved = Clock::now();
    return;
  }
  if (damage) {
    throw Error("checkpoint", damage->given(), ", and there is no older one: expected ",
                damage->expected().empty() ? "a checkpoint" : damage->expected(),
                "; moved away, training begins anew");
  }
  files_->saved = Clock::time_point::min();
  save(trainer);
}

template <class T> void CheckpointFiles::save(const train::Trainer<T>& trainer) const {
  const auto now = Clock::now();
  const bool is_first = files_->saved == Clock::time_point::min();
  const bool is_due =
      is_first || std::chrono::duration<double>(now - files_->saved).count() >= files_->options.every;
  if (!is_due && !trainer.is_done()) return;
  const train::TrainerState<T> state = trainer.state();
  files_->follow_link();  // where there was nothing before, there may be a file now
  files_->rotate();
  write_checkpoint(state, files_->path.string());
  files_->saved = now;
  files_->is_done = trainer.is_done();
}

#define TAPER_INSTANTIATE(T)                                       \
  template void CheckpointFiles::resume(train::Trainer<T>&) const; \
  template void CheckpointFiles::save(const train::Trainer<T>&) const;
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io

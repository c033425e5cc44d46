#include <cmath>
#include <numbers>

#include <taper/autodiff/error.hpp>
#include <taper/optim/schedule.hpp>

namespace taper::optim {
namespace {

void require_epochs(const char* where, Index epochs) {
  if (epochs < 1) throw Error(where, epochs, " epochs: expected 1 or more");
}

void require_factor(const char* where, double factor) {
  if (!(factor >= 0 && std::isfinite(factor))) {
    throw Error(where, "a factor of ", factor, ": expected a finite number, 0 or more");
  }
}

}  // namespace

Schedule step_schedule(Index every, double factor) {
  require_epochs("step_schedule", every);
  require_factor("step_schedule", factor);
  return [=](Index epoch) {
    const Index times = epoch / every;
    return std::pow(factor, static_cast<double>(times));
  };
}

Schedule cosine_schedule(Index epochs, double last) {
  require_epochs("cosine_schedule", epochs);
  require_factor("cosine_schedule", last);
  return [=](Index epoch) {
    const double passed = std::min(1.0, static_cast<double>(epoch) / static_cast<double>(epochs));
    return last + (1 - last) * 0.5 * (1 + std::cos(std::numbers::pi * passed));
  };
}

Schedule warm_up(Index epochs, Schedule then) {
  require_epochs("warm_up", epochs);
  if (!then) throw Error("warm_up", "an empty schedule to follow: expected one that can be called");
  return [epochs, then = std::move(then)](Index epoch) {
    return epoch < epochs ? static_cast<double>(epoch + 1) / static_cast<double>(epochs)
                          : then(epoch - epochs);
  };
}

}  // namespace taper::optim

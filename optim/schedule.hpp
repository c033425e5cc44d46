#pragma once

#include <functional>

#include <taper/autodiff/shape.hpp>

namespace taper::optim {

/// The factor of all rates in an epoch, counted from 0: a finite number, 0 or more. Any function will do;
/// these are the usual ones, which throw Error for fewer epochs than 1 and for other factors.
using Schedule = std::function<double(Index epoch)>;

/// factor^(epoch / every), rounded down: a drop each `every` epochs.
Schedule step_schedule(Index every, double factor = 0.1);
/// From 1 to `last` along half a cosine over `epochs` epochs (Loshchilov and Hutter, "SGDR", 2017, equation
/// 5).
Schedule cosine_schedule(Index epochs, double last = 0);
/// Rises linearly to 1 over the first `epochs` epochs, then follows another schedule, which starts there.
Schedule warm_up(
    Index epochs, Schedule then = [](Index) { return 1.0; });

}  // namespace taper::optim

#pragma once

#include <optional>

#include <taper/train/history.hpp>

namespace taper::train {

/// The Error of a training whose loss, gradient or parameters are no longer finite numbers, with what there
/// was until then. It speaks like any other Error; who does not look at its members catches that.
class Diverged : public Error {
 public:
  template <class... Parts>
  Diverged(History history_, Index epoch_, std::optional<Index> batch_, const Parts&... parts)
      : Error("fit", parts...), history(std::move(history_)), epoch(epoch_), batch(batch_) {}

  /// The epochs that were completed.
  History history;
  /// Where it happened, counted from 0. No batch: when the epoch was over, and its parameters were looked at
  /// or evaluated.
  Index epoch;
  std::optional<Index> batch;
};

}  // namespace taper::train

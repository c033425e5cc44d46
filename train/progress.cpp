#include <taper/train/progress.hpp>

#include <unistd.h>

#include <cstdio>

namespace taper::train {

ProgressDisplay::ProgressDisplay(Progress kind, std::string title, Index epochs)
    : kind_(kind == Progress::quiet ? Kind::none
            : isatty(STDERR_FILENO) ? Kind::bar
                                    : Kind::lines),
      title_(std::move(title)),
      epochs_(epochs) {}

void ProgressDisplay::show(const Epoch& epoch, double seconds) {
  if (kind_ == Kind::none) return;
  const Index done = epoch.number + 1;
  const bool last = done == epochs_;
  const double left = seconds * static_cast<double>(epochs_ - done) / static_cast<double>(done);
  if (kind_ == Kind::lines) {
    if (!last && done * 10 / epochs_ == (done - 1) * 10 / epochs_) return;
    std::fprintf(stderr, "%s: epoch %td of %td, loss %.6g, rate %.3g, %.1f s left\n", title_.c_str(), done,
                 epochs_, epoch.loss, epoch.rate, left);
    return;
  }
  if (!last && last_ >= 0 && seconds - last_ < 0.1) return;
  last_ = seconds;
  constexpr Index width = 30;
  const auto filled = static_cast<std::size_t>(width * done / epochs_);
  const std::string bar =
      std::string(filled, '#') + std::string(static_cast<std::size_t>(width) - filled, '.');
  std::fprintf(stderr, "\r%s [%s] %td/%td  loss %.6g  rate %.3g  %.1f s left \033[K", title_.c_str(),
               bar.c_str(), done, epochs_, epoch.loss, epoch.rate, left);
}

void ProgressDisplay::finish() {
  if (last_ >= 0) std::fputc('\n', stderr);
}

}  // namespace taper::train

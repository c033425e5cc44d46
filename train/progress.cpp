#include <taper/train/progress.hpp>

namespace taper::train {

ProgressDisplay::ProgressDisplay(Kind kind, std::string title, Index epochs, std::FILE* out)
    : kind_(kind), title_(std::move(title)), epochs_(epochs), out_(out) {}

void ProgressDisplay::show(const Epoch& epoch, double seconds) {
  if (kind_ == Kind::none) return;
  const Index done = epoch.number + 1;
  const bool due = kind_ == Kind::lines ? done * 10 / epochs_ != (done - 1) * 10 / epochs_
                                        : drawn_ < 0 || seconds - drawn_ >= 0.1;
  if (!due && done != epochs_) {
    not_shown_ = epoch;
    return;
  }
  drawn_ = seconds;
  const double left = seconds * static_cast<double>(epochs_ - done) / static_cast<double>(done);
  char text[64];
  std::snprintf(text, sizeof text, "%.1f s left", left);
  print(epoch, text);
}

void ProgressDisplay::finish() {
  if (not_shown_) print(*not_shown_, "stopped");
  if (kind_ == Kind::bar && drawn_ >= 0) std::fputc('\n', out_);
  kind_ = Kind::none;
}

void ProgressDisplay::print(const Epoch& epoch, const std::string& left) {
  not_shown_.reset();
  const Index done = epoch.number + 1;
  if (kind_ == Kind::lines) {
    std::fprintf(out_, "%s: epoch %td of %td, loss %.6g, rate %.3g, %s\n", title_.c_str(), done, epochs_,
                 epoch.loss, epoch.rate, left.c_str());
    return;
  }
  constexpr Index width = 30;
  const auto filled = static_cast<std::size_t>(width * done / epochs_);
  const std::string bar =
      std::string(filled, '#') + std::string(static_cast<std::size_t>(width) - filled, '.');
  std::fprintf(out_, "\r%s [%s] %td/%td  loss %.6g  rate %.3g  %s \033[K", title_.c_str(), bar.c_str(), done,
               epochs_, epoch.loss, epoch.rate, left.c_str());
}

}  // namespace taper::train

#include <taper/train/progress.hpp>

#include <sys/ioctl.h>

#include <algorithm>

#include <taper/data/utf8.hpp>

namespace taper::train {
namespace {

Index columns_of(std::FILE* out) {
  winsize size{};
  const bool known = ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

/// The text as far as it fits, with one column for each character.
std::string cut(const std::string& text, Index columns) {
  Index width = 0;
  std::size_t end = 0;
  while (end < text.size() && (width += !data::continues_character(text[end])) <= columns) ++end;
  return text.substr(0, end);
}

}  // namespace

ProgressDisplay::ProgressDisplay(Kind kind, std::string title, Index epochs, std::FILE* out, Index columns)
    : kind_(kind), title_(std::move(title)), epochs_(epochs), out_(out), columns_(columns) {}

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
  const double left = seconds * static_cast<double>(epochs_ - done) / static_cast<double>(done - first_);
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
    std::fprintf(out_, "%s: epoch %td of %td, loss %.6g, lr %.3g, %s\n", title_.c_str(), done, epochs_,
                 epoch.loss, epoch.lr, left.c_str());
    return;
  }
  char after[160];
  std::snprintf(after, sizeof after, "%td/%td  loss %.6g  lr %.3g  %s", done, epochs_, epoch.loss, epoch.lr,
                left.c_str());
  draw(static_cast<double>(done) / static_cast<double>(epochs_), after);
}

void ProgressDisplay::draw(double share, const std::string& after) {
  constexpr Index most = 30, least = 3;
  const Index room =
      (columns_ > 0 ? columns_ : columns_of(out_)) - 1;  // the last column would break the line
  const Index bar = std::min(most, room - data::characters(title_) - data::characters(after) - 4);
  std::string line = title_ + ' ';
  if (bar >= least) {
    const Index filled = std::min(bar, static_cast<Index>(share * static_cast<double>(bar) + 1e-9));
    line += '[' + std::string(static_cast<std::size_t>(filled), '#') +
            std::string(static_cast<std::size_t>(bar - filled), '.') + "] ";
  }
  line = cut(line + after, room);
  const Index width = data::characters(line),
              over = std::min(width_, room) - width;  // of what was longer before
  width_ = width;
  line.append(static_cast<std::size_t>(std::max<Index>(over, 0)), ' ');
  std::fprintf(out_, "\r%s", line.c_str());
  std::fflush(out_);
}

}  // namespace taper::train

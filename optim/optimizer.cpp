#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <taper/autodiff/kernels/denormals.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/optim/optimizer.hpp>

namespace taper::optim {

void require_setting(const char* where, const char* name, double value, bool below_one) {
  const bool fine = std::isfinite(value) && value >= 0 && (!below_one || value < 1);
  if (!fine) throw Error(where, name, " ", value, ": expected ", below_one ? "0 <= number < 1" : "0 or more");
}

template <class T>
Optimizer<T>::Optimizer(nn::Parameters<T> parameters, const char* name, double lr, double weight_decay,
                        const std::vector<Group>& groups)
    : block_(parameters.block()), version_(block_->version), name_(name), lr_(lr) {
  require_setting(name, "lr", lr);
  require_setting(name, "weight_decay", weight_decay);
  std::vector<bool> used(groups.size());
  for (const auto& entry : parameters.entries()) {
    Segment next{entry.offset, static_cast<Index>(padded<T>(static_cast<std::size_t>(entry.shape.size()))),
                 lr, weight_decay};
    bool grouped = false;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      if (fnmatch(groups[g].match.c_str(), entry.name.c_str(), 0) != 0) continue;
      used[g] = true;
      if (std::exchange(grouped, true)) continue;
      next.lr = groups[g].lr.value_or(lr);
      next.weight_decay = groups[g].weight_decay.value_or(weight_decay);
    }
    // Neighbours with the same settings are one run; the gaps between them hold zeros and stay zero.
    if (!segments_.empty() && segments_.back().lr == next.lr &&
        segments_.back().weight_decay == next.weight_decay) {
      segments_.back().size += next.size;
    } else {
      segments_.push_back(next);
    }
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (!used[g])
      throw Error(name, "a group for '", groups[g].match,
                  "': expected a pattern that some parameter matches");
    if (groups[g].lr) require_setting(name, "lr", *groups[g].lr);
    if (groups[g].weight_decay) require_setting(name, "weight_decay", *groups[g].weight_decay);
  }
  if (segments_.empty()) return;
  begin_ = segments_.front().offset;
  end_ = segments_.back().offset + segments_.back().size;
}

template <class T> double Optimizer<T>::weight_decay(const typename nn::Parameters<T>::Entry& entry) const {
  const auto holds = [&](const Segment& segment) {
    return segment.offset <= entry.offset && entry.offset < segment.offset + segment.size;
  };
  const auto segment = std::ranges::find_if(segments_, holds);
  return segment == segments_.end() ? 0 : segment->weight_decay;
}

template <class T> void Optimizer<T>::set_rate_factor(double factor) {
  require_setting(name_, "rate factor", factor);
  rate_factor_ = factor;
}

template <class T> void Optimizer<T>::clip_norm(double most) {
  if (!(most > 0)) throw Error(name_, "a gradient norm of at most ", most, ": expected a positive number");
  most_ = most;
}

template <class T> void Optimizer<T>::step() {
  if (block_->version != version_) {
    throw Error(name_,
                "the model's parameters were laid out anew since this optimizer was built: build a new one");
  }
  const kernels::FlushDenormals flush;
  double scale = 1;
  if (most_ > 0) {
    // torch.nn.utils.clip_grad_norm_ adds 1e-6 too, so that a vanishing norm divides nothing by zero.
    const double norm = std::sqrt(kernels::sum_squares(end_ - begin_, block_->gradients.data() + begin_));
    scale = std::min(1.0, most_ / (norm + 1e-6));
  }
  ++steps_;
  for (const Segment& segment : segments_) update(segment, segment.lr * rate_factor_, scale);
}

template class Optimizer<float>;
template class Optimizer<double>;

}  // namespace taper::optim

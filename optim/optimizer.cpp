#include <fnmatch.h>

#include <algorithm>
#include <array>
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
    : block_(parameters.block()),
      version_(parameters.version()),
      masks_(block_->mask_version),
      name_(name),
      lr_(lr) {
  require_setting(name, "lr", lr);
  require_setting(name, "weight_decay", weight_decay);
  std::vector<bool> used(groups.size());
  for (const auto& entry : parameters.entries()) {
    Segment next{entry.offset, static_cast<Index>(padded<T>(static_cast<std::size_t>(entry.shape.size()))),
                 lr, weight_decay};
    runs_.emplace_back(entry.offset, entry.shape.size());
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
  held_ = AlignedArray<kernels::Held>(static_cast<std::size_t>(end_ - begin_));
  for (Index i = 0; i < end_ - begin_; ++i) {
    const bool frozen = block_->frozen.data()[begin_ + i] != 0;
    held_.data()[i] = frozen ? kernels::held_frozen : kernels::held_free;
    any_held_ |= frozen;
  }
}

template <class T> double Optimizer<T>::weight_decay(const typename nn::Parameters<T>::Entry& entry) const {
  const auto holds = [&](const Segment& segment) {
    return segment.offset <= entry.offset && entry.offset < segment.offset + segment.size;
  };
  const auto segment = std::ranges::find_if(segments_, holds);
  return segment == segments_.end() ? 0 : segment->weight_decay;
}

template <class T> bool Optimizer<T>::moves(const nn::Parameters<T>& parameters) const {
  return block_ == parameters.block() && version_ == parameters.version() &&
         std::ranges::equal(runs_, parameters.entries(), [](const auto& run, const auto& entry) {
           return run.first == entry.offset && run.second == entry.shape.size();
         });
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
  if (masks_ != block_->mask_version) follow_masks();
  if (any_held_ && !holds()) {
    throw Error(name_, "frozen entries, which this optimizer cannot hold: thaw them, or use one that can");
  }
  const kernels::FlushDenormals flush;
  // torch.nn.utils.clip_grad_norm_ adds 1e-6 too, so that a vanishing norm divides nothing by zero.
  const double scale = most_ > 0 ? std::min(1.0, most_ / (gradient_norm() + 1e-6)) : 1;
  ++steps_;
  for (const Segment& segment : segments_) update(segment, segment.lr * rate_factor_, scale);
  if (any_fresh_) end_fresh();
}

/// Takes over the masks of the block, and forgets the state of every entry whose mark has changed.
template <class T> void Optimizer<T>::follow_masks() {
  masks_ = block_->mask_version;
  any_held_ = false;
  std::vector<Index> frozen_now, thawed_now;
  for (Index i = 0; i < end_ - begin_; ++i) {
    kernels::Held& held = held_.data()[i];
    const bool frozen = block_->frozen.data()[begin_ + i] != 0;
    if (frozen != (held == kernels::held_frozen)) {
      (frozen ? frozen_now : thawed_now).push_back(i);
      const bool fresh = steps_ > 0 && holds();  // one that cannot hold has not let it rest
      held = frozen ? kernels::held_frozen : fresh ? kernels::held_fresh : kernels::held_free;
      any_fresh_ |= held == kernels::held_fresh;
    }
    any_held_ |= held != kernels::held_free;
  }
  if (!frozen_now.empty() || !thawed_now.empty()) restart(frozen_now, thawed_now);
}

template <class T> void Optimizer<T>::end_fresh() {
  any_fresh_ = any_held_ = false;
  for (Index i = 0; i < end_ - begin_; ++i) {
    kernels::Held& held = held_.data()[i];
    if (held == kernels::held_fresh) held = kernels::held_free;
    any_held_ |= held == kernels::held_frozen;
  }
}

/// The Euclidean norm of the free gradients. They are packed into runs of a fixed length before they are
/// summed, so that the bits are those of the smaller problem without the frozen ones.
template <class T> double Optimizer<T>::gradient_norm() const {
  alignas(alignment) std::array<T, 2048> run;
  double total = 0;
  std::size_t filled = 0;
  for (const auto& [offset, size] : runs_) {
    const T* const gradients = block_->gradients.data() + offset;
    const kernels::Held* const held = held_.data() + (offset - begin_);
    for (Index i = 0; i < size; ++i) {
      run[filled] = gradients[i];
      filled += held[i] != kernels::held_frozen;
      if (filled < run.size()) continue;
      total += kernels::sum_squares(static_cast<Index>(filled), run.data());
      filled = 0;
    }
  }
  return std::sqrt(total + kernels::sum_squares(static_cast<Index>(filled), run.data()));
}

template class Optimizer<float>;
template class Optimizer<double>;

}  // namespace taper::optim

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <taper/autodiff/finite.hpp>
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
    runs_.push_back({entry.offset, entry.shape.size(), entry.name});
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
           return run.offset == entry.offset && run.size == entry.shape.size();
         });
}

template <class T> void Optimizer<T>::set_rate_factor(double factor) {
  require_setting(name_, "rate factor", factor);
  rate_factor_ = factor;
}

template <class T> void Optimizer<T>::clip_norm(double most) {
  require_limit("a gradient norm", most);
  most_norm_ = most;
}

template <class T> void Optimizer<T>::clip_value(double most) {
  require_limit("gradient entries", most);
  most_value_ = most;
}

template <class T> void Optimizer<T>::require_limit(const char* what, double most) const {
  constexpr auto least = static_cast<double>(std::numeric_limits<T>::min());
  if (most >= least) return;
  throw Error(name_, what, " of at most ", most, ": expected a positive number, at least ", least,
              ", below which gradients count as zero");
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
  const kernels::Clipping clipped = clipping();
  ++steps_;
  for (const Segment& segment : segments_) update(segment, segment.lr * rate_factor_, clipped);
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

/// What clipping does to the gradients that are there. Throws Error where they are not finite.
template <class T> kernels::Clipping Optimizer<T>::clipping() const {
  kernels::Clipping result{.limit = most_value_};
  if (std::isfinite(most_norm_)) {
    const Norm norm = gradient_norm();
    if (!std::isfinite(norm.unit) || !std::isfinite(norm.of_units)) require_finite_gradients();
    // torch.nn.utils.clip_grad_norm_ adds 1e-6 too, so that a vanishing norm divides nothing by zero.
    result.scale = std::min(1.0, most_norm_ / norm.unit / (norm.of_units + 1e-6 / norm.unit));
    if (result.scale < static_cast<double>(std::numeric_limits<T>::min())) {
      result.scale = result.more = std::sqrt(most_norm_ / norm.of_units) / std::sqrt(norm.unit);
    }
  } else if (std::isfinite(most_value_)) {
    require_finite_gradients();
  }
  return result;
}

/// Calls f(run, count) for the free gradients, packed into runs of a fixed length, so that the bits of what
/// is summed are those of the smaller problem without the frozen ones. f may change the run.
template <class T> template <class F> void Optimizer<T>::for_free_gradients(const F& f) const {
  alignas(alignment) std::array<T, 2048> run;
  std::size_t filled = 0;
  for (const Run& parameter : runs_) {
    const T* const gradients = block_->gradients.data() + parameter.offset;
    const kernels::Held* const held = held_.data() + (parameter.offset - begin_);
    for (Index i = 0; i < parameter.size; ++i) {
      run[filled] = gradients[i];
      filled += held[i] != kernels::held_frozen;
      if (filled < run.size()) continue;
      f(run.data(), static_cast<Index>(filled));
      filled = 0;
    }
  }
  f(run.data(), static_cast<Index>(filled));
}

/// The Euclidean norm of the free gradients, after clip_value; not finite where one of them is not.
template <class T> auto Optimizer<T>::gradient_norm() const -> Norm {
  double total = 0;
  Index count = 0;
  const bool limited = std::isfinite(most_value_);
  const T most = static_cast<T>(most_value_);
  for_free_gradients([&](T* run, Index size) {
    for (Index i = 0; limited && i < size; ++i) {
      if (std::isfinite(run[i])) run[i] = std::clamp(run[i], -most, most);
    }
    total += kernels::sum_squares(size, run);
    count += size;
  });
  // Squares that were too small for T, or whose sum was too large.
  constexpr double least = static_cast<double>(std::numeric_limits<T>::min());
  constexpr double precision = static_cast<double>(std::numeric_limits<T>::epsilon());
  if (std::isnan(total) ||
      (std::isfinite(total) && total >= static_cast<double>(count) * least / precision)) {
    return {1, std::sqrt(total)};
  }
  T largest = 0;
  for_free_gradients([&](T* run, Index size) {
    for (Index i = 0; i < size; ++i) largest = std::max(largest, std::abs(run[i]));
  });
  if (limited && std::isfinite(largest)) largest = std::min(largest, most);
  if (largest == 0 || !std::isfinite(largest)) return {1, static_cast<double>(largest)};
  total = 0;
  for_free_gradients([&](T* run, Index size) {
    for (Index i = 0; i < size; ++i) run[i] = std::clamp(run[i], -largest, largest) / largest;
    total += kernels::sum_squares(size, run);
  });
  return {static_cast<double>(largest), std::sqrt(total)};
}

template <class T> void Optimizer<T>::require_finite_gradients() const {
  for (const Run& parameter : runs_) {
    const T* const gradients = block_->gradients.data() + parameter.offset;
    for (Index i = first_not_finite(gradients, parameter.size); i >= 0 && i < parameter.size; ++i) {
      const bool frozen = held_.data()[parameter.offset - begin_ + i] == kernels::held_frozen;
      if (frozen || std::isfinite(gradients[i])) continue;
      throw Error(name_, "the gradient of '", parameter.name, "' is ", gradients[i], " at entry ", i,
                  ": expected finite numbers to clip");
    }
  }
}

template class Optimizer<float>;
template class Optimizer<double>;

}  // namespace taper::optim

#include <taper/train/trainer/best.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include <taper/instantiate.hpp>

namespace taper::train {
namespace {

template <class T> std::vector<nn::Buffer<T>*> buffers_of(nn::Module<T>& model) {
  std::vector<nn::Buffer<T>*> result;
  model.for_buffers([&](const std::string&, nn::Buffer<T>& buffer) { result.push_back(&buffer); });
  return result;
}

}  // namespace

template <class T>
Best<T>::Best(const std::optional<EarlyStopping>& rule, nn::Module<T>& model, nn::Parameters<T> parameters)
    : rule_(rule), model_(&model), parameters_(std::move(parameters)) {
  if (!rule) return;
  if (rule->patience < 1) {
    throw Error("fit", "a patience of ", rule->patience, " epochs: expected 1 or more");
  }
  if (!(std::isfinite(rule->at_least) && rule->at_least >= 0)) {
    throw Error("fit", "an improvement of at least ", rule->at_least,
                ": expected a finite number, 0 or more");
  }
}

template <class T> void Best<T>::begin(double loss) {
  masks_ = parameters_.block()->mask_version;
  least_ = infinity;
  keep(std::isfinite(loss) ? loss : infinity);
}

template <class T> bool Best<T>::should_stop(double loss) {
  if (!rule_) return false;
  if (loss < least_ - rule_->at_least) {
    least_ = loss;
    waited_ = 0;
    if (loss <= kept_loss_) keep(loss);
    return false;
  }
  return ++waited_ >= rule_->patience;
}

template <class T> void Best<T>::keep(double loss) {
  kept_loss_ = loss;
  if (!rule_->restore_best) return;
  const AlignedArray<T>& values = parameters_.block()->values;
  if (kept_.size() != values.size()) kept_ = AlignedArray<T>(values.size(), Uninitialized{});
  std::copy_n(values.data(), values.size(), kept_.data());
  kept_buffers_.clear();
  for (const nn::Buffer<T>* buffer : buffers_of(*model_)) kept_buffers_.emplace_back(buffer->value());
}

template <class T> void Best<T>::restore() {
  Block<T>& block = *parameters_.block();
  if (!rule_ || !rule_->restore_best || kept_.size() == 0) return;
  if (masks_ != block.mask_version || parameters_.version() != block.version) return;
  const std::vector<nn::Buffer<T>*> buffers = buffers_of(*model_);
  const auto have_same_shape = [](const nn::Buffer<T>* buffer, const Tensor<T>& kept) {
    return buffer->shape() == kept.shape();
  };
  if (!std::ranges::equal(buffers, kept_buffers_, have_same_shape)) return;
  for (const auto& entry : parameters_.entries()) {
    std::copy_n(kept_.data() + entry.offset, entry.shape.size(), block.values.data() + entry.offset);
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) *buffers[i] = std::as_const(kept_buffers_[i]).view();
}

template <class T> auto Best<T>::state() const -> std::optional<State> {
  if (!rule_) return {};
  State state{.loss = least_,
              .waited = waited_,
              .kept_loss = kept_loss_,
              .is_of_present_masks = !must_begin(),
              .buffers = kept_buffers_};
  if (kept_.size() == 0) return state;
  for (const auto& entry : parameters_.entries()) {
    state.parameters.emplace_back(View<const T>(kept_.data() + entry.offset, entry.shape));
  }
  return state;
}

template <class T> void Best<T>::check(const std::optional<State>& state) const {
  if (state.has_value() != rule_.has_value()) {
    throw Error("trainer", "a state of a training ", state ? "with" : "without",
                " early stopping: expected one ", state ? "without" : "with", " it");
  }
  if (!state) return;
  if (state->waited < 0) {
    throw Error("trainer", "a state after ", state->waited, " epochs of waiting: expected 0 or more");
  }
  const auto has_shape = [](const Tensor<T>& tensor, const auto& part) { return tensor.shape() == part; };
  std::vector<Shape> expected;
  for (const nn::Buffer<T>* buffer : buffers_of(*model_)) expected.push_back(buffer->shape());
  const bool fits =
      state->parameters.empty() || (std::ranges::equal(state->parameters, parameters_.entries(), has_shape,
                                                       {}, &nn::Parameters<T>::Entry::shape) &&
                                    std::ranges::equal(state->buffers, expected, has_shape));
  if (!fits) {
    throw Error("trainer",
                "a state whose best parameters or buffers have other shapes: expected the model's");
  }
}

template <class T> void Best<T>::load_state(const std::optional<State>& state) {
  if (!state) return;
  const std::uint64_t present = parameters_.block()->mask_version;
  masks_ = state->is_of_present_masks ? present : ~present;
  least_ = state->loss;
  waited_ = state->waited;
  kept_loss_ = state->kept_loss;
  kept_ = AlignedArray<T>(state->parameters.empty() ? 0 : parameters_.block()->values.size());
  for (std::size_t i = 0; i < state->parameters.size(); ++i) {
    const Tensor<T>& kept = state->parameters[i];
    std::copy_n(kept.data(), kept.size(), kept_.data() + parameters_.entries()[i].offset);
  }
  kept_buffers_ = state->buffers;
}

TAPER_INSTANTIATE_CLASS(Best)

}  // namespace taper::train

#include <taper/train/trainer/finite_check.hpp>

#include <cmath>

#include <taper/autodiff/finite.hpp>
#include <taper/instantiate.hpp>

namespace taper::train {
namespace {

constexpr const char* advice = ": expected finite numbers; a lower learning rate may help";
constexpr const char* advice_on_loss = ": expected a finite number; a lower learning rate may help";

/// The operation that made it, found by a replay that looks at every result.
template <class T> std::string origin(RecordedStep<T>& step, std::uint64_t seed) {
  std::string found;
  step.tape.check_finite(true);
  try {
    step.run(seed);
  } catch (const Error& error) {
    found = concatenate(" (", error.what(), ")");
  }
  step.tape.check_finite(false);
  return found;
}

}  // namespace

template <class T>
FiniteCheck<T>::FiniteCheck(const nn::Module<T>& model, nn::Parameters<T> parameters)
    : model_(&model), parameters_(std::move(parameters)) {
  model.for_buffers([&](const std::string&, const nn::Buffer<T>&) { has_buffers_ = true; });
}

template <class T> std::string FiniteCheck<T>::fault(RecordedStep<T>& step, std::uint64_t seed) const {
  const T loss = step.loss.item();
  if (!std::isfinite(loss)) {
    return concatenate("the loss became ", loss) + origin(step, seed) + advice_on_loss;
  }
  const std::string gradient = first_bad("the gradient of ", parameters_.block()->gradients);
  if (gradient.empty()) return {};
  return gradient + origin(step, seed) + ": expected finite numbers";
}

template <class T> std::string FiniteCheck<T>::fault_of_model() const {
  std::string found = first_bad("", parameters_.block()->values);
  if (has_buffers_ && found.empty()) {
    model_->for_buffers([&](const std::string& name, const nn::Buffer<T>& buffer) {
      const Index bad = first_not_finite(buffer.value().data(), buffer.shape().size());
      if (bad < 0 || !found.empty()) return;
      found = concatenate("buffer '", name, "' became ", buffer.value()[bad], " at entry ", bad);
    });
  }
  return found.empty() ? found : found + advice;
}

template <class T> std::string FiniteCheck<T>::fault_after(RecordedStep<T>& step, std::uint64_t seed) {
  step.tape.replay(seed);
  const T loss = step.loss.item();
  if (std::isfinite(loss)) return {};
  return concatenate("the loss of the last batch became ", loss) + origin(step, seed) + advice_on_loss;
}

/// The first entry that is not finite, and not frozen: in one pass over the whole block, as long as there is
/// none.
template <class T>
std::string FiniteCheck<T>::first_bad(const char* what, const AlignedArray<T>& elements) const {
  if (first_not_finite(elements.data(), static_cast<Index>(elements.size())) < 0) return {};
  const Block<T>& block = *parameters_.block();
  for (const auto& entry : parameters_.entries()) {
    for (Index i = 0; i < entry.shape.size(); ++i) {
      const auto at = static_cast<std::size_t>(entry.offset + i);
      if (std::isfinite(elements.data()[at]) || block.frozen.data()[at] != 0) continue;
      return concatenate(what, "'", entry.name, "' became ", elements.data()[at], " at entry ", i);
    }
  }
  return {};
}

TAPER_INSTANTIATE_CLASS(FiniteCheck)

}  // namespace taper::train

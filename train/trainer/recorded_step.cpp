#include <taper/train/trainer/recorded_step.hpp>

#include <algorithm>

#include <taper/autodiff/difference.hpp>
#include <taper/instantiate.hpp>

namespace taper::train {

template <class T>
std::vector<Var<T>> StepOf<T>::inputs(Tape<T>& tape, const std::vector<View<const T>>& columns,
                                      Index rows) const {
  std::vector<Var<T>> result;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    result.push_back(tape.input(columns[i].shape().with(0, rows), input_names[i]));
  }
  return result;
}

template <class T>
Var<T> StepOf<T>::record(Tape<T>& tape, std::span<const Var<T>> inputs, const char* where) const {
  const nn::ModuleScope<T> scope(tape, *model);
  const Var<T> loss = step(tape, inputs);
  if (loss.shape().size() != 1) {
    throw Error(where, "a loss ", loss.shape(), ": expected one number, for example its mean");
  }
  return loss;
}

template <class T> void require_no_pairs(const Tape<T>& tape, std::size_t begin, const char* where) {
  for (const Node<T>& node : tape.nodes().subspan(begin)) {
    if (node.inputs != 2 || !is_elementwise(tape, node)) continue;
    const auto inputs = tape.inputs(node);
    const Shape &a = tape.nodes()[inputs[0]].shape, &b = tape.nodes()[inputs[1]].shape;
    if (node.shape.size() <= std::max(a.size(), b.size())) continue;
    throw Error(where, "the loss has ", line(tape, node), ", where ", a, " and ", b,
                " are both repeated: expected operands of which one has the shape of the result, or "
                "pairwise_loss for a table of all pairs");
  }
}

template <class T> StepOf<T> step_of(const nn::Module<T>& model, Step<T> step, std::size_t inputs) {
  StepOf<T> result{&model, std::move(step), {}};
  for (std::size_t i = 0; i < inputs; ++i) result.input_names.push_back("input" + std::to_string(i));
  return result;
}

template <class T>
Step<T> step_with_loss(const nn::Module<T>& model, nn::Loss<T> loss, bool pairwise, const char* where) {
  return [&model, loss = std::move(loss), pairwise, where](Tape<T>& tape, std::span<const Var<T>> inputs) {
    const Var<T> prediction = nn::record_one(model, inputs[0], where);
    const std::size_t before = tape.nodes().size();
    const Var<T> result = loss(prediction, inputs[1]);
    if (!pairwise) require_no_pairs(tape, before, where);
    return result;
  };
}

template <class T>
RecordedStep<T>::RecordedStep(const StepOf<T>& of, const nn::Parameters<T>& parameters,
                              const std::vector<View<const T>>& columns, Index rows)
    : inputs(of.inputs(tape, columns, rows)) {
  for (const Var<T>& input : inputs) {
    columns_.push_back(input.data());
    places_.push_back(columns_.back().data());
  }
  load(data::Batches<T>(columns, rows, false, 0), 0);  // real values, so that labels are labels
  loss = of.record(tape, inputs, "fit");
  parameters.require_all_of(tape, "fit");
  tape.keep_gradients(false);
}

template <class T> void RecordedStep<T>::run(std::uint64_t seed, double factor, Accumulate accumulate) {
  tape.replay(seed);
  const T scaled = static_cast<T>(factor);
  tape.backward(loss, View<const T>(&scaled, loss.shape()), accumulate);
}

template <class T>
void RecordingCheck<T>::operator()(const StepOf<T>& of, const RecordedStep<T>& recorded, Index epoch,
                                   Index batch) {
  tape_.clear();
  inputs_.clear();
  for (std::size_t i = 0; i < recorded.inputs.size(); ++i) {
    inputs_.push_back(tape_.input(recorded.inputs[i].shape(), of.input_names[i]));
    inputs_.back().assign(recorded.inputs[i].value());
  }
  of.record(tape_, inputs_, "fit");
  const std::string found = difference(tape_, recorded.tape);
  if (found.empty()) return;
  throw Error("fit", "recorded again in epoch ", epoch, ", batch ", batch, ", the step ", found,
              ", which is replayed: expected a model that records the same in every step");
}

#define TAPER_INSTANTIATE(T)                                                             \
  template struct StepOf<T>;                                                             \
  template StepOf<T> step_of(const nn::Module<T>&, Step<T>, std::size_t);                \
  template Step<T> step_with_loss(const nn::Module<T>&, nn::Loss<T>, bool, const char*); \
  template void require_no_pairs(const Tape<T>&, std::size_t, const char*);              \
  template class RecordedStep<T>;                                                        \
  template class RecordingCheck<T>;
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::train

#include <algorithm>

#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/sparsity/shrink/recording.hpp>

namespace taper::sparsity::shrinking {
namespace {

constexpr Index random_rows = 256;  // without examples

/// The shape of one row of each input, as far as the model tells.
template <class T> std::vector<Shape> shapes_of_inputs(const nn::Module<T>& model) {
  if (const auto* const graph = dynamic_cast<const nn::Graph<T>*>(&model)) return graph->parts().inputs;
  Index width = -1;
  const auto* const chain = dynamic_cast<const nn::Sequential<T>*>(&model);
  const auto* const select =
      chain != nullptr && chain->size() > 0 ? dynamic_cast<const nn::Select<T>*>(&(*chain)[0]) : nullptr;
  if (select != nullptr) width = select->width();
  model.for_parameters([&](const std::string&, const nn::Parameter<T>& parameter) {
    if (width < 0 && parameter.shape().rank() == 2) width = parameter.shape()[1];
  });
  if (width < 0) throw Error("shrink", "no examples for a model without matrices: expected some");
  return {{1, width}};
}

}  // namespace

template <class T>
ShrinkOptions<T> with_examples(const nn::Module<T>& model, const ShrinkOptions<T>& options,
                               std::vector<Tensor<T>>& standard) {
  ShrinkOptions<T> result = options;
  if (!options.examples.empty()) {
    const Shape& shape = options.examples.inputs().front().shape();
    const bool enough = shape.rank() > 0 && shape[0] >= least_rows;
    result.threshold = options.threshold.value_or(enough ? 1e-5 : 0);
    return result;
  }
  result.threshold = options.threshold.value_or(0);
  if (result.threshold > 0) {
    throw Error(
        "shrink", "a threshold ", *result.threshold,
        " without examples, whose scale decides what is small: expected examples, or a threshold of 0");
  }
  Rng rng(0);
  for (const Shape& shape : shapes_of_inputs(model)) {
    Tensor<T>& input = standard.emplace_back(shape.with(0, random_rows));
    for (T& entry : input) entry = static_cast<T>(rng.normal());
  }
  result.examples = std::vector<View<const T>>(standard.begin(), standard.end());
  try {
    Tape<T> tape(Mode::evaluation);
    const nn::ModuleScope<T> scope(tape, model);
    std::vector<Var<T>> inputs;
    for (const Tensor<T>& input : standard) inputs.push_back(tape.constant(input.view(), "x"));
    model.record(inputs);
  } catch (const Error& error) {
    if (error.where() == "memory") throw;
    throw Error("shrink",
                "no examples for a model that cannot be recorded on rows of standard normal numbers (",
                error.what(), "): expected some");
  }
  return result;
}

#define TAPER_INSTANTIATE(T)                                                             \
  template ShrinkOptions<T> with_examples(const nn::Module<T>&, const ShrinkOptions<T>&, \
                                          std::vector<Tensor<T>>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity::shrinking

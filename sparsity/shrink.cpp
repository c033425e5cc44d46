#include <taper/sparsity/shrink.hpp>

#include <ostream>

#include <taper/instantiate.hpp>

namespace taper::sparsity {
namespace {

void print(std::ostream& out, const std::vector<Index>& widths) {
  const char* separator = "";
  for (const Index width : widths) {
    out << separator << width;
    separator = "-";
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const ShrinkReport& report) {
  out << report.parameters_before << " -> " << report.parameters_after << " parameters";
  if (!report.widths_before.empty()) {
    out << " (";
    print(out, report.widths_before);
    out << " -> ";
    print(out, report.widths_after);
    out << ')';
  }
  return out << ", " << report.multiply_adds_before << " -> " << report.multiply_adds_after
             << " multiply-adds, max |difference| " << report.max_abs_difference << " ("
             << report.max_relative_difference << " relative) on " << report.probes << " probes";
}

template <class T>
Shrunk<nn::Sequential<T>> shrinking::shrink_chain(const nn::Sequential<T>& model,
                                                  const ShrinkOptions<T>& options) {
  // A Select in front, as an earlier call has put there, makes way for one from what was given to it.
  const auto* const before = model.size() > 0 ? dynamic_cast<const nn::Select<T>*>(&model[0]) : nullptr;
  nn::Sequential<T> inner;
  for (std::size_t part = before == nullptr ? 0 : 1; part < model.size(); ++part) {
    inner.push_back_copy(model, part, model.name(part));
  }
  std::vector<Tensor<T>> standard;
  Tensor<T> columns;
  const ShrinkOptions<T> with = with_examples<T>(model, options, standard);
  ShrinkOptions<T> inside = with;
  inside.drop_inputs = true;
  Index width = with.examples.inputs().front().shape().columns();
  if (before != nullptr) {
    columns = select_columns(with.examples.inputs().front(), before->columns());
    inside.examples = columns;
    width = before->width();
  }
  Shrunk<nn::Sequential<T>> result{inner, {}};
  result.report = cut<T>(result.model, inner, inside);
  std::vector<Index>& inputs = result.report.inputs.at(0);
  if (before != nullptr) {
    for (Index& column : inputs) column = before->columns()[static_cast<std::size_t>(column)];
  }
  bool all = static_cast<Index>(inputs.size()) == width;
  for (Index column = 0; all && column < width; ++column)
    all = inputs[static_cast<std::size_t>(column)] == column;
  if (!all && !options.drop_inputs) {
    result.model.push_front(nn::Select<T>(inputs, width), before != nullptr ? model.name(0) : "select");
  }
  compare<T>(model, result.model, with, with.drop_inputs, result.report);
  return result;
}

#define TAPER_INSTANTIATE(T)                                                           \
  template Shrunk<nn::Sequential<T>> shrinking::shrink_chain(const nn::Sequential<T>&, \
                                                             const ShrinkOptions<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity

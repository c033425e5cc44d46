#include <taper/sparsity/shrink/analysis.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/instantiate.hpp>

namespace taper::sparsity::shrinking {
namespace {

/// Calls f(index along the axis, position) for every entry of a tensor.
template <class F> void for_entries(const Shape& shape, Index axis, const F& f) {
  Index inner = 1;
  for (Index k = axis + 1; k < shape.rank(); ++k) inner *= shape[k];
  for (Index i = 0; i < shape.size(); ++i) f(i / inner % shape[axis], i);
}

}  // namespace

template <class T> double Ranges<T>::Range::deviation(Index k) const {
  const auto at = static_cast<std::size_t>(k);
  const double middle = mean(k);
  return std::max(static_cast<double>(most[at]) - middle, middle - static_cast<double>(least[at]));
}

template <class T> Ranges<T>::Ranges(const Tape<T>& tape, const AxisClasses<T>& classes) : tape_(tape) {
  for (std::size_t node = 0; node < tape.nodes().size(); ++node) {
    if (tape.nodes()[node].op == nullptr || classes.structure(node).pinned) continue;
    const auto inputs = tape.inputs(tape.nodes()[node]);
    for (const Contraction& sum : classes.structure(node).contractions) {
      ranges_[{inputs[static_cast<std::size_t>(sum.input_a)], sum.axis_a}];
      ranges_[{inputs[static_cast<std::size_t>(sum.input_b)], sum.axis_b}];
    }
  }
}

template <class T> void Ranges<T>::add() {
  for (auto& [place, range] : ranges_) {
    const Node<T>& node = tape_.nodes()[place.first];
    const auto size = static_cast<std::size_t>(node.shape[place.second]);
    range.count.resize(size);
    range.sum.resize(size);
    range.least.resize(size);
    range.most.resize(size);
    for_entries(node.shape, place.second, [&, &r = range](Index k, Index i) {
      const auto at = static_cast<std::size_t>(k);
      const T value = node.value[i];
      if (r.count[at] == 0) r.least[at] = r.most[at] = value;
      // The sum is one of differences from the least, so that large offsets do no harm.
      if (value < r.least[at]) {
        r.sum[at] += r.count[at] * (static_cast<double>(r.least[at]) - static_cast<double>(value));
        r.least[at] = value;
      }
      r.most[at] = std::max(r.most[at], value);
      r.sum[at] += static_cast<double>(value) - static_cast<double>(r.least[at]);
      ++r.count[at];
    });
  }
}

template <class T>
Analysis<T>::Analysis(const Tape<T>& tape, AxisClasses<T>& classes, const Ranges<T>& ranges,
                      const std::vector<std::size_t>& inputs, const std::vector<std::size_t>& outputs,
                      Settings settings)
    : tape_(tape), classes_(classes), ranges_(ranges), settings_(std::move(settings)) {
  const std::size_t nodes = tape.nodes().size();
  varies_.resize(classes.count());
  needed_.resize(classes.count());
  why_.resize(classes.count());
  any_.resize(nodes);
  live_.resize(nodes);
  products_.resize(nodes);
  for (const std::size_t input : inputs) {
    any_[input] = 1;
    const Shape& shape = tape.nodes()[input].shape;
    for (Index axis = 0; axis < shape.rank(); ++axis) {
      for (Index i = 0; i < shape[axis]; ++i) varies_[classes.id(input, axis, i)] = 1;
    }
  }
  for (std::size_t node = 0; node < nodes; ++node) {
    if (tape.nodes()[node].op != nullptr) find_varying(node);
  }
  find_read(outputs);
}

/// Forward: what of an operation's output depends on the inputs of the network.
template <class T> void Analysis<T>::find_varying(std::size_t index) {
  const Node<T>& node = tape_.nodes()[index];
  const Structure& rule = classes_.structure(index);
  const auto inputs = tape_.inputs(node);
  if (!rule.pinned) {
    for (const Contraction& sum : rule.contractions) look_at_product(index, sum);
  }
  const bool some = rule.random || std::ranges::any_of(inputs, [&](std::uint32_t i) { return any_[i] != 0; });
  if (!some) return;
  bool any = node.shape.rank() == 0;
  for (Index axis = 0; axis < node.shape.rank(); ++axis) {
    for (Index j = 0; j < node.shape[axis]; ++j) {
      bool varies = rule.pinned || rule.random;
      for (std::size_t i = 0; i < inputs.size() && !varies; ++i) varies = depends(index, i, axis, j);
      if (varies && !rule.pinned && zeroed(index, axis, j)) varies = false;
      varies_[classes_.id(index, axis, j)] = varies;
      any |= varies;
    }
  }
  any_[index] = any;
}

template <class T>
bool Analysis<T>::depends(std::size_t index, std::size_t input, Index axis, Index j) const {
  const Node<T>& node = tape_.nodes()[index];
  const std::size_t from = tape_.inputs(node)[input];
  if (known(from)) return false;
  bool linked = false, in_range = false;
  for (const Link& link : classes_.structure(index).links) {
    if (link.input != static_cast<Index>(input) || link.to.axis != axis) continue;
    linked = true;
    const Index k = link.to.class_of(j, link.classes);
    if (k < 0) continue;
    in_range = true;
    bool any = false;
    for (Index i = link.from.begin; i < link.from.end && !any; ++i) {
      any = link.from.class_of(i, link.classes) == k && varies(from, link.from.axis, i);
    }
    if (!any) return false;
  }
  if (linked && !in_range) return false;
  for (const Gate& gate : classes_.structure(index).gates) {
    if (gate.input == static_cast<Index>(input) && zero(index, gate.factor, axis, j)) return false;
  }
  for (const Product& product : products_[index]) {
    if (product.data_input != static_cast<Index>(input)) continue;
    bool any = false;
    for (Index k = 0; k < product.terms && !any; ++k) {
      if (!varies(from, product.data_axis, k)) continue;
      for (Index o = 0; o < product.outputs && !any; ++o) {
        if (axis == product.output_axis && o != j) continue;
        any = product.counts[static_cast<std::size_t>(o * product.terms + k)] != 0;
      }
    }
    if (!any) return false;
  }
  return true;
}

/// Whether an input that does not depend on those of the network is zero in all that this index of the output
/// follows from.
template <class T> bool Analysis<T>::zero(std::size_t index, Index input, Index axis, Index j) const {
  const std::size_t from = tape_.inputs(tape_.nodes()[index])[static_cast<std::size_t>(input)];
  for (const Link& link : classes_.structure(index).links) {
    if (link.input != input || link.to.axis != axis) continue;
    const Index k = link.to.class_of(j, link.classes);
    if (k < 0) continue;
    bool all = true;
    for (Index i = link.from.begin; i < link.from.end && all; ++i) {
      if (link.from.class_of(i, link.classes) == k) all = !varies(from, link.from.axis, i);
    }
    if (!all) continue;
    const Node<T>& factor = tape_.nodes()[from];
    for_entries(factor.shape, link.from.axis, [&](Index i, Index at) {
      if (link.from.class_of(i, link.classes) == k) all = all && factor.value[at] == 0;
    });
    if (all) return true;
  }
  return false;
}

/// Whether an output is zero, or a bias, because a factor is zero.
template <class T> bool Analysis<T>::zeroed(std::size_t index, Index axis, Index j) const {
  const auto inputs = static_cast<Index>(tape_.nodes()[index].inputs);
  const Index bias = classes_.structure(index).bias;
  if (bias >= 0 && bias < inputs &&
      !known(tape_.inputs(tape_.nodes()[index])[static_cast<std::size_t>(bias)]))
    return false;
  for (Index input = 0; input < inputs; ++input) {
    if (classes_.structure(index).preserves_zero(input) && zero(index, input, axis, j)) return true;
  }
  return false;
}

/// Notes what the terms of a sum of products with fixed weights are worth on the recorded inputs.
template <class T> void Analysis<T>::look_at_product(std::size_t index, const Contraction& sum) {
  const Node<T>& node = tape_.nodes()[index];
  const auto inputs = tape_.inputs(node);
  const std::size_t a = inputs[static_cast<std::size_t>(sum.input_a)],
                    b = inputs[static_cast<std::size_t>(sum.input_b)];
  if (!known(a) && !known(b)) return;
  const bool b_is_weight = known(b);
  Product product;
  product.weight = b_is_weight ? b : a;
  product.data = b_is_weight ? a : b;
  product.data_input = b_is_weight ? sum.input_a : sum.input_b;
  product.weight_axis = b_is_weight ? sum.axis_b : sum.axis_a;
  product.data_axis = b_is_weight ? sum.axis_a : sum.axis_b;
  const Index weight_input = b_is_weight ? sum.input_b : sum.input_a;
  const Node<T>& weight = tape_.nodes()[product.weight];
  product.terms = weight.shape[product.weight_axis];
  product.partial = sum.partial;
  for (const Link& link : classes_.structure(index).links) {
    if (link.input != weight_input) continue;
    product.output_axis = link.to.axis;
    product.linked_axis = link.from.axis;
    product.outputs = node.shape[link.to.axis];
  }
  const auto at = [&](Index o, Index k) { return static_cast<std::size_t>(o * product.terms + k); };
  product.largest.resize(at(product.outputs, 0));
  std::vector<Index> term(static_cast<std::size_t>(weight.shape.size()));
  for_entries(weight.shape, product.weight_axis,
              [&](Index k, Index i) { term[static_cast<std::size_t>(i)] = k; });
  const auto note = [&](Index o, Index i) {
    double& most = product.largest[at(o, term[static_cast<std::size_t>(i)])];
    most = std::max(most, std::abs(static_cast<double>(weight.value[i])));
  };
  if (product.linked_axis >= 0) {
    for_entries(weight.shape, product.linked_axis, note);
  } else {
    for (Index i = 0; i < weight.shape.size(); ++i) note(0, i);
  }

  product.range = &ranges_.of(product.data, product.data_axis);

  const Index bias = classes_.structure(index).bias;
  const Node<T>* const given = bias < 0 || bias >= static_cast<Index>(inputs.size())
                                   ? nullptr
                                   : &tape_.nodes()[inputs[static_cast<std::size_t>(bias)]];
  product.counts.resize(product.largest.size());
  for (Index o = 0; o < product.outputs; ++o) {
    double most = 0;
    double magnitude = given == nullptr || given->shape.size() != product.outputs
                           ? 0
                           : std::abs(static_cast<double>(given->value[o]));
    for (Index k = 0; k < product.terms; ++k) {
      const double size = product.largest[at(o, k)];
      most = std::max(most, size * product.range->deviation(k));
      magnitude = std::max(magnitude, size * std::abs(product.range->mean(k)));
    }
    const bool fold = settings_.threshold > 0 && settings_.can_fold(index, o);
    // What is below the last bit of the sum is nothing, however little the others add.
    const double least =
        fold ? std::max(settings_.threshold * most, std::numeric_limits<T>::epsilon() * magnitude) : 0;
    for (Index k = 0; k < product.terms; ++k) {
      const double size = product.largest[at(o, k)];
      // A constant that is left out at a border adds as much as a change.
      const double change =
          product.range->deviation(k) + (product.partial ? std::abs(product.range->mean(k)) : 0);
      product.counts[at(o, k)] = size != 0 && (least == 0 || size * change > least);
    }
  }
  products_[index].push_back(std::move(product));
}

/// Backward: what is read, until nothing changes.
template <class T> void Analysis<T>::find_read(const std::vector<std::size_t>& outputs) {
  for (const std::size_t output : outputs) {
    live_[output] = 1;
    for (Index axis = 0; axis < tape_.nodes()[output].shape.rank(); ++axis) {
      classes_.pin(output, axis, "an output of the network");
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    const auto live = [&](std::size_t node) {
      changed |= live_[node] == 0;
      live_[node] = 1;
    };
    for (std::size_t index = tape_.nodes().size(); index-- > 0;) {
      const Node<T>& node = tape_.nodes()[index];
      if (node.op == nullptr || live_[index] == 0) continue;
      const Structure& rule = classes_.structure(index);
      const auto inputs = tape_.inputs(node);
      const std::string reader = "read by " + std::string(node.op->name) +
                                 (tape_.path(node).empty() ? "" : " of " + tape_.path(node));
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto takes_part = [&](const Contraction& sum) {
          return sum.input_a == static_cast<Index>(i) || sum.input_b == static_cast<Index>(i);
        };
        const auto summed = [&](const Reduction& reduction) {
          return reduction.input == static_cast<Index>(i) && reduction.by == Reduce::sum;
        };
        if (std::ranges::none_of(rule.contractions, takes_part) &&
            std::ranges::none_of(rule.reductions, summed)) {
          live(inputs[i]);
        }
      }
      for (const Reduction& reduction : rule.reductions) {
        if (reduction.by != Reduce::sum) continue;
        const std::size_t from = inputs[static_cast<std::size_t>(reduction.input)];
        live(from);
        std::vector<char> zero(static_cast<std::size_t>(tape_.nodes()[from].shape[reduction.axis]), 1);
        for_entries(tape_.nodes()[from].shape, reduction.axis, [&](Index k, Index at) {
          if (tape_.nodes()[from].value[at] != 0) zero[static_cast<std::size_t>(k)] = 0;
        });
        for (Index k = 0; k < static_cast<Index>(zero.size()); ++k) {
          if (varies(from, reduction.axis, k) || zero[static_cast<std::size_t>(k)] == 0)
            changed |= need(from, reduction.axis, k, reader);
        }
      }
      for (const Contraction& sum : rule.contractions) {
        const std::size_t a = inputs[static_cast<std::size_t>(sum.input_a)],
                          b = inputs[static_cast<std::size_t>(sum.input_b)];
        const auto product = std::ranges::find_if(products_[index], [&](const Product& p) {
          return (p.data_input == sum.input_a && p.data_axis == sum.axis_a) ||
                 (p.data_input == sum.input_b && p.data_axis == sum.axis_b);
        });
        const Index terms = tape_.nodes()[a].shape[sum.axis_a];
        for (Index k = 0; k < terms; ++k) {
          std::string why = reader;
          const bool is_read = product == products_[index].end() || read(index, *product, k, why);
          // What stays for another reason is not folded: the sum goes on reading it.
          if (!is_read && !stays(a, sum.axis_a, k)) continue;
          live(a);
          live(b);
          if (is_read) changed |= need(a, sum.axis_a, k, why);
        }
      }
    }
  }
}

/// Whether an operation cannot do without a term of its sums.
template <class T>
bool Analysis<T>::read(std::size_t node, const Product& product, Index term, std::string& why) {
  const bool moves = varies(product.data, product.data_axis, term);
  if (!moves && product.range->zero(term)) return false;
  for (Index o = 0; o < product.outputs; ++o) {
    const auto at = static_cast<std::size_t>(o * product.terms + term);
    if (product.largest[at] == 0) continue;
    if (product.output_axis >= 0 && !stays(node, product.output_axis, o)) continue;
    if (moves && product.counts[at] != 0) return true;
    if (moves) continue;  // as good as constant, and can be folded
    if (!product.range->one_value(term)) {
      why = "constant, with a value for each place, which no bias can take up";
      return true;
    }
    if (product.partial) {
      why = "constant, " + why + ", whose border leaves it out, which no bias can take up";
      return true;
    }
    if (!settings_.can_fold(node, o)) {
      why = "constant, " + why + ", whose bias cannot take it up";
      return true;
    }
  }
  return false;
}

template <class T> bool Analysis<T>::need(std::size_t node, Index axis, Index index, const std::string& why) {
  const std::size_t id = classes_.of(node, axis, index);
  if (needed_[id] != 0) return false;
  needed_[id] = 1;
  why_[id] = why;
  return true;
}

template <class T> std::string Analysis<T>::reason(std::size_t node, Index axis, Index index) {
  const std::size_t id = classes_.of(node, axis, index);
  return needed_[id] != 0 ? why_[id] : classes_.reason(node, axis, index);
}

template <class T> std::vector<double> Analysis<T>::folded(std::size_t node) {
  std::vector<double> result;
  for (const Product& product : products_[node]) {
    const Node<T>& weight = tape_.nodes()[product.weight];
    if (live_[node] == 0 || product.output_axis < 0 || product.partial) continue;
    std::vector<Index> output(static_cast<std::size_t>(weight.shape.size()));
    for_entries(weight.shape, product.linked_axis,
                [&](Index o, Index i) { output[static_cast<std::size_t>(i)] = o; });
    for_entries(weight.shape, product.weight_axis, [&](Index k, Index i) {
      if (stays(product.data, product.data_axis, k) || product.range->mean(k) == 0) return;
      const Index o = output[static_cast<std::size_t>(i)];
      const double change = static_cast<double>(weight.value[i]) * product.range->mean(k);
      if (change == 0 || !stays(node, product.output_axis, o)) return;
      result.resize(static_cast<std::size_t>(product.outputs));
      result[static_cast<std::size_t>(o)] += change;
    });
  }
  return result;
}

TAPER_INSTANTIATE_CLASS(Ranges)
TAPER_INSTANTIATE_CLASS(Analysis)

}  // namespace taper::sparsity::shrinking

#include <taper/autodiff/structurecheck.hpp>

#include <algorithm>
#include <cstring>
#include <ostream>

#include <taper/autodiff/structurecheck_parts.hpp>

namespace taper {
namespace structurecheck {
namespace {

using Inputs = std::vector<Tensor<double>>;

class StructureCheck {
 public:
  StructureCheck(const Op<double>& op, const GradcheckCase& example, std::uint64_t seed)
      : op_(op), inputs_(example.inputs), attributes_(example.attributes), rng_(seed), seed_(seed) {
    for (const Tensor<double>& input : inputs_) shapes_.push_back(&input.shape());
  }

  StructureReport run() {
    if (op_.structure == nullptr) {
      report_.pinned = true;
      return report_;
    }
    y_ = compute(inputs_, attributes_);
    op_.structure(signature(), y_.shape(), structure_);
    if (!statements_fit()) return report_;
    sums_ =
        structure_.contractions.empty() && structure_.reductions.empty() ? Up::to_the_bit : Up::to_rounding;
    check_random();
    check_elementwise();
    check_dependence();
    for (const Group& group : groups_of(structure_)) {
      check_permutation(group);
      for (Index k = 0; k < group.classes; ++k) check_cut(group, k);
    }
    check_unread();
    for (const Contraction& c : structure_.contractions) check_contraction(c);
    for (const Reduction& r : structure_.reductions) {
      if (r.by == Reduce::sum) check_sum(r);
    }
    for (const Gate& gate : structure_.gates) check_gate(gate);
    check_zeros();
    return report_;
  }

 private:
  template <class... Parts> void require(bool holds, const Parts&... parts) {
    ++report_.checks;
    if (holds || !report_.ok) return;
    report_.ok = false;
    report_.where = concatenate(parts...);
  }

  Signature signature() const { return {shapes_, attributes_}; }

  /// The output for these inputs; a random operation draws the same numbers each time.
  Tensor<double> compute(const Inputs& inputs, const Attributes& attributes) {
    return compute(inputs, attributes, seed_);
  }
  Tensor<double> compute(const Inputs& inputs, const Attributes& attributes, std::uint64_t seed) {
    tape_.clear();
    std::vector<Var<double>> x;
    for (const Tensor<double>& input : inputs) x.push_back(tape_.constant(input));
    const Var<double> y = tape_.record(op_, x, attributes);
    tape_.replay(seed);
    return Tensor<double>(y.value());
  }

  /// Whether it gives this for these inputs; a refusal of the operation counts as no. Of random numbers,
  /// there are others for other shapes and places.
  bool gives(const Tensor<double>& expected, const Inputs& inputs, const Attributes& attributes, Up how) {
    try {
      const Tensor<double> y = compute(inputs, attributes);
      return structure_.random ? y.shape() == expected.shape() : agree(y, expected, how);
    } catch (const Error&) {
      return false;
    }
  }

  const Shape& shape_of(Index tensor) const {
    return tensor == output ? y_.shape() : inputs_[at(tensor)].shape();
  }

  bool has_axis(Index tensor, Index axis) const {
    return tensor >= output && tensor < static_cast<Index>(inputs_.size()) && axis >= 0 &&
           axis < shape_of(tensor).rank();
  }

  /// Whether all that is named is there.
  bool statements_fit() {
    const auto fits = [&](Index tensor, const LinkedAxis& along, Index classes) {
      if (!has_axis(tensor, along.axis) || along.begin < 0 || along.begin > along.end || along.inner < 1)
        return false;
      const Index length = along.end - along.begin;
      return along.end <= shape_of(tensor)[along.axis] &&
             (length == 0 || (classes > 0 && length % classes == 0));
    };
    for (const Link& link : structure_.links) {
      require(
          link.input >= 0 && fits(link.input, link.from, link.classes) && fits(output, link.to, link.classes),
          "a link of input ", link.input, ", axis ", link.from.axis, ", with axis ", link.to.axis,
          " of the output, which are not there, or not as long");
    }
    for (const Contraction& c : structure_.contractions) {
      const Index a = c.input_a, b = c.input_b;
      require(a >= 0 && b >= 0 && has_axis(a, c.axis_a) && has_axis(b, c.axis_b) &&
                  shape_of(a)[c.axis_a] == shape_of(b)[c.axis_b],
              "a contraction of axis ", c.axis_a, " of input ", a, " with axis ", c.axis_b, " of input ", b,
              ", which are not there, or not as long");
    }
    for (const Reduction& r : structure_.reductions) {
      require(r.input >= 0 && has_axis(r.input, r.axis), "a reduction of axis ", r.axis, " of input ",
              r.input, ", which is not there");
    }
    for (const Index axis : structure_.literal_axes) {
      require(has_axis(output, axis), "a literal axis ", axis, ", which is not there");
    }
    for (const auto& [factor, input] : structure_.gates) {
      const auto given = [&](Index i) { return i >= 0 && i < static_cast<Index>(inputs_.size()); };
      require(given(factor) && given(input), "a gate, input ", factor, ", of input ", input,
              ", which are not there");
    }
    require(structure_.bias >= -1 && structure_.bias < op_.arity.most, "a bias that is no input");
    if (structure_.bias >= 0)
      require(has_axis(output, structure_.bias_axis), "a bias along an axis that is not there");
    return report_.ok;
  }

  void check_random() {
    const Tensor<double> again = compute(inputs_, attributes_, seed_ + 1);
    if (!structure_.random)
      require(agree(again, y_, Up::to_the_bit), "the output varies, and is not said to be random");
  }

  /// Dimensions are compared from the last one, and all that are not repeated must be linked.
  void check_elementwise() {
    if (!structure_.elementwise) return;
    for (Index input = 0; input < static_cast<Index>(inputs_.size()); ++input) {
      const Shape& x = shape_of(input);
      for (Index axis = 0; axis < x.rank(); ++axis) {
        const Index to = axis + y_.shape().rank() - x.rank();
        const bool linked = std::ranges::any_of(structure_.links, [&](const Link& link) {
          return link.input == input && link.from.axis == axis && link.classes == x[axis];
        });
        require(linked || (to >= 0 && x[axis] == 1), "said to be elementwise, and axis ", axis, " of input ",
                input, " is not linked");
      }
    }
  }

  bool allowed(Index input, Index from_entry, Index to_entry) const {
    const auto from = positions(shape_of(input), from_entry), to = positions(y_.shape(), to_entry);
    for (Index axis = 0; axis < y_.shape().rank(); ++axis) {
      bool linked = false, inside = false;
      for (const Link& link : structure_.links) {
        if (link.input != input || link.to.axis != axis) continue;
        linked = true;
        const Index k = link.to.class_of(to[at(axis)], link.classes);
        if (k < 0) continue;
        inside = true;
        if (link.from.class_of(from[at(link.from.axis)], link.classes) != k) return false;
      }
      if (linked && !inside) return false;
    }
    return true;
  }

  /// Another value that the operation takes there: one from elsewhere in the input, or halfway to it.
  double other_value(Index input, Index entry) {
    const Tensor<double>& x = inputs_[at(input)];
    const double here = x[entry], there = x[rng_.below(x.size())];
    if (op_.constant(input)) return there;  // a whole number
    return here == there ? 0.9 * here : here + (there - here) / 2;
  }

  void check_dependence() {
    for (Index input = 0; input < static_cast<Index>(inputs_.size()); ++input) {
      Inputs changed = inputs_;
      for (Index i = 0; i < inputs_[at(input)].size(); ++i) {
        changed[at(input)][i] = other_value(input, i);
        const Tensor<double> y = compute(changed, attributes_);
        changed[at(input)][i] = inputs_[at(input)][i];
        for (Index j = 0; j < y.size(); ++j) {
          require(allowed(input, i, j) || std::memcmp(&y[j], &y_[j], sizeof(double)) == 0, "entry ", j,
                  " of the output depends on entry ", i, " of input ", input, ", which no link allows");
        }
      }
    }
  }

  /// Puts what `change` makes of each side in the place of inputs and expected output.
  template <class Change>
  void change_sides(const Group& group, Inputs& inputs, Tensor<double>& y, const Change& change) const {
    for (const auto& [tensor, along] : group.sides) {
      Tensor<double>& x = tensor == output ? y : inputs[at(tensor)];
      x = take(x, along.axis, change(x.shape()[along.axis], along));
    }
  }

  void check_permutation(const Group& group) {
    Indices order = all_of(group.classes);
    rng_.shuffle(order.begin(), order.end());
    if (std::ranges::is_sorted(order)) std::ranges::reverse(order);
    Inputs inputs = inputs_;
    Tensor<double> y = y_;
    change_sides(group, inputs, y, [&](Index count, const LinkedAxis& along) {
      Indices indices = all_of(count);
      for (Index i = along.begin; i < along.end; ++i) {
        const Index k = along.class_of(i, group.classes);
        indices[at(i)] = i + (order[at(k)] - k) * along.inner;
      }
      return indices;
    });
    require(gives(y, inputs, attributes_, Up::to_the_bit), "permuting ", group,
            " does not permute the result");
  }

  /// The attributes after a cut of these sides.
  Attributes after_cut(const Inputs& inputs, const Group& group, Index gone) const {
    if (op_.cut_attributes == nullptr) return attributes_;
    Kept kept;
    for (const Tensor<double>& input : inputs) {
      KeptAxes& axes = kept.inputs.emplace_back();
      for (Index axis = 0; axis < input.shape().rank(); ++axis) axes[at(axis)] = all_of(input.shape()[axis]);
    }
    for (Index axis = 0; axis < y_.shape().rank(); ++axis) kept.output[at(axis)] = all_of(y_.shape()[axis]);
    for (const auto& [tensor, along] : group.sides) {
      KeptAxes& axes = tensor == output ? kept.output : kept.inputs[at(tensor)];
      std::erase_if(axes[at(along.axis)],
                    [&, in = along](Index i) { return in.class_of(i, group.classes) == gone; });
    }
    return op_.cut_attributes(signature(), y_.shape(), kept);
  }

  void check_cut(const Group& group, Index gone) {
    const bool literal = std::ranges::any_of(group.sides, [&](const Side& side) {
      return side.tensor == output && structure_.is_literal(side.along.axis);
    });
    if (literal && op_.cut_attributes == nullptr) return;  // it cannot be cut
    Inputs inputs = inputs_;
    Tensor<double> y = y_;
    change_sides(group, inputs, y, [&](Index count, const LinkedAxis& along) {
      return those_without(count, [&](Index i) { return along.class_of(i, group.classes) == gone; });
    });
    require(gives(y, inputs, after_cut(inputs_, group, gone), sums_), "cutting class ", gone, " of ", group,
            " changes the others");
    if (literal || y.size() == 0) return;
    require(gives(y, inputs, attributes_, sums_), "cutting class ", gone, " of ", group,
            " takes other attributes, and no axis is said to be literal");
  }

  void check_unread() {
    for (Index input = 0; input < static_cast<Index>(inputs_.size()); ++input) {
      for (Index axis = 0; axis < shape_of(input).rank(); ++axis) {
        for (Index i = 0; i < shape_of(input)[axis]; ++i) {
          if (structure_.reads(input, axis, i)) continue;
          Inputs inputs = inputs_;
          inputs[at(input)] = take(inputs_[at(input)], axis,
                                   those_without(shape_of(input)[axis], [&](Index k) { return k == i; }));
          const Group alone{1, {{input, {axis, i, i + 1}}}};
          require(gives(y_, inputs, after_cut(inputs_, alone, 0), Up::to_the_bit), "cutting index ", i,
                  " of axis ", axis, " of input ", input, ", which no link reads, changes the result");
        }
      }
    }
  }

  /// That an index may go from some inputs, once it is zero in one of them.
  void check_zeroed(const std::vector<std::pair<Index, Index>>& axes, std::size_t zeroed, Index i) {
    const auto [input, axis] = axes[zeroed];
    const auto there = [&](Index k) { return k == i; };
    Inputs inputs = inputs_;
    for_slice(inputs[at(input)], axis, there, [](double& x) { x = 0; });
    const Tensor<double> y = compute(inputs, attributes_);
    for (const auto& [other, other_axis] : axes) {
      if (other != input) for_slice(inputs[at(other)], other_axis, there, [](double& x) { x = 3 - x; });
    }
    require(gives(y, inputs, attributes_, Up::to_zeros), "index ", i, " of axis ", axis, " of input ", input,
            " is zero, and the result depends on what it is multiplied with");
    for (const auto& [each, each_axis] : axes) {
      inputs[at(each)] = take(inputs[at(each)], each_axis, those_without(shape_of(each)[each_axis], there));
    }
    require(gives(y, inputs, attributes_, Up::to_rounding), "index ", i, " of axis ", axis, " of input ",
            input, " is zero, and cutting it changes the result");
  }

  void check_contraction(const Contraction& c) {
    const std::vector<std::pair<Index, Index>> axes{{c.input_a, c.axis_a}, {c.input_b, c.axis_b}};
    for (Index i = 0; i < shape_of(c.input_a)[c.axis_a]; ++i) {
      check_zeroed(axes, 0, i);
      check_zeroed(axes, 1, i);
      check_bias(c, i);
    }
  }

  void check_sum(const Reduction& r) {
    for (Index i = 0; i < shape_of(r.input)[r.axis]; ++i) check_zeroed({{r.input, r.axis}}, 0, i);
  }

  /// That a constant in input a, times the sums of what it is multiplied with in input b, may move into the
  /// bias, unless the sums are partial.
  void check_bias(const Contraction& c, Index i) {
    if (structure_.bias < 0) return;
    const Index outputs = y_.shape()[structure_.bias_axis];
    if (structure_.bias < static_cast<Index>(inputs_.size()) &&
        inputs_[at(structure_.bias)].size() != outputs)
      return require(false, "input ", structure_.bias, " is no bias: expected ", outputs, " entries");
    const double constant = 0.7;
    const auto there = [&](Index k) { return k == i; };
    const Tensor<double>& weight = inputs_[at(c.input_b)];
    const auto link = std::ranges::find_if(structure_.links, [&](const Link& each) {
      return each.input == c.input_b && each.to.axis == structure_.bias_axis;
    });
    if (link == structure_.links.end())
      return require(false, "no link of input ", c.input_b, " with the axis of the bias");
    Inputs inputs = inputs_;
    for_slice(inputs[at(c.input_a)], c.axis_a, there, [&](double& x) { x = constant; });
    const Tensor<double> y = compute(inputs, attributes_);
    const Tensor<double> terms = take(weight, c.axis_b, {i});
    if (structure_.bias == static_cast<Index>(inputs.size())) inputs.emplace_back(Shape{outputs});
    Tensor<double>& bias = inputs[at(structure_.bias)];
    Index inner = 1;
    for (Index axis = link->from.axis + 1; axis < terms.shape().rank(); ++axis) inner *= terms.shape()[axis];
    for (Index k = 0; k < terms.size(); ++k) {
      bias[k / inner % terms.shape()[link->from.axis]] += constant * terms[k];
    }
    inputs[at(c.input_a)] =
        take(inputs[at(c.input_a)], c.axis_a, those_without(shape_of(c.input_a)[c.axis_a], there));
    inputs[at(c.input_b)] = take(weight, c.axis_b, those_without(weight.shape()[c.axis_b], there));
    const bool moves = gives(y, inputs, attributes_, Up::to_rounding);
    require(moves || c.partial, "the constant index ", i, " of axis ", c.axis_a, " of input ", c.input_a,
            " cannot move into the bias");
  }

  /// That a class whose factor is zero is the same for another input behind that gate.
  void check_gate(const Gate& gate) {
    bool linked = false;
    for (const Link& link : structure_.links) {
      if (link.input != gate.factor) continue;
      linked = true;
      for (Index k = 0; k < link.classes; ++k) {
        Inputs inputs = inputs_;
        for_slice(
            inputs[at(gate.factor)], link.from.axis,
            [&](Index i) { return link.from.class_of(i, link.classes) == k; }, [](double& x) { x = 0; });
        const Tensor<double> before = compute(inputs, attributes_);
        for (double& x : inputs[at(gate.input)]) x = 3 + x * x;  // a variance stays one
        const Tensor<double> after = compute(inputs, attributes_);
        for (Index j = 0; j < before.size(); ++j) {
          const Index to = positions(y_.shape(), j)[at(link.to.axis)];
          require(link.to.class_of(to, link.classes) != k || before[j] == after[j], "class ", k, " of input ",
                  gate.factor, " is zero, and the result depends on input ", gate.input);
        }
      }
    }
    require(linked, "a gate, input ", gate.factor, ", that is not linked");
  }

  /// What a class of the output is where a class of the input is zero follows from the dependence.
  void check_zeros() {
    for (Index input = 0; input < static_cast<Index>(inputs_.size()); ++input) {
      if (!structure_.preserves_zero(input)) continue;
      Inputs inputs = inputs_;
      inputs[at(input)] = Tensor<double>(shape_of(input));
      if (structure_.bias >= 0 && structure_.bias < static_cast<Index>(inputs.size()))
        inputs[at(structure_.bias)] = Tensor<double>(shape_of(structure_.bias));
      const Tensor<double> y = compute(inputs, attributes_);
      require(std::ranges::all_of(y, [](double entry) { return entry == 0; }), "input ", input,
              " is zero, and the result is not");
    }
  }

  const Op<double>& op_;
  Inputs inputs_;
  Attributes attributes_;
  std::vector<const Shape*> shapes_;
  Rng rng_;
  std::uint64_t seed_;
  Tape<double> tape_;
  Tensor<double> y_;
  Structure structure_;
  Up sums_ = Up::to_the_bit;
  StructureReport report_;
};

}  // namespace
}  // namespace structurecheck

std::ostream& operator<<(std::ostream& out, const StructureReport& report) {
  if (report.pinned) return out << "no structure rule";
  if (report.ok) return out << "structure holds in " << report.checks << " checks";
  return out << "structure does not hold: " << report.where;
}

StructureReport check_structure(const Op<double>& op, const GradcheckCase& example, std::uint64_t seed) {
  return structurecheck::StructureCheck(op, example, seed).run();
}

}  // namespace taper

#include <taper/sparsity/shrink/axes.hpp>

#include <algorithm>

#include <taper/instantiate.hpp>

namespace taper::sparsity::shrinking {

template <class T>
AxisClasses<T>::AxisClasses(const Tape<T>& tape, bool sizes_can_change)
    : tape_(tape), sizes_can_change_(sizes_can_change) {
  std::size_t count = 0;
  for (const Node<T>& node : tape.nodes()) {
    first_.push_back(count);
    for (Index axis = 0; axis < node.shape.rank(); ++axis)
      count += static_cast<std::size_t>(node.shape[axis]);
  }
  structures_.resize(tape.nodes().size());
  laid_out_.resize(tape.nodes().size());
  for (std::size_t node = 0; node < tape.nodes().size(); ++node) {
    if (tape.nodes()[node].op == nullptr) continue;
    structures_[node] = structure_of(tape, tape.nodes()[node]);
    laid_out_[node] = sets_of(structures_[node]);
  }
  do {
    parent_.resize(count);
    for (std::size_t id = 0; id < count; ++id) parent_[id] = id;
    reason_.assign(count, 0);
    reasons_.resize(1);
    for (std::size_t node = 0; node < tape.nodes().size(); ++node) {
      if (tape.nodes()[node].op != nullptr) follow(node);
    }
  } while (follow_others());
}

/// The links of an operation, in sets of those whose axes are laid out in one.
template <class T>
std::vector<typename AxisClasses<T>::LaidOut> AxisClasses<T>::sets_of(const Structure& rule) {
  std::vector<LaidOut> sets;
  for (std::size_t l = 0; l < rule.links.size(); ++l) {
    const Link& link = rule.links[l];
    const auto with = std::ranges::find_if(sets, [&](const LaidOut& set) {
      const Link& first = rule.links[set.links[0]];
      return first.input == link.input &&
             (first.to.axis == link.to.axis || first.from.axis == link.from.axis);
    });
    if (with == sets.end()) {
      sets.push_back({{l}});
    } else {
      with->links.push_back(l);
    }
  }
  return sets;
}

/// Where an axis that is followed stays whole in any case, follows the next one that it is laid out with.
/// Returns whether there is such a one.
template <class T> bool AxisClasses<T>::follow_others() {
  bool found = false;
  for (std::size_t index = 0; index < laid_out_.size(); ++index) {
    const Node<T>& node = tape_.nodes()[index];
    for (LaidOut& set : laid_out_[index]) {
      if (set.links.size() < 2 || set.tried == set.links.size()) continue;
      const Link &link = structures_[index].links[set.links[set.followed]],
                 &other = structures_[index].links[set.links[set.followed == 0 ? 1 : 0]];
      const bool flattens = link.to.axis == other.to.axis;
      const std::size_t tensor = flattens ? tape_.inputs(node)[static_cast<std::size_t>(link.input)] : index;
      const Index axis = flattens ? link.from.axis : link.to.axis;
      bool whole = true;
      for (Index i = 0; whole && i < tape_.nodes()[tensor].shape[axis]; ++i) whole = pinned(tensor, axis, i);
      if (!whole) continue;
      ++set.tried;
      set.followed = set.tried % set.links.size();  // back at the first, where all stay whole
      found = true;
    }
  }
  return found;
}

template <class T> std::size_t AxisClasses<T>::root(std::size_t id) {
  while (parent_[id] != id) id = parent_[id] = parent_[parent_[id]];
  return id;
}

template <class T> Index AxisClasses<T>::offset(std::size_t node, Index axis) const {
  Index result = 0;
  for (Index before = 0; before < axis; ++before) result += tape_.nodes()[node].shape[before];
  return result;
}

template <class T> void AxisClasses<T>::tie(std::size_t a, std::size_t b) {
  a = root(a);
  b = root(b);
  if (a == b) return;
  parent_[a] = b;
  if (reason_[b] == 0) reason_[b] = reason_[a];
}

template <class T> std::size_t AxisClasses<T>::reason_id(const std::string& reason) {
  const auto known = std::ranges::find(reasons_, reason);
  if (known != reasons_.end()) return static_cast<std::size_t>(known - reasons_.begin());
  reasons_.push_back(reason);
  return reasons_.size() - 1;
}

template <class T>
void AxisClasses<T>::pin(std::size_t node, Index axis, Index index, const std::string& reason) {
  std::size_t& known = reason_[of(node, axis, index)];
  if (known == 0) known = reason_id(reason);
}

template <class T> void AxisClasses<T>::pin(std::size_t node, Index axis, const std::string& reason) {
  for (Index i = 0; i < tape_.nodes()[node].shape[axis]; ++i) pin(node, axis, i, reason);
}

/// Ties the axes of an operation's output to those of its inputs.
template <class T> void AxisClasses<T>::follow(std::size_t index) {
  const Node<T>& node = tape_.nodes()[index];
  const Structure& rule = structures_[index];
  const auto inputs = tape_.inputs(node);
  const std::string name(node.op->name);
  const auto literal = [&](Index axis) {
    return rule.is_literal(axis) && !(sizes_can_change_ && node.op->cut_attributes != nullptr);
  };
  const auto shape = [&](std::size_t input) { return tape_.nodes()[inputs[input]].shape; };

  std::vector<bool> named_output(static_cast<std::size_t>(node.shape.rank()), false);
  std::vector<std::vector<bool>> named(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) named[i].resize(static_cast<std::size_t>(shape(i).rank()));

  // Of several axes that are laid out in one, one can be cut: which indices of the one go is known then.
  std::vector<bool> followed(rule.links.size(), false);
  for (const LaidOut& set : laid_out_[index]) {
    const Link& chosen = rule.links[set.links[set.followed]];
    followed[set.links[set.followed]] = true;
    for (const std::size_t l : set.links) {
      const Link& link = rule.links[l];
      if (&link == &chosen) continue;
      const std::string reason = "laid out with another axis by " + name;
      if (link.to.axis == chosen.to.axis) {
        pin(inputs[static_cast<std::size_t>(link.input)], link.from.axis, reason);
      } else {
        pin(index, link.to.axis, reason);
      }
    }
  }
  for (std::size_t l = 0; l < rule.links.size(); ++l) {
    const Link& link = rule.links[l];
    const auto input = static_cast<std::size_t>(link.input);
    named[input][static_cast<std::size_t>(link.from.axis)] = true;
    named_output[static_cast<std::size_t>(link.to.axis)] = true;
    if (!followed[l]) continue;
    std::vector<std::size_t> of_class(static_cast<std::size_t>(link.classes), count());
    const auto meet = [&](Index at, Index size, const LinkedAxis& axis, std::size_t tensor) {
      for (Index i = 0; i < size; ++i) {
        const Index k = axis.class_of(i, link.classes);
        if (k < 0) continue;
        const std::size_t id = of(tensor, at, i);
        std::size_t& met = of_class[static_cast<std::size_t>(k)];
        if (met == count()) met = id;
        tie(id, met);
      }
    };
    meet(link.from.axis, shape(input)[link.from.axis], link.from, inputs[input]);
    meet(link.to.axis, node.shape[link.to.axis], link.to, index);
    // What a literal range does not take in moves it, too.
    if (literal(link.to.axis)) pin(inputs[input], link.from.axis, "sizes given in the code to " + name);
  }
  for (const Contraction& sum : rule.contractions) {
    const auto a = static_cast<std::size_t>(sum.input_a), b = static_cast<std::size_t>(sum.input_b);
    named[a][static_cast<std::size_t>(sum.axis_a)] = named[b][static_cast<std::size_t>(sum.axis_b)] = true;
    for (Index i = 0; i < shape(a)[sum.axis_a]; ++i) {
      tie(of(inputs[a], sum.axis_a, i), of(inputs[b], sum.axis_b, i));
    }
    if (sum.counted && !sizes_can_change_) pin(inputs[a], sum.axis_a, "counted in the code by " + name);
  }
  for (const Reduction& reduction : rule.reductions) {
    if (reduction.by != Reduce::sum) continue;
    named[static_cast<std::size_t>(reduction.input)][static_cast<std::size_t>(reduction.axis)] = true;
  }
  const std::string whole = "needed whole by " + name;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (Index axis = 0; axis < shape(i).rank(); ++axis) {
      if (!named[i][static_cast<std::size_t>(axis)]) pin(inputs[i], axis, whole);
    }
  }
  for (Index axis = 0; axis < node.shape.rank(); ++axis) {
    if (!named_output[static_cast<std::size_t>(axis)]) pin(index, axis, "made whole by " + name);
    if (literal(axis)) pin(index, axis, "sizes given in the code to " + name);
  }
}

TAPER_INSTANTIATE_CLASS(AxisClasses)

}  // namespace taper::sparsity::shrinking

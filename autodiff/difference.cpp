#include <taper/autodiff/difference.hpp>

#include <algorithm>
#include <cstring>

#include <taper/instantiate.hpp>

namespace taper {
namespace {

/// Of one operation, or of two leaves.
template <class T> bool same_settings(const Node<T>& a, const Node<T>& b) {
  return a.op == nullptr || a.op->attributes.same(a.attributes, b.attributes);
}

/// The first entry in which two leaves of one shape differ, or -1.
template <class T> Index differs_at(const Node<T>& a, const Node<T>& b) {
  for (Index i = 0; i < a.shape.size(); ++i) {
    if (std::memcmp(a.value + i, b.value + i, sizeof(T)) != 0) return i;
  }
  return -1;
}

}  // namespace

template <class T> std::string difference(const Tape<T>& recording, const Tape<T>& other) {
  const auto nodes = recording.nodes(), others = other.nodes();
  for (std::size_t i = 0; i < std::min(nodes.size(), others.size()); ++i) {
    const Node<T>&a = nodes[i], &b = others[i];
    const bool same_line = a.op == b.op && std::ranges::equal(recording.inputs(a), other.inputs(b)) &&
                           a.shape == b.shape && a.writable == b.writable &&
                           a.requires_grad == b.requires_grad && same_settings(a, b);
    const std::string_view also = " where the other has ";
    if (!same_line) return "has " + line(recording, a) + std::string(also) + line(other, b);
    if (a.op != nullptr) continue;
    if (!a.writable && a.value != b.value) return "has another parameter as " + line(recording, a);
    if (const Index at = a.writable ? differs_at(a, b) : -1; at >= 0) {
      return "has " + line(recording, a) + " with " + std::to_string(a.value[at]) + " at entry " +
             std::to_string(at) + std::string(also) + std::to_string(b.value[at]);
    }
  }
  if (nodes.size() == others.size()) return {};
  return nodes.size() > others.size()
             ? "has " + line(recording, nodes[others.size()]) + " where the other has ended"
             : "has ended where the other has " + line(other, others[nodes.size()]);
}

#define TAPER_INSTANTIATE(T) template std::string difference(const Tape<T>&, const Tape<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper

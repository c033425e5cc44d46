#include <taper/autodiff/structurecheck_parts.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>

namespace taper::structurecheck {

std::array<Index, Shape::max_rank> positions(const Shape& shape, Index entry) {
  std::array<Index, Shape::max_rank> result{};
  for (Index axis = shape.rank() - 1; axis >= 0; --axis) {
    result[at(axis)] = entry % shape[axis];
    entry /= shape[axis];
  }
  return result;
}

Tensor<double> take(const Tensor<double>& x, Index axis, const Indices& indices) {
  Tensor<double> result(x.shape().with(axis, static_cast<Index>(indices.size())));
  Index inner = 1;
  for (Index k = axis + 1; k < x.shape().rank(); ++k) inner *= x.shape()[k];
  for (Index i = 0; i < result.size(); ++i) {
    const Index outer = i / inner / result.shape()[axis], here = i / inner % result.shape()[axis];
    result[i] = x[(outer * x.shape()[axis] + indices[at(here)]) * inner + i % inner];
  }
  return result;
}

bool agree(const Tensor<double>& a, const Tensor<double>& b, Up how) {
  if (a.shape() != b.shape()) return false;
  for (Index i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(double)) == 0) continue;
    if (how == Up::to_zeros && a[i] == b[i]) continue;  // +0 and -0
    if (how == Up::to_rounding && std::abs(a[i] - b[i]) <= 1e-13 * (1 + std::abs(b[i]))) continue;
    return false;
  }
  return true;
}

bool Group::has(const Side& side) const {
  return std::ranges::find(sides, side) != sides.end();
}

std::ostream& operator<<(std::ostream& out, const Group& group) {
  const char* separator = "";
  for (const Side& side : group.sides) {
    out << separator << "axis " << side.along.axis << " of ";
    side.tensor == output ? out << "the output" : out << "input " << side.tensor;
    separator = ", ";
  }
  return out;
}

std::vector<Group> groups_of(const Structure& structure) {
  std::vector<Group> result;
  for (const Link& link : structure.links) {
    Group group{link.classes, {{link.input, link.from}, {output, link.to}}};
    for (auto known = result.begin(); known != result.end();) {
      const bool same =
          known->classes == link.classes && (known->has(group.sides[0]) || known->has(group.sides[1]));
      if (!same) {
        ++known;
        continue;
      }
      for (const Side& side : known->sides) {
        if (!group.has(side)) group.sides.push_back(side);
      }
      known = result.erase(known);
    }
    result.push_back(std::move(group));
  }
  return result;
}

}  // namespace taper::structurecheck

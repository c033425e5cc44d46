#include <taper/nn/groups.hpp>

#include <ostream>

#include <taper/autodiff/error.hpp>

namespace taper::nn {

Groups Groups::axis(Index axis) {
  if (axis < 0 || axis >= Shape::max_rank) {
    throw Error("groups", "axis ", axis, ": expected 0 to ", Shape::max_rank - 1);
  }
  return Groups(axis);
}

Groups::Blocks Groups::blocks(const Shape& shape) const {
  if (!fit(shape)) {
    throw Error("groups", str(), " of a parameter ", shape, ": expected ", axis_ + 1, " axes or more");
  }
  Blocks result{1, shape.size(), 1};
  if (are_elements()) return result;
  result.count = shape[axis_];
  for (Index k = 0; k < axis_; ++k) result.outer *= shape[k];
  for (Index k = axis_ + 1; k < shape.rank(); ++k) result.inner *= shape[k];
  return result;
}

Shape Groups::gates(const Shape& shape) const {
  const Index count = blocks(shape).count;
  if (are_elements()) return shape;
  Index dimensions[Shape::max_rank] = {count, 1, 1, 1};
  return Shape(dimensions, shape.rank() - axis_);
}

std::string Groups::str() const {
  if (are_elements()) return "elements";
  return axis_ == 0 ? "outputs" : axis_ == 1 ? "inputs" : "axis " + std::to_string(axis_);
}

std::optional<Groups> Groups::from(const std::string& text) {
  for (Index axis = -1; axis < Shape::max_rank; ++axis) {
    if (const Groups groups(axis); groups.str() == text) return groups;
  }
  return {};
}

std::ostream& operator<<(std::ostream& out, const Groups& groups) {
  return out << groups.str();
}

}  // namespace taper::nn

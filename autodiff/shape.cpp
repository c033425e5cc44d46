#include <taper/autodiff/shape.hpp>

#include <limits>
#include <ostream>

#include <taper/autodiff/error.hpp>

namespace taper {

Shape::Shape(const Index* dimensions, Index rank) : rank_(rank) {
  if (rank > max_rank) throw Error("shape", rank, " dimensions were given: expected at most ", max_rank);
  // Room for the widest scalar and for alignment, so that no byte count derived from a shape can overflow.
  constexpr Index most = std::numeric_limits<Index>::max() / 64;
  for (Index axis = 0; axis < rank; ++axis) {
    const Index dimension = dimensions[axis];
    if (dimension < 0) throw Error("shape", "dimension ", axis, " is ", dimension, ": expected 0 or more");
    if (dimension > 0 && size_ > most / dimension) throw Error("shape", "too many entries to address");
    dimensions_[static_cast<std::size_t>(axis)] = dimension;
    size_ *= dimension;
  }
}

Index Shape::rows() const {
  Index rows = 1;
  for (Index axis = 0; axis + 1 < rank_; ++axis) rows *= (*this)[axis];
  return rows;
}

Index Shape::axis(Index axis, const char* where) const {
  if (axis < -rank_ || axis >= rank_) {
    throw Error(where, "axis ", axis, " of a tensor ", *this, ": expected ", -rank_, " to ", rank_ - 1);
  }
  return axis < 0 ? axis + rank_ : axis;
}

Shape Shape::with(Index axis, Index dimension) const {
  auto dimensions = dimensions_;
  dimensions[static_cast<std::size_t>(axis)] = dimension;
  return Shape(dimensions.data(), rank_);
}

Shape Shape::without(Index axis) const {
  std::array<Index, max_rank> dimensions{};
  Index rank = 0;
  for (Index k = 0; k < rank_; ++k) {
    if (k != axis) dimensions[static_cast<std::size_t>(rank++)] = (*this)[k];
  }
  return Shape(dimensions.data(), rank);
}

std::string Shape::str() const {
  if (rank_ == 0) return "scalar";
  std::string text;
  for (Index axis = 0; axis < rank_; ++axis) {
    if (axis > 0) text += 'x';
    text += std::to_string((*this)[axis]);
  }
  return text;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.str();
}

}  // namespace taper

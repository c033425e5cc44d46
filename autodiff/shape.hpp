#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <string>

namespace taper {

/// Counts, dimensions and positions; signed, so that differences are safe.
using Index = std::ptrdiff_t;

/// The dimensions of a tensor: up to four, the last one contiguous (row-major). No dimension at all is a
/// scalar, which has one entry. Dimensions may be zero.
class Shape {
 public:
  static constexpr Index max_rank = 4;

  /// A scalar.
  Shape() = default;
  /// Throws Error for more than four dimensions, a negative one, or more entries than memory can address.
  Shape(std::initializer_list<Index> dimensions)
      : Shape(dimensions.begin(), static_cast<Index>(dimensions.size())) {}
  Shape(const Index* dimensions, Index rank);

  Index rank() const { return rank_; }
  /// Number of entries.
  Index size() const { return size_; }
  Index operator[](Index axis) const { return dimensions_[static_cast<std::size_t>(axis)]; }

  /// Read as a matrix: the last dimension is the columns, all others together the rows. A scalar is 1x1.
  Index rows() const;
  Index columns() const { return rank_ == 0 ? 1 : (*this)[rank_ - 1]; }

  /// Turns an axis counted from the end (-1 is the last) into one counted from the front. `where` names the
  /// caller in the Error thrown when there is no such axis.
  Index axis(Index axis, const char* where) const;

  /// This shape with one dimension replaced, or taken out.
  Shape with(Index axis, Index dimension) const;
  Shape without(Index axis) const;

  /// "128x32", or "scalar".
  std::string str() const;

  /// Whether all dimensions agree; written out, as the comparison of arrays is a call.
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (Index axis = 0; axis < a.rank_; ++axis) {
      if (a[axis] != b[axis]) return false;
    }
    return true;
  }

 private:
  Index size_ = 1;  // first, where a tape's passes find it in the cache line that they read anyway
  Index rank_ = 0;
  std::array<Index, max_rank> dimensions_{};
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace taper

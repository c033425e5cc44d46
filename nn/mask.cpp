#include <taper/nn/mask.hpp>

#include <algorithm>
#include <ostream>

namespace taper {
namespace {

void require_equal(const Mask& a, const Mask& b) {
  if (a.shape() != b.shape()) {
    throw Error("mask", a.shape(), " combined with ", b.shape(), ": expected the same shape");
  }
}

}  // namespace

Mask::Mask() : Mask(Shape{}, true) {}

Mask::Mask(const Shape& shape, bool free)
    : shape_(shape), free_(static_cast<std::size_t>(shape.size()), free ? 1 : 0) {}

Mask Mask::all_free(const Shape& shape) {
  return Mask(shape, true);
}

Mask Mask::all_frozen(const Shape& shape) {
  return Mask(shape, false);
}

Mask Mask::free(const Shape& shape, std::span<const Index> positions) {
  Mask mask(shape, false);
  for (const Index position : positions) {
    if (position < 0 || position >= shape.size()) {
      throw Error("mask", "position ", position, " of a tensor ", shape, ": expected 0 to ",
                  shape.size() - 1);
    }
    mask.free_[static_cast<std::size_t>(position)] = 1;
  }
  return mask;
}

Mask Mask::free(const Shape& shape, std::initializer_list<Index> positions) {
  return free(shape, std::span(positions.begin(), positions.size()));
}

Mask Mask::frozen(const Shape& shape, std::span<const Index> positions) {
  return ~free(shape, positions);
}

Mask Mask::frozen(const Shape& shape, std::initializer_list<Index> positions) {
  return ~free(shape, positions);
}

void Mask::set(Index position, double truth) {
  if (truth != 0 && truth != 1) {
    throw Error("mask", "entry ", truth, " at position ", position, ": expected 0 or 1");
  }
  free_[static_cast<std::size_t>(position)] = truth != 0;
}

Index Mask::count_free() const {
  return std::ranges::count(free_, 1);
}

std::vector<Index> Mask::free_positions() const {
  std::vector<Index> positions;
  for (Index i = 0; i < size(); ++i) {
    if (is_free(i)) positions.push_back(i);
  }
  return positions;
}

Mask Mask::reshaped(const Shape& shape) const {
  if (shape.size() != size()) {
    throw Error("mask", shape_, " reshaped to ", shape, ": expected ", size(), " entries");
  }
  Mask result = *this;
  result.shape_ = shape;
  return result;
}

void Mask::require(const Shape& shape, std::string_view where, std::string_view what) const {
  if (shape_ == shape) return;
  throw Error(where, "a mask ", shape_, what.empty() ? "" : " for '", what, what.empty() ? "" : "'",
              ": expected ", shape);
}

Mask operator~(Mask mask) {
  for (std::uint8_t& entry : mask.free_) entry ^= 1;
  return mask;
}

Mask operator&(Mask a, const Mask& b) {
  require_equal(a, b);
  for (std::size_t i = 0; i < a.free_.size(); ++i) a.free_[i] &= b.free_[i];
  return a;
}

Mask operator|(Mask a, const Mask& b) {
  require_equal(a, b);
  for (std::size_t i = 0; i < a.free_.size(); ++i) a.free_[i] |= b.free_[i];
  return a;
}

Mask operator-(Mask a, const Mask& b) {
  return std::move(a) & ~b;
}

std::ostream& operator<<(std::ostream& out, const Mask& mask) {
  out << "mask " << mask.shape() << ", " << mask.count_free() << " of " << mask.size() << " free";
  const Index rows = mask.shape().rows(), columns = mask.shape().columns();
  if (rows > 32 || columns > 80) return out;
  for (Index i = 0; i < rows; ++i) {
    out << '\n';
    for (Index j = 0; j < columns; ++j) out << (mask.is_free(i * columns + j) ? '#' : '.');
  }
  return out;
}

}  // namespace taper

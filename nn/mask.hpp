#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string_view>
#include <vector>

#include <taper/autodiff/tensor.hpp>

namespace taper {

/// Which entries of a tensor are free, that is, may be moved by an optimizer; the others are frozen. The
/// constructors say which of the two they list:
///
///     Mask::free({true, false, true, false})             // a truth value for each entry
///     Mask::frozen({3, 4}, {0, 5})                       // a shape, and positions (row-major)
///     Mask::free({3, 4}, [](Index i) { return i > 5; })  // a predicate of the position
///     Mask::free(pattern)                                // Eigen or std::vector of 0 and 1, or bool
class Mask {
 public:
  /// One entry, free.
  Mask();
  static Mask all_free(const Shape& shape);
  static Mask all_frozen(const Shape& shape);

  /// Takes `true` and `false` only: whoever writes 0 and 1 may mean positions.
  template <std::same_as<bool> Truth> static Mask free(std::initializer_list<Truth> truths) {
    return of_list(truths);
  }
  template <std::same_as<bool> Truth> static Mask frozen(std::initializer_list<Truth> truths) {
    return ~of_list(truths);
  }
  /// Throws Error for an entry that is neither 0 nor 1.
  template <class Number> static Mask free(const std::vector<Number>& truths) { return of_list(truths); }
  template <class Number> static Mask frozen(const std::vector<Number>& truths) { return ~of_list(truths); }
  /// Throws Error for a position outside of the shape.
  static Mask free(const Shape& shape, std::span<const Index> positions);
  static Mask frozen(const Shape& shape, std::span<const Index> positions);
  static Mask free(const Shape& shape, std::initializer_list<Index> positions);
  static Mask frozen(const Shape& shape, std::initializer_list<Index> positions);
  template <std::predicate<Index> Predicate> static Mask free(const Shape& shape, Predicate predicate) {
    Mask mask(shape, false);
    for (Index i = 0; i < mask.size(); ++i) mask.free_[static_cast<std::size_t>(i)] = predicate(i) ? 1 : 0;
    return mask;
  }
  template <std::predicate<Index> Predicate> static Mask frozen(const Shape& shape, Predicate predicate) {
    return ~free(shape, predicate);
  }
  /// Throws Error for an entry that is neither 0 nor 1.
  template <class Derived> static Mask free(const Eigen::DenseBase<Derived>& pattern) {
    Mask mask(Derived::IsVectorAtCompileTime ? Shape{pattern.size()} : Shape{pattern.rows(), pattern.cols()},
              false);
    const auto plain = pattern.derived().eval();
    for (Index i = 0, position = 0; i < plain.rows(); ++i) {
      for (Index j = 0; j < plain.cols(); ++j) mask.set(position++, static_cast<double>(plain(i, j)));
    }
    return mask;
  }
  template <class Derived> static Mask frozen(const Eigen::DenseBase<Derived>& pattern) {
    return ~free(pattern);
  }

  const Shape& shape() const { return shape_; }
  Index size() const { return shape_.size(); }
  bool is_free(Index position) const { return free_[static_cast<std::size_t>(position)] != 0; }
  bool is_frozen(Index position) const { return !is_free(position); }
  /// How many entries are free.
  Index count_free() const;
  bool all_free() const { return count_free() == size(); }
  bool all_frozen() const { return count_free() == 0; }
  /// Where the free entries are, in order.
  std::vector<Index> free_positions() const;

  /// The same entries in another shape. Throws Error unless it has as many.
  Mask reshaped(const Shape& shape) const;
  /// Throws Error in the name of `where` unless the mask has this shape, which is that of `what`.
  void require(const Shape& shape, std::string_view where, std::string_view what = "") const;

  /// Free what is frozen, and the other way round.
  friend Mask operator~(Mask mask);
  /// Free in both, in either, in the first alone. Throw Error for different shapes.
  friend Mask operator&(Mask a, const Mask& b);
  friend Mask operator|(Mask a, const Mask& b);
  friend Mask operator-(Mask a, const Mask& b);
  friend bool operator==(const Mask&, const Mask&) = default;

 private:
  Mask(const Shape& shape, bool free);
  template <class List> static Mask of_list(const List& truths) {
    Mask mask(Shape{static_cast<Index>(truths.size())}, false);
    Index position = 0;
    for (const auto truth : truths) mask.set(position++, static_cast<double>(truth));
    return mask;
  }
  void set(Index position, double truth);

  Shape shape_;
  std::vector<std::uint8_t> free_;  // 1 or 0
};

/// "mask 3x4, 5 of 12 free", and when it is small its rows, with "#" for a free entry and "." for a frozen
/// one.
std::ostream& operator<<(std::ostream& out, const Mask& mask);

}  // namespace taper

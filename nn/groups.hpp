#pragma once

#include <iosfwd>
#include <optional>
#include <string>

#include <taper/autodiff/shape.hpp>

namespace taper::nn {

/// How the entries of a parameter fall into groups: each by itself, or all that share an index of one axis.
///
///     weight of                shape                     outputs, filters     inputs, channels
///     Linear                   out x in                  neurons              inputs
///     Conv2d                   out x in x rows x cols    filters              input channels
///     Embedding                words x dimensions        words                latent dimensions
class Groups {
 public:
  static const Groups elements;  ///< every entry is a group
  static const Groups outputs;   ///< axis 0
  static const Groups filters;   ///< the same, as one says of convolutions
  static const Groups inputs;    ///< axis 1
  static const Groups channels;  ///< the same, as one says of convolutions and embeddings
  /// For those who choose groups, weight by weight: this one has none and stays as it is.
  static constexpr std::nullopt_t none = std::nullopt;
  /// The indices of an axis, counted from 0. Throws Error for one that no tensor has.
  static Groups axis(Index axis);

  constexpr Groups() = default;  // elements
  bool operator==(const Groups&) const = default;

  bool are_elements() const { return axis_ < 0; }
  /// The axis whose indices are the groups; -1 for elements.
  Index axis() const { return axis_; }
  /// Whether a parameter of this shape has such groups: elements always, others where there is the axis.
  bool fit(const Shape& shape) const { return axis_ < shape.rank(); }

  // For a shape that they fit; anything else throws Error.

  /// How many groups there are.
  Index count(const Shape& shape) const { return blocks(shape).count; }
  /// How many entries each has; 1 for elements.
  Index size(const Shape& shape) const {
    const Blocks of = blocks(shape);
    return of.outer * of.inner;
  }
  /// One number for each group, in the shape that is repeated to the parameter's: of a parameter 20x10x5x5,
  /// inputs have 10x1x1.
  Shape gates(const Shape& shape) const;

  /// A parameter as outer x count x inner entries, of which the one in the middle is the group.
  struct Blocks {
    Index outer, count, inner;
    /// The group of the entry at this position in row-major order.
    Index group_of(Index entry) const { return inner == 1 ? entry % count : entry / inner % count; }
  };
  Blocks blocks(const Shape& shape) const;

  /// "elements", "outputs", "inputs", "axis 2" or "axis 3".
  std::string str() const;
  /// What has this text; nothing for any other.
  static std::optional<Groups> from(const std::string& text);

 private:
  constexpr explicit Groups(Index axis) : axis_(axis) {}

  Index axis_ = -1;
};

inline constexpr Groups Groups::elements{Index{-1}};
inline constexpr Groups Groups::outputs{Index{0}};
inline constexpr Groups Groups::filters{Index{0}};
inline constexpr Groups Groups::inputs{Index{1}};
inline constexpr Groups Groups::channels{Index{1}};

std::ostream& operator<<(std::ostream& out, const Groups& groups);

}  // namespace taper::nn

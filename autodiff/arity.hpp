#pragma once

#include <iosfwd>
#include <limits>

#include <taper/autodiff/shape.hpp>

namespace taper {

/// How many inputs an operation takes: a fixed number (2), a range ({2, 3}), or any number from one on
/// ({1, Arity::any}).
struct Arity {
  static constexpr Index any = std::numeric_limits<Index>::max();

  constexpr Arity() = default;
  constexpr Arity(Index count) : least(count), most(count) {}
  constexpr Arity(Index at_least, Index at_most) : least(at_least), most(at_most) {}

  constexpr bool includes(Index count) const { return least <= count && count <= most; }

  Index least = 0, most = 0;
};

/// "2 inputs", "2 to 3 inputs", "1 or more inputs".
std::ostream& operator<<(std::ostream& out, const Arity& arity);

}  // namespace taper

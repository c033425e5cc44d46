#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include <taper/autodiff/tape.hpp>

namespace taper {

/// What a check of a structure rule found; true when nothing contradicts it.
struct StructureReport {
  bool ok = true;
  /// The first statement that does not hold, and where it does not.
  std::string where;
  /// The operation has no rule, so nothing was checked.
  bool pinned = false;
  /// How many statements were tried out.
  Index checks = 0;

  explicit operator bool() const { return ok; }
};

std::ostream& operator<<(std::ostream& out, const StructureReport& report);

/// Tries out what an operation states of its structure, at one of its cases:
///
/// - An input entry is changed: only outputs that the links allow change with it.
/// - The classes of a link are permuted, in all inputs and in the output: the entries are the same.
/// - A class is cut out of all of them: the others are what they were, to the bit or, where sums are made, up
///   to rounding. So do they stay when an index is cut that no output reads.
/// - An index of a contraction is zero on one side: the other side does not count there, and the index may
///   go. The same for an index of a plain sum.
/// - A gate that is zero takes an input out of its class, whatever that input is there.
/// - What preserves zeros does; the bias takes up the product with a constant; only random operations vary by
///   themselves.
///
/// Where axes are literal, cuts are made with the attributes that the record's cut_attributes gives.
StructureReport check_structure(const Op<double>& op, const GradcheckCase& example, std::uint64_t seed = 0);

}  // namespace taper

#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include <taper/autodiff/tape.hpp>

namespace taper {

struct GradcheckOptions {
  /// Half the distance of the central difference, relative to max(1, |x|): about the cube root of the
  /// precision of double, where truncation and rounding are balanced.
  double step = 6e-6;
  /// How far derivative and difference may be apart, relative to 1 + the larger of them.
  double tolerance = 1e-7;
  /// How many random directions are checked besides the single entries.
  int projections = 4;
  /// Inputs with more entries than this are checked along random directions only.
  Index most_entries = 2000;
  std::uint64_t seed = 0;
};

/// What a gradient check found; true when everything agreed.
struct GradcheckReport {
  bool ok = true;
  /// The largest difference relative to 1 + the larger value, and where it was seen.
  double worst = 0;
  std::string where;

  explicit operator bool() const { return ok; }
};

std::ostream& operator<<(std::ostream& out, const GradcheckReport& report);

/// A function of some variables, recorded on their tape.
using TapeFunction = std::function<Var<double>(std::span<const Var<double>>)>;

/// Compares the gradient of sum(r f(x)), with random weights r where f(x) is not a single number, to central
/// differences: (f(x + h) - f(x - h)) / 2h for each entry of each input, and along random directions. It
/// records once and replays for each difference, so replay is checked too. Every variable that f computes
/// with is then given a second use, whose gradient each operation of f must add to: one that stores its own
/// instead is found, however f uses it.
GradcheckReport gradcheck(const TapeFunction& f, std::span<const Tensor<double>> inputs,
                          const GradcheckOptions& options = {});

/// The same for one operation at one of its cases; inputs without derivative are held fixed.
GradcheckReport gradcheck(const Op<double>& op, const GradcheckCase& example,
                          const GradcheckOptions& options = {});

}  // namespace taper

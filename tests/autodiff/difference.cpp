#include <taper/autodiff/difference.hpp>

#include <taper/autodiff/ops.hpp>

#include "../check.hpp"
#include "random_tensors.hpp"

using namespace taper;

namespace {

/// A small recording with one thing after the other that can be different.
struct Recorded {
  Index width = 3;
  double input = 1, constant = 2, slope = 0.1;
  Var<double> (*activation)(Var<double>) = tanh;
  bool swap = false, extra = false, second_block = false, variable = false;
};

const std::shared_ptr<Block<double>> difference_blocks[2] = {std::make_shared<Block<double>>(64),
                                                             std::make_shared<Block<double>>(64)};

void record(Tape<double>& tape, const Recorded& what) {
  const Tape<double>::Scope scope(tape, "net");
  Tensor<double> values({2, what.width});
  values[1] = what.input;
  const auto x = what.variable ? tape.variable(values, "x") : tape.constant(values, "x");
  const auto w = tape.parameter(difference_blocks[what.second_block], 0, {2, what.width}, "w");
  const auto shifted = what.swap ? sub(w, x) : sub(x, w);
  const auto y = leaky_relu(what.activation(shifted), what.slope) * what.constant;
  if (what.extra) neg(y);
}

std::string found(const Recorded& first, const Recorded& second) {
  Tape<double> a, b;
  record(a, first);
  record(b, second);
  return difference(a, b);
}

}  // namespace

TEST_CASE("difference: none between recordings of the same, whatever was computed") {
  CHECK(found({}, {}) == "");
  Tape<double> a, b;
  record(a, {});
  record(b, {});
  difference_blocks[0]->values.data()[0] = 5;  // a parameter's value is no part of the recording
  a.replay();
  CHECK(difference(a, b) == "");
  Tape<double> with_dropout, other;
  dropout(with_dropout.input({9}), 0.5);
  dropout(other.input({9}), 0.5);
  CHECK(difference(with_dropout, other) == "");
  CHECK(difference(Tape<double>(), Tape<double>()) == "");
}

TEST_CASE("difference: names the first one") {
  CHECK(found({.activation = sigmoid}, {}) ==
        "has %3 = sigmoid(%2)  2x3  net where the other has %3 = tanh(%2)  2x3  net");
  CHECK(found({.swap = true}, {}) ==
        "has %2 = sub(%1, %0)  2x3  net where the other has %2 = sub(%0, %1)  2x3  net");
  CHECK(found({.width = 4}, {}) ==
        "has %0 = constant  2x4  net.x where the other has %0 = constant  2x3  net.x");
  CHECK(
      found({.slope = 0.2}, {}) ==
      "has %4 = leaky_relu(%3, slope=0.2)  2x3  net where the other has %4 = leaky_relu(%3, slope=0.1)  2x3  "
      "net");
  CHECK(found({.slope = 0.1 + 1e-16}, {}) ==
        "has %4 = leaky_relu(%3, slope=0.1000000000000001)  2x3  net where the other has %4 = leaky_relu(%3, "
        "slope=0.1)  2x3  net");
  CHECK(found({.second_block = true}, {}) == "has another parameter as %1 = parameter  2x3  net.w");
  CHECK(found({.variable = true}, {}) ==
        "has %0 = variable  2x3  net.x where the other has %0 = constant  2x3  net.x");
  CHECK(found({.input = 1.5}, {}) ==
        "has %0 = constant  2x3  net.x with 1.500000 at entry 1 where the other has 1.000000");
  CHECK(found({.constant = 3}, {}) ==
        "has %5 = constant  scalar  net.constant with 3.000000 at entry 0 where the other has 2.000000");
  CHECK(found({.extra = true}, {}) == "has %7 = neg(%6)  2x3  net where the other has ended");
  CHECK(found({}, {.extra = true}) == "has ended where the other has %7 = neg(%6)  2x3  net");
}

TEST_CASE("difference: the same NaN is the same, the other zero is not") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(found({.constant = nan}, {.constant = nan}) == "");
  CHECK(found({.constant = 0.0}, {.constant = -0.0}) != "");
}

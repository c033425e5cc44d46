#include <doctest/doctest.h>

#include <taper/autodiff/gradcheck.hpp>

using namespace taper;

TEST_CASE("registry: every operation has cases and a gradient that agrees with differences") {
  REQUIRE(Op<double>::registry().size() >= 40);
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    REQUIRE((op->gradcheck_cases != nullptr));
    Rng rng(7);
    const std::vector<GradcheckCase> cases = op->gradcheck_cases(rng);
    REQUIRE(!cases.empty());
    for (const GradcheckCase& example : cases) {
      if (op->no_derivative) continue;  // the structure check goes over its cases
      const GradcheckReport report = gradcheck(*op, example);
      CHECK_MESSAGE(report.ok, report);
    }
  }
}

#include <doctest/doctest.h>

#include <taper/autodiff/gradcheck.hpp>

using namespace taper;

TEST_CASE("registry: every operation has samples and a gradient that agrees with differences") {
  REQUIRE(Op<double>::registry().size() >= 40);
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    REQUIRE((op->samples != nullptr));
    Rng rng(7);
    const std::vector<Sample> samples = op->samples(rng);
    REQUIRE(!samples.empty());
    for (const Sample& sample : samples) {
      const GradcheckReport report = gradcheck(*op, sample);
      CHECK_MESSAGE(report.ok, report);
    }
  }
}

#include <doctest/doctest.h>

#include <sstream>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/summary.hpp>

using namespace taper;

TEST_CASE("summary: layers, output shapes, parameters and multiply-adds as counted by hand") {
  nn::Sequential<float> net(nn::Linear(8, 32), nn::ReLU(), nn::Dropout(0.5), nn::Linear(32, 1));
  const nn::Summary summary = nn::summary(net, {128, 8});
  REQUIRE(summary.rows.size() == 5);
  CHECK(summary.rows[0].parameters == 8 * 32 + 32 + 32 + 1);
  CHECK(summary.rows[0].multiply_adds == 128 * (8 * 32 + 32));
  CHECK(summary.rows[0].output == Shape{128, 1});
  CHECK(summary.rows[1].name == "0");
  CHECK(summary.rows[1].parameters == 8 * 32 + 32);
  CHECK(summary.rows[1].multiply_adds == 128 * 8 * 32);
  CHECK(summary.rows[1].output == Shape{128, 32});
  CHECK(summary.rows[2].parameters == 0);
  CHECK(summary.rows[2].output == Shape{128, 32});
  CHECK_FALSE(summary.rows[3].computes);  // dropout does nothing in an evaluation
  CHECK(summary.rows[4].multiply_adds == 128 * 32);

  std::ostringstream text;
  text << summary;
  CHECK(text.str().find("0: Linear(8, 32)") != std::string::npos);
  CHECK(text.str().find("128x32") != std::string::npos);
}

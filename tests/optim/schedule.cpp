#include <taper/optim/schedule.hpp>

#include <cmath>
#include <numbers>

#include "../check.hpp"

using namespace taper;

TEST_CASE("step_schedule: drops by the factor each so many epochs") {
  const optim::Schedule schedule = optim::step_schedule(3, 0.5);
  const double expected[] = {1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125};
  for (Index epoch = 0; epoch < 10; ++epoch) CHECK(schedule(epoch) == doctest::Approx(expected[epoch]));
  CHECK(optim::step_schedule(1)(2) == doctest::Approx(0.01));
  CHECK(optim::step_schedule(5, 1)(1000) == 1);
}

TEST_CASE("cosine_schedule: half a cosine from 1 to the last factor, which then stays") {
  for (const double last : {0.0, 0.1}) {
    const optim::Schedule schedule = optim::cosine_schedule(20, last);
    CHECK(schedule(0) == doctest::Approx(1));
    CHECK(schedule(10) == doctest::Approx((1 + last) / 2));
    CHECK(schedule(20) == doctest::Approx(last));
    CHECK(schedule(33) == doctest::Approx(last));
    for (Index epoch = 0; epoch <= 20; ++epoch) {
      const double half = std::cos(std::numbers::pi * static_cast<double>(epoch) / 40);
      CHECK(schedule(epoch) ==
            doctest::Approx(last + (1 - last) * half * half));  // (1 + cos 2a) / 2 = cos^2 a
    }
    for (Index epoch = 0; epoch < 20; ++epoch) CHECK(schedule(epoch + 1) < schedule(epoch));
  }
}

TEST_CASE("warm_up: rises linearly to 1, then follows the other schedule from its start") {
  const optim::Schedule constant = optim::warm_up(4);
  for (Index epoch = 0; epoch < 4; ++epoch) {
    CHECK(constant(epoch) == doctest::Approx(0.25 * static_cast<double>(epoch + 1)));
  }
  CHECK(constant(4) == 1);
  CHECK(constant(400) == 1);
  const optim::Schedule cosine = optim::cosine_schedule(10, 0.2), both = optim::warm_up(5, cosine);
  CHECK(both(0) == doctest::Approx(0.2));
  CHECK(both(4) == doctest::Approx(1));
  for (Index epoch = 0; epoch < 12; ++epoch) CHECK(both(5 + epoch) == cosine(epoch));
  CHECK(optim::warm_up(2, [](Index epoch) { return 7.0 + static_cast<double>(epoch); })(3) == 8);
}

TEST_CASE("Schedules: fewer than one epoch is refused") {
  CHECK_ERROR(optim::step_schedule(0), "[step_schedule]", "0 epochs", "1 or more");
  CHECK_ERROR(optim::cosine_schedule(-3), "[cosine_schedule]", "-3 epochs");
  CHECK_ERROR(optim::warm_up(0), "[warm_up]", "0 epochs");
}

TEST_CASE("Schedules: factors that are negative or not finite are refused, and so is an empty schedule") {
  for (const double factor : {-0.5, HUGE_VAL, std::nan("")}) {
    CHECK_ERROR(optim::step_schedule(2, factor), "[step_schedule] a factor of", "expected");
    CHECK_ERROR(optim::cosine_schedule(2, factor), "[cosine_schedule] a factor of", "expected");
  }
  CHECK_ERROR(optim::warm_up(2, optim::Schedule{}), "[warm_up] an empty schedule", "expected");
  CHECK(optim::step_schedule(2, 0)(4) == 0);
}

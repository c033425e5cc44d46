#include <taper/optim/schedule.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <vector>

#include "../check.hpp"

using namespace taper;

namespace {

using Factors = std::vector<double>;

/// The factors of the first steps of a training of `epochs` epochs.
Factors by_steps(const optim::Schedule& schedule, Index epochs, Index steps_per_epoch) {
  Factors result;
  for (Index step = 0; step < epochs * steps_per_epoch; ++step) {
    result.push_back(schedule({.epoch = step / steps_per_epoch,
                               .step = step,
                               .epochs = epochs,
                               .steps = epochs * steps_per_epoch}));
  }
  return result;
}

/// The factor of each epoch, and of the one after the last loss.
Factors by_losses(const optim::Schedule& schedule, const std::vector<double>& losses) {
  Factors result;
  for (std::size_t epoch = 0; epoch <= losses.size(); ++epoch) {
    result.push_back(
        schedule({.epoch = static_cast<Index>(epoch), .losses = std::span(losses).first(epoch)}));
  }
  return result;
}

bool near(const Factors& a, const Factors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= 1e-14)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("Schedule: a function of the epoch, or of the whole time before each step") {
  const optim::Schedule of_epoch = [](Index epoch) { return 1.0 / static_cast<double>(1 + epoch); };
  CHECK_FALSE(of_epoch.is_per_step());
  CHECK(of_epoch(3) == 0.25);
  CHECK(of_epoch({.epoch = 3, .step = 70}) == 0.25);
  const optim::Schedule of_step = [](const optim::TrainingTime& at) {
    return static_cast<double>(at.step) / static_cast<double>(at.steps);
  };
  CHECK(of_step.is_per_step());
  CHECK(of_step({.step = 30, .steps = 40}) == 0.75);
  CHECK_ERROR(of_step(3), "[schedule] epoch 3", "per step", "expected a TrainingTime");
  const optim::Schedule once = optim::Schedule::of_time(
      [](const optim::TrainingTime& at) { return static_cast<double>(at.losses.size()); }, false);
  CHECK_FALSE(once.is_per_step());
  CHECK(once({.losses = Factors{3, 4}}) == 2);
  const optim::Schedule copy = of_step;  // not one that is made of it
  CHECK(copy({.step = 1, .steps = 2}) == 0.5);
  // What is empty is none.
  CHECK_FALSE(optim::Schedule());
  CHECK_FALSE(optim::Schedule(std::function<double(Index)>()));
  CHECK_FALSE(optim::Schedule(std::function<double(const optim::TrainingTime&)>()));
  CHECK(static_cast<bool>(copy));
  CHECK_ERROR(optim::Schedule()(0), "[schedule] an empty one");
}

TEST_CASE("constant_schedule, exponential_schedule") {
  CHECK(optim::constant_schedule()(7) == 1);
  CHECK(optim::constant_schedule(0.25)(7) == 0.25);
  CHECK(optim::exponential_schedule(0.5)(0) == 1);
  CHECK(optim::exponential_schedule(0.5)(3) == 0.125);
  CHECK(optim::exponential_schedule(0)(1) == 0);
}

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

TEST_CASE("warm_up: what follows has a time of its own, in epochs, steps and losses") {
  optim::TrainingTime seen;
  Factors losses;
  const auto spy = [&](const optim::TrainingTime& at) {
    seen = at;
    losses.assign(at.losses.begin(), at.losses.end());
    return 0.5;
  };
  const optim::Schedule schedule = optim::warm_up(2, spy);
  CHECK(schedule.is_per_step());
  CHECK_FALSE(optim::warm_up(2).is_per_step());
  const Factors all{8, 7, 6, 5};
  CHECK(schedule({.epoch = 4, .step = 43, .epochs = 9, .steps = 90, .losses = all}) == 0.5);
  CHECK(seen.epoch == 2);
  CHECK(seen.step == 23);
  CHECK(seen.epochs == 7);
  CHECK(seen.steps == 70);
  CHECK(losses == Factors{6, 5});
  CHECK(schedule({.epoch = 3}) == 0.5);  // of a training whose length is not known
  CHECK(seen.epoch == 1);
  CHECK(seen.steps == 0);
  // A plateau counts from the end of the warm-up on.
  const Factors flat(8, 1.0);
  CHECK(by_losses(optim::warm_up(2, optim::plateau_schedule({.factor = 0.5, .patience = 1})), flat) ==
        Factors{0.5, 1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25});
}

TEST_CASE("per_step: steps in place of epochs") {
  const optim::Schedule schedule = optim::per_step(optim::warm_up(4, optim::cosine_schedule(6)));
  CHECK(schedule.is_per_step());
  const Factors factors = by_steps(schedule, 5, 2);
  for (std::size_t step = 0; step < 4; ++step) CHECK(factors[step] == 0.25 * static_cast<double>(step + 1));
  const optim::Schedule cosine = optim::cosine_schedule(6);
  for (std::size_t step = 4; step < 10; ++step) CHECK(factors[step] == cosine(static_cast<Index>(step) - 4));
  CHECK_ERROR(optim::per_step({}), "[per_step] an empty schedule");
  // Losses belong to epochs.
  CHECK_ERROR(by_steps(optim::per_step(optim::plateau_schedule()), 2, 3), "0 losses in epoch 1");
}

TEST_CASE("one_cycle_schedule: the learning rates of PyTorch's OneCycleLR") {
  // Computed with its formulas in Python, for a largest rate of 1.
  const Factors ten{0.040000000000000036,
                    0.52,
                    1.0,
                    0.9504846320134737,
                    0.8117456539497631,
                    0.6112620219362893,
                    0.38874197806371075,
                    0.18825834605023697,
                    0.049519367986526286,
                    4e-06};
  const optim::Schedule schedule = optim::one_cycle_schedule();
  CHECK(schedule.is_per_step());
  CHECK(near(by_steps(schedule, 5, 2), ten));
  CHECK(near(by_steps(optim::one_cycle_schedule({.steps = 10}), 5, 2), ten));
  const Factors seven{0.09999999999999998,
                      0.41094235253127365,
                      0.9140576474687263,
                      0.9505339495172583,
                      0.611649206511179,
                      0.18906684397156262,
                      0.001};
  CHECK(near(by_steps(optim::one_cycle_schedule({.rising = 0.5, .first = 0.1, .last = 0.001}), 1, 7), seven));
  const Factors hundred = by_steps(schedule, 10, 10);
  const auto at = [&](std::size_t step) { return doctest::Approx(hundred[step]).epsilon(1e-13); };
  CHECK(at(1) == 0.042813780565907456);
  CHECK(at(13) == 0.4423446416546729);
  CHECK(at(29) == 1.0);
  CHECK(at(30) == 0.9994965352845243);
  CHECK(at(50) == 0.793893450575732);
  CHECK(at(98) == 0.0005074647154757879);
  // Where there are few steps, the largest factor lies between two of them, or nothing rises or falls.
  CHECK(near(by_steps(schedule, 1, 3), {0.9944154354509117, 0.46263710266697505, 4e-06}));
  CHECK(near(by_steps(schedule, 1, 1), {4e-06}));
  CHECK(near(by_steps(optim::one_cycle_schedule({.rising = 0}), 2, 2),
             {0.8535539763797113, 0.500002, 0.14645002362028864, 4e-06}));
  CHECK(near(by_steps(optim::one_cycle_schedule({.rising = 1}), 2, 2),
             {0.040000000000000036, 0.28, 0.7599999999999999, 1.0}));
  CHECK(near(by_steps(optim::one_cycle_schedule({.rising = 0.25}), 1, 4), {1, 0.750001, 0.250003, 4e-06}));
  // After the end the last factor stays.
  CHECK(schedule({.step = 25, .steps = 10}) == doctest::Approx(4e-6));
  CHECK(optim::one_cycle_schedule({.steps = 10})({.step = 25}) == doctest::Approx(4e-6));
  CHECK_ERROR(schedule({.step = 3}), "[one_cycle_schedule] a training of 0 steps", "expected 1 or more");
  CHECK_ERROR(schedule(3), "per step");
}

TEST_CASE("one_cycle_schedule: settings out of range are refused") {
  const double nan = std::nan("");
  CHECK_ERROR(optim::one_cycle_schedule({.rising = -0.1}), "[one_cycle_schedule] rising -0.1", "0 to 1");
  CHECK_ERROR(optim::one_cycle_schedule({.rising = 1.5}), "rising 1.5");
  CHECK_ERROR(optim::one_cycle_schedule({.rising = nan}), "rising nan");
  CHECK_ERROR(optim::one_cycle_schedule({.first = -1}), "a factor of -1");
  CHECK_ERROR(optim::one_cycle_schedule({.last = nan}), "a factor of nan");
  CHECK_ERROR(optim::one_cycle_schedule({.steps = -1}), "steps -1");
}

TEST_CASE("plateau_schedule: the learning rates of PyTorch's ReduceLROnPlateau") {
  // Computed with its rules in Python, from a rate of 1.
  const Factors losses{1,   .9,  .95, .9,  .91, .8999, .89, .89, .89, .89,
                       .89, .89, .89, .89, .89, .88,   .89, .89, .89, .89};
  CHECK(by_losses(optim::plateau_schedule({.factor = 0.5, .patience = 2}), losses) ==
        Factors{1.0,  1.0,  1.0,   1.0,   1.0,   0.5,   0.5,   0.5,   0.5,    0.5,   0.25,
                0.25, 0.25, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.0625, 0.0625});
  CHECK(by_losses(optim::plateau_schedule({.factor = 0.5, .patience = 2, .cooldown = 2}), losses) ==
        Factors{1.0,  1.0,  1.0,  1.0,  1.0,   0.5,   0.5,   0.5,   0.5,   0.5,   0.25,
                0.25, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125, 0.125, 0.125, 0.0625});
  CHECK(by_losses(optim::plateau_schedule({.factor = 0.5, .patience = 0, .minimum = 0.1}), losses) ==
        Factors{1.0, 1.0, 1.0, 0.5, 0.25, 0.125, 0.125, 0.125, 0.1, 0.1, 0.1,
                0.1, 0.1, 0.1, 0.1, 0.1,  0.1,   0.1,   0.1,   0.1, 0.1});
  CHECK(by_losses(optim::plateau_schedule({.factor = 0.5, .patience = 1, .threshold = 0.02}), losses) ==
        Factors{1.0,      1.0,      1.0,      1.0,      0.5,       0.5,       0.25,
                0.25,     0.125,    0.125,    0.0625,   0.0625,    0.03125,   0.03125,
                0.015625, 0.015625, 0.015625, 0.015625, 0.0078125, 0.0078125, 0.00390625});
  const optim::Schedule standard = optim::plateau_schedule();
  CHECK_FALSE(standard.is_per_step());
  const Factors flat(12, 3.0);
  CHECK(by_losses(standard, flat)[11] == 1);
  CHECK(by_losses(standard, flat)[12] == doctest::Approx(0.1));
}

TEST_CASE("plateau_schedule: asked in any order, at any scale, and with odd losses") {
  const optim::Schedule schedule = optim::plateau_schedule({.factor = 0.5, .patience = 1});
  Factors losses;
  for (int i = 0; i < 40; ++i) losses.push_back(2 + std::cos(i) / (1 + i));
  const Factors expected = by_losses(schedule, losses);
  CHECK(expected.back() < 0.01);
  // Going on from the middle, or back, it has forgotten nothing.
  for (const Index epoch : {30, 2, 17, 40, 0}) {
    CHECK(schedule({.epoch = epoch, .losses = losses}) == expected[static_cast<std::size_t>(epoch)]);
  }
  for (const double scale : {1e-8, 1e8, 1e-300, 1e300}) {
    Factors scaled = losses;
    for (double& loss : scaled) loss *= scale;
    CHECK(by_losses(schedule, scaled) == expected);
  }
  // Of losses below zero, too, the margin is a share of their size.
  CHECK(by_losses(schedule, {-1, -1.00005, -1.00009}).back() == 0.5);
  CHECK(by_losses(schedule, {-1, -1.001, -1.002}).back() == 1);
  CHECK(by_losses(schedule, {-1, -0.99995, -0.9999}).back() == 0.5);
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  CHECK(by_losses(schedule, {nan, nan}) == Factors{1, 1, 0.5});
  CHECK(by_losses(schedule, {infinity, 5, 4}) == Factors{1, 1, 1, 1});
  CHECK(by_losses(schedule, {0, 0, 0}) == Factors{1, 1, 1, 0.5});
  CHECK(by_losses(optim::plateau_schedule({.patience = 1, .threshold = 0}), {2, 1.9999999}).back() == 1);
  CHECK_ERROR(schedule(1), "[plateau_schedule] 0 losses in epoch 1", "expected one for each epoch");
  CHECK(schedule(0) == 1);
}

TEST_CASE("plateau_schedule: settings out of range are refused") {
  CHECK_ERROR(optim::plateau_schedule({.factor = 1}), "[plateau_schedule] factor 1", "0 <= number < 1");
  CHECK_ERROR(optim::plateau_schedule({.factor = -0.5}), "factor -0.5");
  CHECK_ERROR(optim::plateau_schedule({.factor = std::nan("")}), "factor nan");
  CHECK_ERROR(optim::plateau_schedule({.patience = -1}), "patience -1", "0 or more");
  CHECK_ERROR(optim::plateau_schedule({.threshold = 2}), "threshold 2", "0 to 1");
  CHECK_ERROR(optim::plateau_schedule({.cooldown = -3}), "cooldown -3");
  CHECK_ERROR(optim::plateau_schedule({.minimum = -1}), "minimum -1");
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
    CHECK_ERROR(optim::constant_schedule(factor), "[constant_schedule] a factor of", "expected");
    CHECK_ERROR(optim::exponential_schedule(factor), "[exponential_schedule] a factor of", "expected");
  }
  CHECK_ERROR(optim::warm_up(2, optim::Schedule{}), "[warm_up] an empty schedule", "expected");
  CHECK(optim::step_schedule(2, 0)(4) == 0);
}

#include <taper/autodiff/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

#include "../check.hpp"

using namespace taper;

TEST_CASE("Rng: the first outputs of xoshiro256++ seeded through SplitMix64") {
  // Computed by an independent implementation in Python, itself checked against SplitMix64's published
  // outputs.
  const auto starts_with = [](std::uint64_t seed, std::vector<std::uint64_t> expected) {
    Rng rng(seed);
    for (const std::uint64_t bits : expected) CHECK(rng.bits() == bits);
  };
  starts_with(0, {0x53175d61490b23df, 0x61da6f3dc380d507, 0x5c0fdf91ec9a7bfc});
  starts_with(42, {0xd0764d4f4476689f, 0x519e4174576f3791, 0xfbe07cfb0c24ed8c});
  starts_with(~std::uint64_t{0}, {0x56ccf8ce948e27b2, 0xe68588432e5a5b90, 0xe3e9b5a48119ca8b});
  Rng rng(42);
  CHECK(rng.uniform() == 0.8143051451229099);
  CHECK(rng.uniform() == 0.3188210400616611);
}

TEST_CASE("Rng: moments of uniform and normal numbers") {
  // 400,000 draws: the bounds are five standard errors of each mean.
  const int count = 400000;
  const double root = std::sqrt(count);
  Rng rng(1);
  double mean = 0, square = 0, lowest = 1, highest = 0;
  for (int i = 0; i < count; ++i) {
    const double x = rng.uniform();
    mean += x / count;
    square += (x - 0.5) * (x - 0.5) / count;
    lowest = std::min(lowest, x);
    highest = std::max(highest, x);
  }
  CHECK(std::abs(mean - 0.5) < 5 * 0.2887 / root);
  CHECK(std::abs(square - 1.0 / 12) < 5 * 0.0746 / root);
  CHECK(lowest >= 0);
  CHECK(highest < 1);

  double moments[5] = {};
  for (int i = 0; i < count; ++i) {
    const double x = rng.normal();
    for (int k = 1; k <= 4; ++k) moments[k] += std::pow(x, k) / count;
  }
  CHECK(std::abs(moments[1]) < 5 / root);
  CHECK(std::abs(moments[2] - 1) < 5 * std::sqrt(2.0) / root);
  CHECK(std::abs(moments[3]) < 5 * std::sqrt(15.0) / root);
  CHECK(std::abs(moments[4] - 3) < 5 * std::sqrt(96.0) / root);
  for (int i = 0; i < 1000; ++i) {
    const double x = rng.uniform(-3, -2);
    CHECK((x >= -3 && x < -2));
  }
}

TEST_CASE("Rng: below is even over its range") {
  Rng rng(2);
  for (const Index count : {1, 2, 3, 7, 10, 64}) {
    CAPTURE(count);
    const Index each = 10000;
    std::vector<Index> seen(static_cast<std::size_t>(count));
    for (Index i = 0; i < each * count; ++i) {
      const Index draw = rng.below(count);
      REQUIRE((draw >= 0 && draw < count));
      ++seen[static_cast<std::size_t>(draw)];
    }
    for (const Index n : seen) CHECK(std::abs(static_cast<double>(n - each)) < 5 * std::sqrt(each));
  }
  // A remainder of 64 bits would favour the lower half of three quarters of 2^63 two to one.
  const Index many = Index{3} << 61;
  Index low = 0;
  for (int i = 0; i < 10000; ++i) low += rng.below(many) < many / 2;
  CHECK(std::abs(static_cast<double>(low) - 5000) < 250);
}

TEST_CASE("Rng: shuffle gives every permutation equally often") {
  Rng rng(3);
  std::vector<int> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0);
  std::vector<int> shuffled = numbers;
  rng.shuffle(shuffled.begin(), shuffled.end());
  CHECK(shuffled != numbers);
  CHECK(std::is_permutation(shuffled.begin(), shuffled.end(), numbers.begin()));

  int seen[6] = {};
  for (int i = 0; i < 60000; ++i) {
    int three[] = {0, 1, 2};
    rng.shuffle(three, three + 3);
    ++seen[2 * three[0] + (three[1] > three[2])];
  }
  for (const int n : seen) CHECK(std::abs(n - 10000) < 500);
  std::vector<int> none;
  rng.shuffle(none.begin(), none.end());
}

TEST_CASE("Rng: same seed same numbers, other seeds and streams others") {
  Rng first(5), again(5), stream(5, 1), other_stream(5, 2), other(6);
  int equal = 0;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t bits = first.bits(), one = stream.bits(), two = other_stream.bits();
    CHECK(again.bits() == bits);
    equal += (one == bits) + (two == bits) + (one == two) + (other.bits() == bits);
  }
  CHECK(equal == 0);
}

TEST_CASE("Rng: goes on from a state, also between the two of a pair of normal numbers") {
  for (const int normals : {0, 1, 2, 5}) {
    CAPTURE(normals);
    Rng rng(11, 3);
    for (int i = 0; i < normals; ++i) rng.normal();
    const Rng::State state = rng.state();
    CHECK(state[5] == static_cast<std::uint64_t>(normals % 2));
    Rng other(1);
    other.normal();
    other.set_state(state);
    CHECK(other.state() == state);
    for (int i = 0; i < 20; ++i) {
      CHECK(std::bit_cast<std::uint64_t>(other.normal()) == std::bit_cast<std::uint64_t>(rng.normal()));
      CHECK(other.bits() == rng.bits());
      CHECK(other.below(17) == rng.below(17));
    }
  }
  Rng rng(0);
  const Rng::State before = rng.state();
  const auto bits = [](double x) { return std::bit_cast<std::uint64_t>(x); };
  for (const Rng::State& wrong :
       {Rng::State{0, 0, 0, 0, 0, 0}, Rng::State{0, 0, 0, 0, bits(1), 1},
        Rng::State{1, 2, 3, 4, bits(HUGE_VAL), 1}, Rng::State{1, 2, 3, 4, bits(std::nan("")), 0},
        Rng::State{1, 2, 3, 4, 0, 2}}) {
    CHECK_ERROR(rng.set_state(wrong), "[rng] a state that no generator has", "expected");
    CHECK(rng.state() == before);
  }
}

TEST_CASE("set_random_state: weights and seeds of tapes go on") {
  manual_seed(4);
  default_rng().normal();
  next_tape_seed();
  const RandomState state = random_state();
  const double weight = default_rng().normal();
  const std::uint64_t seed = next_tape_seed();
  manual_seed(5);
  CHECK_FALSE(random_state() == state);
  set_random_state(state);
  CHECK(random_state() == state);
  CHECK(default_rng().normal() == weight);
  CHECK(next_tape_seed() == seed);
  const RandomState later = random_state();
  RandomState wrong = state;
  wrong.tapes = {};
  CHECK_ERROR(set_random_state(wrong), "[rng]");
  wrong = state;
  wrong.weights = {};
  CHECK_ERROR(set_random_state(wrong), "[rng]");
  CHECK(random_state() == later);
  manual_seed(0);
}

TEST_CASE("manual_seed: starts the default generator afresh, one per thread") {
  manual_seed(9);
  const double first = default_rng().normal();  // leaves a spare normal behind
  manual_seed(9);
  CHECK(default_rng().normal() == first);
  manual_seed(9);
  CHECK(default_rng().bits() == Rng(9).bits());
  std::uint64_t elsewhere = 0;
  std::thread([&] { elsewhere = default_rng().bits(); }).join();
  CHECK(elsewhere == Rng(0).bits());
  manual_seed(0);
}

#include <taper/autodiff/random.hpp>

#include <algorithm>
#include <bit>
#include <cmath>

#include <taper/autodiff/error.hpp>

namespace taper {

Rng::Rng(std::uint64_t seed, std::uint64_t stream) {
  // SplitMix64 (Steele, Lea and Flood, 2014); the stream is spread over all bits before it enters the seed.
  std::uint64_t x = seed ^ (stream * 0xd1342543de82ef95ULL);
  for (std::uint64_t& word : state_) {
    x += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = x;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    word = z ^ (z >> 31);
  }
}

Rng::State Rng::state() const {
  const double spare = has_spare_ ? spare_ : 0;
  return {state_[0], state_[1], state_[2], state_[3], std::bit_cast<std::uint64_t>(spare), has_spare_};
}

void Rng::set_state(const State& state) {
  const double spare = std::bit_cast<double>(state[4]);
  // From four zeros nothing but zeros follow.
  if (std::all_of(state.begin(), state.begin() + 4, [](std::uint64_t word) { return word == 0; }) ||
      !std::isfinite(spare) || state[5] > 1) {
    throw Error("rng", "a state that no generator has: expected one that was taken from a generator");
  }
  std::copy_n(state.begin(), 4, state_.begin());
  spare_ = spare;
  has_spare_ = state[5] == 1;
}

// Not in the header: user code compiled for a processor that can would round product and sum only once, as
// this file is told not to.
double Rng::uniform(double low, double high) {
  return low + (high - low) * uniform();
}

double Rng::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  double x, y, square;
  do {
    x = uniform(-1, 1);
    y = uniform(-1, 1);
    square = x * x + y * y;
  } while (square >= 1 || square == 0);
  const double scale = std::sqrt(-2 * std::log(square) / square);
  spare_ = y * scale;
  has_spare_ = true;
  return x * scale;
}

Index Rng::below(Index count) {
  // Draws past the largest multiple of count are thrown away, so that no remainder is favoured.
  const auto n = static_cast<std::uint64_t>(count);
  const std::uint64_t limit = (~std::uint64_t{0} / n) * n;
  std::uint64_t draw;
  do {
    draw = bits();
  } while (draw >= limit);
  return static_cast<Index>(draw % n);
}

namespace {
thread_local Rng weights(0), tapes(0, 1);
}  // namespace

void manual_seed(std::uint64_t seed) {
  weights = Rng(seed);
  tapes = Rng(seed, 1);
}

Rng& default_rng() {
  return weights;
}

RandomState random_state() {
  return {weights.state(), tapes.state()};
}

void set_random_state(const RandomState& state) {
  Rng other = weights;
  other.set_state(state.weights);
  tapes.set_state(state.tapes);
  weights = other;
}

std::uint64_t next_tape_seed() {
  return tapes.bits();
}

}  // namespace taper

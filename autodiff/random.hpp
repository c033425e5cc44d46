#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include <taper/autodiff/shape.hpp>

namespace taper {

/// The library's random numbers: xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number
/// generators", 2021), seeded through SplitMix64. All draws are computed by our own code, compiled once with
/// the library, so the same seed gives the same numbers on every platform: bits, uniform and below to the
/// bit, normal up to the last bit of the platform's log.
class Rng {
 public:
  /// `stream` separates generators of one seed, for example one per layer.
  explicit Rng(std::uint64_t seed, std::uint64_t stream = 0);

  /// What all later draws depend on: four words of the generator, the bits of a normal number in reserve, and
  /// whether there is one, 1 or 0.
  using State = std::array<std::uint64_t, 6>;
  State state() const;
  /// Goes on from a state that was taken before. Throws Error for one that no generator has.
  void set_state(const State& state);

  /// 64 random bits.
  std::uint64_t bits() {
    const std::uint64_t sum = rotate(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return sum;
  }
  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }
  /// Uniform in [low, high).
  double uniform(double low, double high);
  /// Normal with mean 0 and variance 1 (the polar method of Marsaglia and Bray, 1964).
  double normal();
  /// A whole number in [0, count), every one equally likely. `count` is at least 1.
  Index below(Index count);

  /// Puts [first, last) in random order (Fisher-Yates).
  template <class Iterator> void shuffle(Iterator first, Iterator last) {
    for (Index left = last - first; left > 1; --left) std::swap(first[left - 1], first[below(left)]);
  }

 private:
  static std::uint64_t rotate(std::uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }
  std::array<std::uint64_t, 4> state_;
  double spare_ = 0;  // normals come in pairs
  bool has_spare_ = false;
};

/// Starts the generators that initial weights and the seeds of new tapes are drawn from afresh; they start at
/// seed 0. Each thread has its own.
void manual_seed(std::uint64_t seed);

/// The generator of initial weights.
Rng& default_rng();

/// Where these generators of this thread are.
struct RandomState {
  Rng::State weights, tapes;

  friend bool operator==(const RandomState&, const RandomState&) = default;
};
RandomState random_state();
/// Goes on from there. Throws Error like Rng::set_state; nothing has changed then.
void set_random_state(const RandomState& state);

/// Puts the generators of this thread back, at its end, where they were at its beginning: for what looks at a
/// model and draws no random numbers that anybody sees.
class KeepRandomState {
 public:
  KeepRandomState() = default;
  KeepRandomState(const KeepRandomState&) = delete;
  KeepRandomState& operator=(const KeepRandomState&) = delete;
  ~KeepRandomState() { set_random_state(state_); }

 private:
  RandomState state_ = random_state();
};

/// The seed of a new tape: a stream of its own, so that recording does not change which weights come next.
std::uint64_t next_tape_seed();

}  // namespace taper

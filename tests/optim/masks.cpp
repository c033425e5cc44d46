#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/sgd.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "../nn/random_mask.hpp"

using namespace taper;

namespace {

template <class T> using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

template <class T> bool same(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

/// Numbers that arithmetic would not leave as they are.
template <class T> T odd(Rng& rng) {
  using Limits = std::numeric_limits<T>;
  const Bits<T> payload = std::bit_cast<Bits<T>>(Limits::quiet_NaN()) | static_cast<Bits<T>>(rng.below(1000));
  const T choices[] = {std::bit_cast<T>(payload),
                       -Limits::quiet_NaN(),
                       Limits::infinity(),
                       -Limits::infinity(),
                       Limits::denorm_min(),
                       -Limits::denorm_min(),
                       T{-0.0},
                       Limits::max(),
                       static_cast<T>(rng.normal()),
                       Limits::min() / 2,
                       -Limits::min() * T{3},
                       T{0}};
  return choices[rng.below(std::size(choices))];
}

/// Numbers in several parameters, seen as one vector.
template <class T> class Numbers {
 public:
  explicit Numbers(const std::vector<Index>& sizes) {
    for (const Index size : sizes) pieces_.emplace_back(Shape{size});
    const nn::Parameters<T> all = parameters();
    block_ = all.block();
    for (const auto& entry : all.entries()) {
      for (Index i = 0; i < entry.shape.size(); ++i) places_.push_back(entry.offset + i);
    }
  }

  /// Named p0, p1, ...
  nn::Parameters<T> parameters() {
    std::vector<std::pair<std::string, nn::Parameter<T>*>> leaves;
    for (std::size_t p = 0; p < pieces_.size(); ++p)
      leaves.emplace_back('p' + std::to_string(p), &pieces_[p]);
    return nn::Parameters<T>(leaves);
  }
  Index size() const { return static_cast<Index>(places_.size()); }
  T& value(Index i) { return block_->values.data()[places_[static_cast<std::size_t>(i)]]; }
  T& gradient(Index i) { return block_->gradients.data()[places_[static_cast<std::size_t>(i)]]; }

  /// Frozen and free from now on are what the mask says.
  void follow(const Mask& mask) {
    Index begin = 0;
    for (nn::Parameter<T>& piece : pieces_) {
      const Mask part = Mask::free(piece.shape(), [&](Index i) { return mask.is_free(begin + i); });
      piece.freeze(part);
      piece.thaw(part);
      begin += piece.shape().size();
    }
  }

 private:
  std::vector<nn::Parameter<T>> pieces_;
  std::shared_ptr<Block<T>> block_;
  std::vector<Index> places_;
};

template <class T> struct Rule {
  std::string name;
  std::function<std::unique_ptr<optim::Optimizer<T>>(nn::Parameters<T>)> make;
  bool plain = false;  // it keeps no state
};

template <class T> Rule<T> sgd(const std::string& name, const optim::SGDOptions& options) {
  return {"SGD, " + name,
          [options](nn::Parameters<T> p) { return std::make_unique<optim::SGD<T>>(std::move(p), options); },
          options.momentum == 0};
}
template <class T> Rule<T> adam(const std::string& name, const optim::AdamOptions& options) {
  return {"Adam, " + name,
          [options](nn::Parameters<T> p) { return std::make_unique<optim::Adam<T>>(std::move(p), options); }};
}
template <class T> Rule<T> adamw(const std::string& name, const optim::AdamWOptions& options) {
  return {"AdamW, " + name, [options](nn::Parameters<T> p) {
            return std::make_unique<optim::AdamW<T>>(std::move(p), options);
          }};
}

template <class T> std::vector<Rule<T>> rules() {
  return {
      sgd<T>("plain", {.lr = 0.1}),
      sgd<T>("decay", {.lr = 0.1, .weight_decay = 0.1}),
      sgd<T>("momentum", {.lr = 0.03, .momentum = 0.9}),
      sgd<T>("momentum and decay", {.lr = 0.03, .momentum = 0.8, .weight_decay = 0.05}),
      sgd<T>("dampening", {.lr = 0.05, .momentum = 0.9, .dampening = 0.3}),
      sgd<T>("dampening and decay", {.lr = 0.05, .momentum = 0.9, .dampening = 0.7, .weight_decay = 0.1}),
      sgd<T>("Nesterov", {.lr = 0.03, .momentum = 0.9, .nesterov = true}),
      sgd<T>("Nesterov and decay", {.lr = 0.03, .momentum = 0.7, .weight_decay = 0.1, .nesterov = true}),
      adam<T>("plain", {.lr = 0.05}),
      adam<T>("coupled decay", {.lr = 0.05, .weight_decay = 0.3}),
      adam<T>("short memory", {.lr = 0.02, .beta1 = 0.5, .beta2 = 0.9, .weight_decay = 0.01}),
      adam<T>("no first moment", {.lr = 0.02, .beta1 = 0, .beta2 = 0.99}),
      adamw<T>("decay", {.lr = 0.05, .weight_decay = 0.2}),
  };
}

/// 1/2 x'Ax - b'x with a tridiagonal A, all of whose rows are dominated by the diagonal.
class Tridiagonal {
 public:
  Tridiagonal(Rng& rng, Index n) : diagonal_(n), b_(n) {
    for (double& entry : diagonal_) entry = rng.uniform(1, 4);
    for (double& entry : b_) entry = rng.normal();
  }
  Eigen::VectorXd gradient(const Eigen::VectorXd& x) const {
    Eigen::VectorXd result(x.size());
    for (Index i = 0; i < x.size(); ++i) {
      const double before = i > 0 ? x[i - 1] : 0, after = i + 1 < x.size() ? x[i + 1] : 0;
      result[i] = diagonal_[i] * x[i] - 0.45 * (before + after) - b_[i];
    }
    return result;
  }

 private:
  Eigen::VectorXd diagonal_, b_;
};

/// Of each piece, how many are free.
std::vector<Index> free_sizes(const std::vector<Index>& sizes, const Mask& mask) {
  std::vector<Index> result;
  Index begin = 0;
  for (const Index size : sizes) {
    Index count = 0;
    for (Index i = begin; i < begin + size; ++i) count += mask.is_free(i);
    result.push_back(count);
    begin += size;
  }
  return result;
}

Index total(const std::vector<Index>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), Index{0});
}

double lr_factor(int step) {
  return 0.6 + 0.4 * std::cos(0.3 * step);
}

/// Runs a rule with a mask on all elements, and without one on those that are free alone, each from gradients
/// at its own iterates; the frozen ones are constants there. Returns the first step after which the two are
/// not the same to the bit or a frozen number has changed; -1 when there is none.
template <class T>
int first_difference(const Rule<T>& rule, Rng& rng, const std::vector<Index>& sizes,
                     const std::vector<Index>& small_sizes, const Mask& mask, bool clipped) {
  const Tridiagonal problem(rng, mask.size());
  Numbers<T> full(sizes), small(small_sizes);
  const std::vector<Index> at = mask.free_positions();
  REQUIRE(static_cast<Index>(at.size()) == small.size());
  std::vector<T> start;
  for (Index i = 0; i < full.size(); ++i) {
    start.push_back(mask.is_free(i) ? static_cast<T>(rng.normal()) : odd<T>(rng));
    full.value(i) = start.back();
  }
  const auto begin = [&](Index i) { return start[static_cast<std::size_t>(i)]; };
  for (Index k = 0; k < small.size(); ++k) small.value(k) = begin(at[static_cast<std::size_t>(k)]);
  Eigen::VectorXd constants(full.size());
  for (Index i = 0; i < full.size(); ++i) {
    const double c = static_cast<double>(begin(i));
    constants[i] = std::abs(c) < 10 && std::abs(c) > 1e-9 ? c : 0.5;
  }

  const bool early = rng.uniform() < 0.5;  // masked before the optimizer is built, or after
  if (early) full.follow(mask);
  const auto on_full = rule.make(full.parameters()), on_small = rule.make(small.parameters());
  if (!early) full.follow(mask);
  if (clipped) {  // at first; later gradients are smaller
    Eigen::VectorXd x = constants;
    for (const Index i : at) x[i] = static_cast<double>(full.value(i));
    double squares = 0;
    const Eigen::VectorXd g = problem.gradient(x);
    for (const Index i : at) squares += g[i] * g[i];
    const double most = squares > 0 ? 0.6 * std::sqrt(squares) : 1;
    on_full->clip_norm(most), on_small->clip_norm(most);
  }
  for (int t = 0; t < 60; ++t) {
    Eigen::VectorXd x = constants, y = constants;
    for (Index k = 0; k < small.size(); ++k) {
      const Index i = at[static_cast<std::size_t>(k)];
      x[i] = static_cast<double>(full.value(i));
      y[i] = static_cast<double>(small.value(k));
    }
    const Eigen::VectorXd g = problem.gradient(x), h = problem.gradient(y);
    for (Index i = 0; i < full.size(); ++i) {
      full.gradient(i) = mask.is_free(i) ? static_cast<T>(g[i]) : odd<T>(rng);
    }
    for (Index k = 0; k < small.size(); ++k) {
      small.gradient(k) = static_cast<T>(h[at[static_cast<std::size_t>(k)]]);
    }
    on_full->set_lr_factor(lr_factor(t)), on_small->set_lr_factor(lr_factor(t));
    on_full->step(), on_small->step();
    for (Index k = 0; k < small.size(); ++k) {
      const T value = small.value(k);
      if (!std::isfinite(value) || !same(full.value(at[static_cast<std::size_t>(k)]), value)) return t;
    }
    for (Index i = 0; i < full.size(); ++i) {
      if (mask.is_frozen(i) && !same(full.value(i), begin(i))) return t;
    }
  }
  Index moved = 0;
  for (const Index i : at) moved += !same(full.value(i), begin(i));
  CHECK(moved == static_cast<Index>(at.size()));
  return -1;
}

/// Each number with an optimizer of its own, new at each thaw: what the documentation promises of masks that
/// change on the way. Returns the first step after which a number differs from that; -1 when there is none.
template <class T>
int first_difference_from_single(const Rule<T>& rule, Rng& rng, const std::vector<Index>& sizes, int steps,
                                 double share_of_changes, const std::vector<Rule<T>>& rules_of_pieces = {}) {
  struct Single {
    Numbers<T> numbers{{1}};
    std::unique_ptr<optim::Optimizer<T>> optimizer;
  };
  Numbers<T> all(sizes);
  const Index n = all.size();
  const auto optimizer = rule.make(all.parameters());
  std::vector<Rule<T>> own;  // the rule of each number
  for (std::size_t p = 0; p < sizes.size(); ++p) {
    own.insert(own.end(), static_cast<std::size_t>(sizes[p]),
               rules_of_pieces.empty() ? rule : rules_of_pieces[p]);
  }
  std::vector<std::unique_ptr<Single>> singles(static_cast<std::size_t>(n));
  std::vector<T> expected(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) {
    all.value(i) = expected[static_cast<std::size_t>(i)] = static_cast<T>(rng.normal());
  }
  Mask mask = random_mask(rng, {n}, 0.7);
  for (int t = 0; t < steps; ++t) {
    if (t > 0) {
      mask = Mask::free({n}, [&, before = mask](Index i) {
        return before.is_free(i) != (rng.uniform() < share_of_changes);
      });
    }
    if (t % 7 != 3) {
      all.follow(mask);
    } else {  // by way of calls that overlap
      all.follow(mask & random_mask(rng, {n}, 0.5));
      all.follow(mask);
      all.follow(mask);
    }
    optimizer->set_lr_factor(lr_factor(t));
    for (Index i = 0; i < n; ++i) {
      auto& single = singles[static_cast<std::size_t>(i)];
      T& value = expected[static_cast<std::size_t>(i)];
      if (mask.is_frozen(i)) {
        single.reset();
        all.gradient(i) = odd<T>(rng);
        continue;
      }
      if (!single) {
        single = std::make_unique<Single>();
        single->numbers.value(0) = value;
        single->optimizer = own[static_cast<std::size_t>(i)].make(single->numbers.parameters());
      }
      all.gradient(i) = single->numbers.gradient(0) = static_cast<T>(rng.normal());
      single->optimizer->set_lr_factor(lr_factor(t));
      single->optimizer->step();
      value = single->numbers.value(0);
    }
    optimizer->step();
    for (Index i = 0; i < n; ++i) {
      if (!same(all.value(i), expected[static_cast<std::size_t>(i)])) return t;
    }
  }
  return -1;
}

/// An optimizer that knows nothing of masks: it moves by the signs of the gradients.
class Signs : public optim::Optimizer<double> {
 public:
  explicit Signs(nn::Parameters<double> parameters)
      : Optimizer(std::move(parameters), "signs", 0.125, 0, {}) {}

 protected:
  void update(const Segment& segment, double lr, const kernels::Clipping&) override {
    for (Index i = 0; i < segment.size; ++i) {
      const double g = gradients(segment)[i];
      values(segment)[i] -= g > 0 ? lr : g < 0 ? -lr : 0;
    }
  }
};

/// One that heeds them, counts the steps of each element since it last started, and notes what it is told.
class Ages : public optim::Optimizer<double> {
 public:
  explicit Ages(nn::Parameters<double> parameters)
      : Optimizer(std::move(parameters), "ages", 1, 0, {}, {"age"}) {}

  std::vector<Index> frozen_last, thawed_last;

 protected:
  bool supports_frozen() const override { return true; }
  void update(const Segment& segment, double, const kernels::Clipping&) override {
    const kernels::EntryState* const entries = entry_states(segment);
    for (Index i = 0; i < segment.size; ++i) {
      double& age = state(0, segment)[i];
      if (entries != nullptr && entries[i] == kernels::EntryState::frozen) continue;
      if (entries != nullptr && entries[i] == kernels::EntryState::restarted) CHECK(age == 0);
      values(segment)[i] = ++age;
    }
  }
  void reset_state(std::span<const Index> frozen, std::span<const Index> thawed) override {
    frozen_last.assign(frozen.begin(), frozen.end());
    thawed_last.assign(thawed.begin(), thawed.end());
  }
};

}  // namespace

TEST_CASE_TEMPLATE("Masks: a masked run is the run of the smaller problem, to the bit", T, float, double) {
  Rng rng(1);
  for (const Rule<T>& rule : rules<T>()) {
    for (const bool clipped : {false, true}) {
      CAPTURE(rule.name);
      CAPTURE(clipped);
      for (const Index n : {1, 2, 8, 19, 40, 65}) {
        for (const double share : {0.1, 0.5, 0.9}) {
          CAPTURE(n);
          CAPTURE(share);
          const Mask mask = random_mask(rng, {n}, share);
          CHECK(first_difference(rule, rng, {n}, {mask.count_free()}, mask, clipped) == -1);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("Masks: the same with several parameters, together or packed into one", T, float, double) {
  Rng rng(2);
  const std::vector<Index> sizes{1, 7, 33, 300};
  const Index n = total(sizes);
  for (const Rule<T>& rule : rules<T>()) {
    for (const bool clipped : {false, true}) {
      CAPTURE(rule.name);
      CAPTURE(clipped);
      const Mask mask = random_mask(rng, {n}, rng.uniform(0.2, 0.8));
      CHECK(first_difference(rule, rng, sizes, free_sizes(sizes, mask), mask, clipped) == -1);
      const Mask without_one = mask - Mask::free({n}, [](Index i) { return 8 <= i && i < 41; });
      CHECK(first_difference(rule, rng, sizes, {without_one.count_free()}, without_one, clipped) == -1);
    }
  }
}

TEST_CASE_TEMPLATE("Masks: the same for groups with learning rates and decays of their own", T, float,
                   double) {
  Rng rng(3);
  const std::vector<optim::Group> groups{{.match = "p1", .weight_decay = 0},
                                         {.match = "p[02]", .lr = 0.01, .weight_decay = 0.2}};
  const std::vector<Rule<T>> grouped{
      sgd<T>("groups", {.lr = 0.05, .momentum = 0.9, .weight_decay = 0.1, .groups = groups}),
      adam<T>("groups", {.lr = 0.05, .weight_decay = 0.1, .groups = groups}),
      adamw<T>("groups", {.lr = 0.05, .weight_decay = 0.1, .groups = groups})};
  const std::vector<Index> sizes{5, 18, 31, 3};
  for (const Rule<T>& rule : grouped) {
    CAPTURE(rule.name);
    for (const bool clipped : {false, true}) {
      const Mask mask = random_mask(rng, {total(sizes)}, 0.6);
      CHECK(first_difference(rule, rng, sizes, free_sizes(sizes, mask), mask, clipped) == -1);
    }
  }
}

TEST_CASE_TEMPLATE("Masks: the same on long vectors, where threads share the work", T, float, double) {
  Rng rng(4);
  const std::vector<Index> sizes{40001, 33000};
  const Index n = total(sizes);
  for (const Rule<T>& rule : {sgd<T>("", {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.1}),
                              adam<T>("", {.lr = 0.1, .weight_decay = 0.1})}) {
    CAPTURE(rule.name);
    const Mask mask = random_mask(rng, {n}, 0.6);
    Numbers<T> full(sizes), small({mask.count_free()});
    const std::vector<Index> at = mask.free_positions();
    full.follow(mask);
    for (Index i = 0; i < n; ++i) full.value(i) = static_cast<T>(mask.is_free(i) ? rng.normal() : 17);
    for (Index k = 0; k < small.size(); ++k) small.value(k) = full.value(at[static_cast<std::size_t>(k)]);
    const auto on_full = rule.make(full.parameters()), on_small = rule.make(small.parameters());
    on_full->clip_norm(120), on_small->clip_norm(120);  // of some 210
    Index wrong = 0;
    for (int t = 0; t < 4; ++t) {
      for (Index i = 0; i < n; ++i) {
        full.gradient(i) = mask.is_free(i) ? full.value(i) + static_cast<T>(rng.normal()) : odd<T>(rng);
      }
      for (Index k = 0; k < small.size(); ++k) {
        small.gradient(k) = full.gradient(at[static_cast<std::size_t>(k)]);
      }
      on_full->step(), on_small->step();
      for (Index k = 0; k < small.size(); ++k) {
        wrong += !same(full.value(at[static_cast<std::size_t>(k)]), small.value(k));
      }
      for (Index i = 0; i < n; ++i) wrong += mask.is_frozen(i) && full.value(i) != 17;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE_TEMPLATE("Masks: clipping sees the entries that are free now, as masks change", T, float, double) {
  Rng rng(5);
  const std::vector<Index> sizes{3, 50, 17};
  const Index n = total(sizes);
  for (const Rule<T>& rule : rules<T>()) {
    if (!rule.plain) continue;  // a new optimizer on the smaller problem in each step
    CAPTURE(rule.name);
    Numbers<T> full(sizes);
    for (Index i = 0; i < n; ++i) full.value(i) = static_cast<T>(rng.normal());
    const auto on_full = rule.make(full.parameters());
    on_full->clip_norm(4);
    int wrong = 0;
    for (int t = 0; t < 60; ++t) {
      const Mask mask = random_mask(rng, {n}, rng.uniform());
      full.follow(mask);
      std::vector<T> before;
      for (Index i = 0; i < n; ++i) before.push_back(full.value(i));
      Numbers<T> small({mask.count_free()});
      const auto on_small = rule.make(small.parameters());
      on_small->clip_norm(4);
      const std::vector<Index> at = mask.free_positions();
      for (Index i = 0; i < n; ++i)
        full.gradient(i) = mask.is_free(i) ? static_cast<T>(rng.normal()) : odd<T>(rng);
      for (Index k = 0; k < small.size(); ++k) {
        small.value(k) = full.value(at[static_cast<std::size_t>(k)]);
        small.gradient(k) = full.gradient(at[static_cast<std::size_t>(k)]);
      }
      on_full->step(), on_small->step();
      for (Index k = 0; k < small.size(); ++k) {
        wrong += !same(full.value(at[static_cast<std::size_t>(k)]), small.value(k));
      }
      for (Index i = 0; i < n; ++i) {
        wrong += mask.is_frozen(i) && !same(full.value(i), before[static_cast<std::size_t>(i)]);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE_TEMPLATE("Masks: with everything frozen nothing changes", T, float, double) {
  Rng rng(6);
  for (const Rule<T>& rule : rules<T>()) {
    for (const bool clipped : {false, true}) {
      CAPTURE(rule.name);
      CAPTURE(clipped);
      const std::vector<Index> sizes{1, 7, 33};
      const Mask none = Mask::all_frozen({total(sizes)});
      CHECK(first_difference(rule, rng, sizes, free_sizes(sizes, none), none, clipped) == -1);
    }
  }
}

TEST_CASE_TEMPLATE("Masks: with nothing frozen any more the run is the unmasked one", T, float, double) {
  Rng rng(7);
  const std::vector<Index> sizes{1, 7, 33};
  const Index n = total(sizes);
  for (const Rule<T>& rule : rules<T>()) {
    CAPTURE(rule.name);
    Numbers<T> thawed(sizes), plain(sizes);
    const auto on_thawed = rule.make(thawed.parameters()), on_plain = rule.make(plain.parameters());
    for (Index i = 0; i < n; ++i) thawed.value(i) = plain.value(i) = static_cast<T>(rng.normal());
    thawed.follow(random_mask(rng, {n}, 0.5));
    thawed.follow(Mask::all_free({n}));
    on_thawed->clip_norm(3), on_plain->clip_norm(3);
    int wrong = 0;
    for (int t = 0; t < 60; ++t) {
      for (Index i = 0; i < n; ++i) thawed.gradient(i) = plain.gradient(i) = static_cast<T>(rng.normal());
      on_thawed->step(), on_plain->step();
      for (Index i = 0; i < n; ++i) wrong += !same(thawed.value(i), plain.value(i));
    }
    CHECK(wrong == 0);
    CHECK(on_thawed->steps() == 60);
  }
}

TEST_CASE_TEMPLATE("Masks: what is frozen before the first step and thawed before it, too", T, float,
                   double) {
  Rng rng(8);
  for (const Rule<T>& rule : rules<T>()) {
    CAPTURE(rule.name);
    Numbers<T> a({9}), b({9});
    a.follow(Mask::all_frozen({9}));
    const auto on_a = rule.make(a.parameters()), on_b = rule.make(b.parameters());
    a.follow(Mask::all_free({9}));
    int wrong = 0;
    for (int t = 0; t < 20; ++t) {
      for (Index i = 0; i < 9; ++i) a.gradient(i) = b.gradient(i) = static_cast<T>(rng.normal());
      on_a->step(), on_b->step();
      for (Index i = 0; i < 9; ++i) wrong += !same(a.value(i), b.value(i));
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE_TEMPLATE(
    "Masks: an entry that is thawed starts anew, and all others go on as if nothing had happened", T, float,
    double) {
  for (const Rule<T>& rule : rules<T>()) {
    CAPTURE(rule.name);
    for (const Index k : {1, 2, 10}) {  // frozen at once, or after a step; thawed after k steps; frozen again
      for (const bool from_start : {false, true}) {
        CAPTURE(k);
        CAPTURE(from_start);
        Rng rng(9);
        constexpr Index n = 20, one = 13;
        Numbers<T> masked(std::vector<Index>{4, 16}), never({n}), single({1});
        const auto on_masked = rule.make(masked.parameters()), on_never = rule.make(never.parameters());
        std::unique_ptr<optim::Optimizer<T>> on_single;
        for (Index i = 0; i < n; ++i) masked.value(i) = never.value(i) = static_cast<T>(rng.normal());
        const Mask without = Mask::frozen({n}, {one});
        if (from_start) masked.follow(without);
        int wrong = 0;
        for (Index t = 0; t < 4 * k + 10; ++t) {
          const Index phase = t < 1 ? 0 : (t - 1) / k;  // 0: frozen from its second step on, 1: thawed, ...
          const bool frozen = (t == 0 && from_start) || (t > 0 && (phase == 0 || phase == 2));
          if (t > 0) masked.follow(frozen ? without : Mask::all_free({n}));
          if (frozen || t == 0) {
            on_single.reset();
            single.value(0) = masked.value(one);
          }
          if (!frozen && !on_single) on_single = rule.make(single.parameters());
          for (Index i = 0; i < n; ++i) masked.gradient(i) = never.gradient(i) = static_cast<T>(rng.normal());
          single.gradient(0) = masked.gradient(one);
          if (frozen) masked.gradient(one) = odd<T>(rng);
          on_masked->step(), on_never->step();
          if (on_single) on_single->step();
          for (Index i = 0; i < n; ++i) {
            wrong += !same(masked.value(i), i == one ? single.value(0) : never.value(i));
          }
        }
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE_TEMPLATE("Masks: with masks that change at random, each entry has its own history", T, float,
                   double) {
  Rng rng(10);
  for (const Rule<T>& rule : rules<T>()) {
    CAPTURE(rule.name);
    CHECK(first_difference_from_single(rule, rng, {1, 7, 33}, 120, 0.05) == -1);
    CHECK(first_difference_from_single(rule, rng, {5}, 120, 0.5) == -1);
  }
}

TEST_CASE_TEMPLATE("Masks: the same in groups with learning rates and decays of their own", T, float,
                   double) {
  Rng rng(12);
  const std::vector<Index> sizes{9, 18, 31};
  const std::vector<optim::Group> groups{{.match = "p0", .lr = 0.3}, {.match = "p1", .weight_decay = 0.2}};
  CHECK(first_difference_from_single<T>(
            adam<T>("", {.lr = 0.05, .groups = groups}), rng, sizes, 120, 0.05,
            {adam<T>("", {.lr = 0.3}), adam<T>("", {.lr = 0.05, .weight_decay = 0.2}),
             adam<T>("", {.lr = 0.05})}) == -1);
  CHECK(first_difference_from_single<T>(sgd<T>("", {.lr = 0.05, .momentum = 0.9, .groups = groups}), rng,
                                        sizes, 120, 0.05,
                                        {sgd<T>("", {.lr = 0.3, .momentum = 0.9}),
                                         sgd<T>("", {.lr = 0.05, .momentum = 0.9, .weight_decay = 0.2}),
                                         sgd<T>("", {.lr = 0.05, .momentum = 0.9})}) == -1);
}

TEST_CASE_TEMPLATE("Masks: the same in a part of a model that lies behind another", T, float, double) {
  Rng rng(13);
  for (const Rule<T>& rule : rules<T>()) {
    CAPTURE(rule.name);
    nn::Sequential<T> model(nn::Linear<T>(3, 7), nn::Linear<T>(7, 2));
    nn::Linear<T> alone = static_cast<nn::Linear<T>&>(model[1]);
    model.parameters();
    const auto on_part = rule.make(model[1].parameters()), on_alone = rule.make(alone.parameters());
    nn::Parameter<T>& weight = static_cast<nn::Linear<T>&>(model[1]).weight;
    int wrong = 0;
    for (int t = 0; t < 60; ++t) {
      const Mask mask = random_mask(rng, {14}, 0.7).reshaped({2, 7});
      for (nn::Parameter<T>* w : {&weight, &alone.weight}) w->freeze(mask), w->thaw(mask);
      t % 2 == 0 ? model.freeze("0.weight") : model.thaw("0.weight");  // no concern of this optimizer
      for (Index i = 0; i < 14; ++i) {
        const T g = static_cast<T>(rng.normal());
        weight.block()->gradients.data()[weight.offset() + i] = g;
        alone.weight.block()->gradients.data()[alone.weight.offset() + i] = g;
      }
      on_part->step(), on_alone->step();
      wrong += !same_bits<T, T>(weight.value(), alone.weight.value());
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE_TEMPLATE("Masks: thousands of changes, until the corrections of Adam have long become 1", T, float,
                   double) {
  Rng rng(11);
  CHECK(
      first_difference_from_single(adam<T>("", {.lr = 0.01, .beta1 = 0.5, .beta2 = 0.9, .weight_decay = 0.1}),
                                   rng, {1, 7, 32}, 4000, 0.01) == -1);
  CHECK(first_difference_from_single(adamw<T>("", {.lr = 0.01, .beta1 = 0.5, .beta2 = 0.8}), rng, {20}, 3000,
                                     0.02) == -1);
  CHECK(first_difference_from_single(adam<T>("", {.lr = 0.01, .beta1 = 0, .beta2 = 0}), rng, {20}, 1000,
                                     0.05) == -1);
  // Long rests between the changes: every cohort is old when the next one comes.
  CHECK(first_difference_from_single(adam<T>("", {.lr = 0.01, .beta1 = 0.1, .beta2 = 0.2}), rng, {30}, 3000,
                                     0.001) == -1);
}

TEST_CASE("Masks: freezing in another part of the model is no concern of an optimizer") {
  nn::Sequential<double> model(nn::Linear<double>(3, 4), nn::Linear<double>(4, 2));
  const nn::Parameters<double> all = model.parameters();
  const std::size_t size = all.block()->gradients.size();
  std::fill_n(all.block()->gradients.data(), size, 1.0);
  optim::Adam<double> optimizer(model[1].parameters(), {.lr = 0.5});
  const Tensor<double> start(all.value(all.entry("1.weight"))), first(all.value(all.entry("0.weight")));
  optimizer.step();
  const Tensor<double> once(all.value(all.entry("1.weight")));
  model.freeze("0.*");
  optimizer.step();
  model.thaw("0.*");
  optimizer.step();
  for (Index i = 0; i < start.size();
       ++i) {  // with a constant gradient each step is as long as the learning rate
    CHECK(all.value(all.entry("1.weight"))[i] == doctest::Approx(start[i] - 1.5).epsilon(1e-6));
  }
  CHECK(same_bits<double, const double>(all.value(all.entry("0.weight")), first));
  Signs signs(model[1].parameters());
  model.freeze("0.*");
  signs.step();
}

TEST_CASE("Masks: two optimizers of one model see the same masks") {
  nn::Linear<double> layer(4, 3);
  const nn::Parameters<double> all = layer.parameters();
  optim::Adam<double> adam(all, {.lr = 0.1});
  optim::SGD<double> sgd(all, {.lr = 0.1, .momentum = 0.5});
  const Tensor<double> start(layer.weight.value());
  const Mask mask = Mask::frozen({3, 4}, {0, 5, 11});
  layer.weight.freeze(mask);
  std::fill_n(all.block()->gradients.data(), all.block()->gradients.size(), 1.0);
  for (int t = 0; t < 3; ++t) adam.step(), sgd.step();
  for (Index i = 0; i < 12; ++i) CHECK(same(layer.weight.value()[i], start[i]) == mask.is_frozen(i));
}

TEST_CASE(
    "Masks: an optimizer that does not support frozen entries refuses them, and goes on once they are "
    "thawed") {
  for (const bool at_first : {true, false}) {
    CAPTURE(at_first);
    nn::Linear<double> layer(3, 2);
    const nn::Parameters<double> all = layer.parameters();
    std::fill_n(all.block()->gradients.data(), all.block()->gradients.size(), 1.0);
    if (at_first) layer.freeze("bias");
    Signs optimizer(all);
    if (!at_first) {
      optimizer.step();
      layer.bias->freeze(Mask::frozen({2}, {1}));
    }
    const Tensor<double> weight(layer.weight.value()), bias(layer.bias->value());
    for (int again = 0; again < 2; ++again) {
      CHECK_ERROR(optimizer.step(), "[signs]", "frozen entries", "does not support", "thaw them");
    }
    CHECK(optimizer.steps() == (at_first ? 0 : 1));
    CHECK(same_bits<double, const double>(layer.weight.value(), weight));
    CHECK(same_bits<double, const double>(layer.bias->value(), bias));
    layer.thaw();
    optimizer.step();
    optimizer.step();
    CHECK(optimizer.steps() == (at_first ? 2 : 3));
    for (Index i = 0; i < 2; ++i) CHECK(layer.bias->value()[i] == bias[i] - 0.25);
  }
}

TEST_CASE("Masks: an optimizer of one's own that supports frozen entries is told which start anew") {
  nn::Sequential<double> model(nn::Linear<double>(3, 2), nn::Linear<double>(2, 5));
  model.parameters();  // the part below starts behind the first layer
  nn::Parameter<double>& weight = static_cast<nn::Linear<double>&>(model[1]).weight;
  Ages optimizer(model[1].parameters());
  const auto ages = [&] { return std::vector<double>(weight.value().begin(), weight.value().end()); };
  for (int t = 0; t < 3; ++t) optimizer.step();
  CHECK(ages() == std::vector<double>(10, 3));
  weight.freeze(Mask::frozen({5, 2}, {2, 9}));
  optimizer.step();
  optimizer.step();
  CHECK(ages() == std::vector<double>{5, 5, 3, 5, 5, 5, 5, 5, 5, 3});
  CHECK(optimizer.frozen_last == std::vector<Index>{2, 9});  // from the beginning of its own part
  CHECK(optimizer.thawed_last.empty());
  const optim::OptimizerState<double> state = optimizer.state();
  for (const Index i : {2, 9}) CHECK(state.entry("weight").tensors[0][i] == 0);
  weight.thaw(Mask::free({5, 2}, {9}));
  optimizer.step();
  CHECK(ages() == std::vector<double>{6, 6, 3, 6, 6, 6, 6, 6, 6, 1});
  CHECK(optimizer.frozen_last.empty());
  CHECK(optimizer.thawed_last == std::vector<Index>{9});
  weight.thaw();
  optimizer.step();
  optimizer.step();
  CHECK(ages() == std::vector<double>{8, 8, 2, 8, 8, 8, 8, 8, 8, 3});
}

// An epoch of a factorization machine on 100,000 ratings of 943 users and 1682 items with rank 8, and the
// whole of what sparse_fm does with them, from 32 latent dimensions that are offered to the machine that is
// kept. The limit is one pass of the plain loop that no training can do without: for each rating both rows
// are read, multiplied, and moved. One thread.

#include <memory>
#include <taper/data/ratings.hpp>
#include <taper/nn/layers/factorization_machine.hpp>
#include <taper/taper.hpp>

#include "../apps/rating_fit.hpp"
#include "ratios.hpp"

using namespace taper;
using bench::Contender, bench::Role;

namespace {

struct Problem {
  data::Ratings ratings = data::make_ratings();
  data::RatingEncoder encoder{ratings};
  data::Dataset<double> set = encoder.encode<double>(ratings);
  data::Dataset<float> small = encoder.encode<float>(ratings);

  Problem() {
    const double mean = set.y.vector().mean();
    for (float& y : small.y) y -= static_cast<float>(mean);
  }
};

const Problem& problem() {
  static const Problem made;
  return made;
}

/// Epochs of fit(), of Adam with batches of 500.
struct Epochs {
  nn::FactorizationMachine<float> machine;
  optim::Adam<float> adam;
  train::Trainer<float> trainer;

  Epochs(Index rank, bool gates)
      : machine(with_gates(rank, gates)),
        adam(machine.parameters(), {.lr = 0.02, .weight_decay = 1e-5}),
        trainer(machine, problem().small, nn::mse_loss, adam,
                {.epochs = 1'000'000, .batch_size = 500, .progress = train::Progress::quiet}) {}

  static nn::FactorizationMachine<float> with_gates(Index rank, bool gates) {
    manual_seed(0);
    nn::FactorizationMachine<float> machine(problem().encoder.field_sizes(), rank);
    if (gates) sparsity::factorize(machine, sparsity::Groups::inputs, "factors");
    return machine;
  }
};

Contender epochs(const char* name, Role role, Index rank, bool gates) {
  return {name, role, [of = std::make_shared<Epochs>(rank, gates)] { of->trainer.run_epoch(); }};
}

/// Stochastic gradient descent, rating by rating: the least that is read and written.
struct PlainPass {
  static constexpr Index rank = 8;
  std::vector<float> factors = std::vector<float>(static_cast<std::size_t>(rank) * 3000, 0.1f);
  std::vector<float> weights = std::vector<float>(3000);
  std::vector<Index> at;

  PlainPass() {
    for (Index i = 0; i < problem().small.x.size(); ++i) {
      const Index offset = i % 2 == 0 ? 0 : problem().encoder.field_sizes()[0];
      at.push_back(offset + static_cast<Index>(problem().small.x[i]));
    }
  }
  void run() {
    constexpr float lr = 0.01f;
    for (Index i = 0; i < problem().small.rows(); ++i) {
      const Index user = at[static_cast<std::size_t>(2 * i)], item = at[static_cast<std::size_t>(2 * i + 1)];
      float* const p = factors.data() + user * rank;
      float* const q = factors.data() + item * rank;
      float& of_user = weights[static_cast<std::size_t>(user)];
      float& of_item = weights[static_cast<std::size_t>(item)];
      float error = of_user + of_item - problem().small.y[i];
      for (Index k = 0; k < rank; ++k) error += p[k] * q[k];
      of_user -= lr * error, of_item -= lr * error;
      for (Index k = 0; k < rank; ++k) {
        const float before = p[k];
        p[k] -= lr * error * q[k], q[k] -= lr * error * before;
      }
    }
  }
};

Contender plain() {
  return {"plain pass", Role::limit, [of = std::make_shared<PlainPass>()] { of->run(); }};
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);
  bench::Table epoch{"factorization_machine",
                     "An epoch of 100,000 ratings of 943 x 1682",
                     "",
                     bench::microseconds("epoch"),
                     {}};
  epoch.cases.push_back({"rank 8", 1, [] {
                           return std::vector{epochs("fit()", Role::subject, 8, false), plain()};
                         }});
  epoch.cases.push_back({"rank 32, with gates", 1, [] {
                           return std::vector{epochs("fit()", Role::subject, 32, true), plain()};
                         }});
  bench::Table whole{"rank",
                     "The whole fit with 32 dimensions offered, in epochs",
                     "planted rank",
                     bench::microseconds("epoch"),
                     {}};
  whole.cases.push_back({"8", 1, [] {
                           const auto fit = [] {
                             apps::fit_ratings(problem().set, problem().encoder.field_sizes(), {.rank = 32});
                           };
                           return std::vector{epochs("epoch of rank 8", Role::subject, 8, false),
                                              Contender{"fit_ratings", Role::other, fit}};
                         }});
  return bench::main(argc, argv, {epoch, whole});
}

// The refit of a shrunk network by Levenberg-Marquardt and by Adam, from the same start, for the same time of
// the processor: which training loss each reaches, seed by seed; and what an iteration costs.
//
//     refit [seeds] [tanh|relu] [penalty] [epochs of Adam]
//
// An 8-32-64-32-1 network is trained on the California housing prices (in $TAPER_DATA; else on the embedded
// set) with the penalty, by default one that leaves about 300 parameters, and shrunk. Adam then trains it for
// so many epochs, and Levenberg-Marquardt until it has had as much time of the processor.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <taper/taper.hpp>
#include <tuple>

#include "limits.hpp"

using namespace taper;

namespace {

using Network = nn::Sequential<float>;

constexpr double decay = 1e-6, lr = 2e-3;

double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

std::pair<data::Dataset<float>, data::Dataset<float>> load() {
  data::Dataset<float> train, test;
  if (const char* const folder = std::getenv("TAPER_DATA")) {
    const auto read = [&](const char* file) {
      return data::to_dataset<float>(data::read_csv(std::filesystem::path(folder) / file),
                                     "median_house_value");
    };
    train = read("california_housing_train.csv"), test = read("california_housing_test.csv");
  } else {
    std::tie(train, test) = data::train_test_split(data::make_housing<float>({.rows = 20640}), 0.2, 0);
  }
  data::StandardScaler<float> x, y;
  x.fit(train.x), y.fit(train.y);
  for (data::Dataset<float>* half : {&train, &test}) x.transform(half->x), y.transform(half->y);
  return {train, test};
}

struct Recipe {
  bool relu;
  double penalty;
  Index epochs;  // of Adam after shrinking
};

Network shrunk_network(const data::Dataset<float>& train, const Recipe& recipe, std::uint64_t seed) {
  manual_seed(seed);
  Network net;
  const Index widths[] = {8, 32, 64, 32, 1};
  for (int k = 0; k < 4; ++k) {
    net.push_back(nn::Linear(widths[k], widths[k + 1]));
    if (k < 3 && recipe.relu) net.push_back(nn::ReLU());
    if (k < 3 && !recipe.relu) net.push_back(nn::Tanh());
  }
  sparsity::factorize(net, sparsity::Groups::inputs);
  train::fit(net, train, nn::mse_loss,
             optim::Adam(net.parameters(), {.lr = lr, .weight_decay = recipe.penalty}),
             {.epochs = 200, .batch_size = 128, .seed = seed, .progress = train::Progress::quiet});
  return sparsity::shrink(net, {.examples = train.x}).model;
}

/// Returns how often Levenberg-Marquardt is better.
int compare(const data::Dataset<float>& train, const data::Dataset<float>& test, const Recipe& recipe,
            std::uint64_t seed) {
  const Network start = shrunk_network(train, recipe, seed);
  Network by_adam = start, by_lm = start;
  const double before = processor_seconds();
  train::fit(by_adam, train, nn::mse_loss,
             optim::Adam(by_adam.parameters(), {.lr = lr, .weight_decay = decay}),
             {.epochs = recipe.epochs, .batch_size = 128, .seed = seed, .progress = train::Progress::quiet});
  const double seconds = processor_seconds() - before, begin = processor_seconds();
  optim::LevenbergMarquardt lm(
      by_lm, train, nn::mse_loss,
      {.weight_decay = decay, .max_iterations = 100000, .callback = [&](const auto&) {
         return processor_seconds() - begin < seconds;
       }});
  const optim::Outcome outcome = lm.minimize();
  const double lm_seconds = processor_seconds() - begin;
  const auto loss = [&](const Network& net, const data::Dataset<float>& set) {
    return train::evaluate(net, set, nn::mse_loss);
  };
  const double adam_loss = loss(by_adam, train), lm_loss = loss(by_lm, train);
  std::printf("%4d %10td  %8.5f  %8.5f %8.5f  %8.4f %8.4f  %6.2f %6.2f %10td\n", static_cast<int>(seed),
              by_lm.parameters().count(), loss(start, train), adam_loss, lm_loss, loss(by_adam, test),
              loss(by_lm, test), seconds, lm_seconds, outcome.iterations);
  std::fflush(stdout);
  return lm_loss < adam_loss ? 1 : 0;
}

/// The processor's time, of each thread, for the fastest of some iterations of a dense network, each with a
/// matrix from all rows, beside the operations
/// of the triangle of J' J and of the Cholesky factors alone at the speed of multiplications and additions in
/// registers.
void time_iteration(const data::Dataset<float>& train, Index width, Index second) {
  manual_seed(1);
  Network net(nn::Linear(8, width), nn::Tanh(), nn::Linear(width, second), nn::Tanh(), nn::Linear(second, 1));
  double last = processor_seconds(), fastest = HUGE_VAL;
  optim::LevenbergMarquardt(net, train, nn::mse_loss,
                            {.max_iterations = 12,
                             .rows = train.rows(),
                             .steps_by_matrix = 1,
                             .callback =
                                 [&](const auto&) {
                                   const double now = processor_seconds();
                                   fastest = std::min(fastest, (now - last) / threads());
                                   last = now;
                                   return true;
                                 }})
      .minimize();
  double done = 0;
  const double begin = processor_seconds();
  for (int k = 0; k < 100; ++k) done += bench::multiply_add<double>(threads());
  const double peak = done * threads() / (processor_seconds() - begin);
  const double n = static_cast<double>(train.rows()), p = static_cast<double>(net.parameters().count());
  const double operations = n * p * p + p * p * p / 3;
  std::printf("%10.0f %10td %14.1f %16.1f %11.0f %%\n", p, train.rows(), 1e3 * fastest,
              1e3 * operations / peak, 100 * operations / peak / fastest);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto argument = [&](int k, double otherwise) { return k < argc ? std::atof(argv[k]) : otherwise; };
    const auto seeds = static_cast<int>(argument(1, 10));
    const bool relu = argc > 2 && std::string(argv[2]) == "relu";
    const Recipe recipe{relu, argument(3, relu ? 2.5e-3 : 1e-3), static_cast<Index>(argument(4, 200))};
    const auto [train, test] = load();
    std::printf("%4s %10s  %8s  %17s  %17s  %13s %10s\n", "", "", "", "training loss", "test loss", "seconds",
                "");
    std::printf("%4s %10s  %8s  %8s %8s  %8s %8s  %6s %6s %10s\n", "seed", "parameters", "start", "Adam",
                "LM", "Adam", "LM", "Adam", "LM", "iterations");
    int better = 0;
    for (int seed = 0; seed < seeds; ++seed) {
      better += compare(train, test, recipe, static_cast<std::uint64_t>(seed));
    }
    std::printf("Levenberg-Marquardt has the lower training loss in %d of %d seeds\n\n", better, seeds);
    std::printf("%10s %10s %14s %16s %13s\n", "parameters", "rows", "iteration, ms", "at the peak, ms",
                "of the peak");
    time_iteration(train, 12, 14);
    time_iteration(train, 27, 26);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

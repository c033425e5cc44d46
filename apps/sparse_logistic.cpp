// L1 logistic regression by smooth means: every weight is a product u * v, and ordinary weight decay on the
// factors is an L1 penalty on the product.

#include <chrono>
#include <cmath>
#include <taper/taper.hpp>

#include "common.hpp"

using namespace taper;

namespace {

struct Options : apps::CommonOptions {
  double lambda = 1e-2;
  double lr = 1e-4;
  Index batch_size = 8;
  Index epochs = 500;
};

/// Madelon, or the embedded set made like it: standardized columns, and the target 1 for class -1.
data::Dataset<float> load(const Options& options) {
  const auto folder = options.folder();
  data::Dataset<float> set =
      folder ? data::to_dataset<float>(data::read_csv(*folder / "madelon.csv.gz"), "Class")
             : data::make_madelon<float>({.seed = options.seed}).data;
  data::StandardScaler<float> scaler;
  scaler.fit(set.x);
  scaler.transform(set.x);
  for (float& label : set.y) {
    if (label != -1 && label != 1) throw Error("sparse_logistic", "class ", label, ": expected 1 or -1");
    label = label < 0 ? 1.0f : 0.0f;
  }
  return set;
}

void program(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  set_threads(options.threads);
  manual_seed(options.seed);
  const data::Dataset<float> set = load(options);

  nn::Linear<float> model(set.x.shape()[1], 1);
  sparsity::factorize(model, sparsity::Groups::elements);
  optim::Adam<float> adam(model.parameters(),
                          {.lr = options.lr, .weight_decay = options.lambda, .groups = {{"bias", {}, 0.0}}});
  train::fit(model, set, nn::bce_with_logits_loss, adam,
             {.epochs = options.epochs,
              .batch_size = options.batch_size,
              .seed = options.seed,
              .progress = options.quiet ? train::Progress::quiet : train::Progress::automatic,
              .title = "training"});
  const apps::Json penalty = apps::penalty(model, options.lambda);
  sparsity::collapse(model);

  const Tensor<float> weight = model.weight.effective();
  const double loss = train::evaluate(model, set, nn::bce_with_logits_loss);
  const double norm = weight.vector().cast<double>().lpNorm<1>();
  // Products whose factors have decayed are many orders below those that the data hold up.
  const double cutoff = 1e-4 * static_cast<double>(weight.vector().cwiseAbs().maxCoeff());
  const auto nonzero =
      std::count_if(weight.begin(), weight.end(), [&](float w) { return std::abs(w) > cutoff; });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  apps::publish({{"data", options.folder() ? "madelon" : "embedded"},
                 {"rows", set.rows()},
                 {"lambda", options.lambda},
                 {"loss", loss},
                 {"objective", loss + options.lambda * norm},
                 {"penalty", penalty},
                 {"nonzero", nonzero},
                 {"intercept", model.bias->value()[0]},
                 {"coef", std::vector<float>(weight.begin(), weight.end())},
                 {"seconds", seconds}},
                options);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("L1 logistic regression by Hadamard factors and weight decay, on Madelon.", "sparse_logistic");
  app.add_option("--lambda", options.lambda, "Weight of the L1 norm")
      ->capture_default_str()
      ->check(apps::nonnegative());
  app.add_option("--lr", options.lr, "Learning rate of Adam")
      ->capture_default_str()
      ->check(apps::nonnegative());
  app.add_option("--batch-size", options.batch_size, "Rows in a batch")
      ->capture_default_str()
      ->check(apps::batch_range);
  app.add_option("--epochs", options.epochs, "Passes over the data")
      ->capture_default_str()
      ->check(apps::epochs_range);
  options.add_to(app);
  return apps::run(app, argc, argv, [&] { program(options); });
}

// Chooses pixels of MNIST, and writes their numbers to standard output: see select_features.py.
//
//     select_features FOLDER ROWS PIXELS SEED [OPTION=VALUE...]

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <numeric>
#include <string>

#include <taper/data/idx.hpp>
#include <taper/sparsity/select_features.hpp>

using namespace taper;

int main(int argc, char** argv) try {
  if (argc < 5) {
    std::cerr << "expected: select_features FOLDER ROWS PIXELS SEED\n";
    return 2;
  }
  const std::string folder = argv[1];
  sparsity::SelectFeaturesOptions options{.features = std::atoll(argv[3]), .classification = true};
  options.seed = static_cast<std::uint64_t>(std::atoll(argv[4]));
  for (int k = 5; k < argc; ++k) {
    const std::string word = argv[k];
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const double value = std::atof(word.c_str() + equals + 1);
    if (name == "first_epochs") options.first_epochs = static_cast<Index>(value);
    if (name == "epochs") options.epochs = static_cast<Index>(value);
    if (name == "lr") options.lr = value;
    if (name == "ratio") options.ratio = value;
    if (name == "first_penalty") options.first_penalty = value;
    if (name == "weight_decay") options.weight_decay = value;
    if (name == "adaptive") options.adaptive = value;
    if (name == "hidden") options.hidden = {static_cast<Index>(value)};
    if (name == "batch_size") options.batch_size = static_cast<Index>(value);
    if (name == "standardize") options.standardize = value != 0;
    if (name == "linear") options.model = sparsity::FeatureModel::linear;
    if (name == "resamples") options.resamples = static_cast<Index>(value);
  }
  const auto data =
      data::read_idx_images<float>(folder + "/train-images-idx3-ubyte.gz",
                                   folder + "/train-labels-idx1-ubyte.gz", {.limit = std::atoll(argv[2])});
  const auto start = std::chrono::steady_clock::now();
  const auto chosen = sparsity::select_features(data, options);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::cerr << chosen << seconds << " seconds\n";
  std::cout << seconds;
  for (const Index pixel : chosen.features) std::cout << ' ' << pixel;
  std::cout << '\n';
} catch (const Error& error) {
  std::cerr << error.what() << '\n';
  return 2;
}

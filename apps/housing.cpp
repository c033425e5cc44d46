#include "housing.hpp"

#include <taper/data/csv.hpp>
#include <taper/data/scaler.hpp>
#include <taper/data/split.hpp>
#include <taper/data/synthetic.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>

namespace taper::apps {

Housing load_housing(const CommonOptions& options) {
  constexpr Index features = 8;
  Housing sets;
  if (const auto folder = options.folder()) {
    const auto read = [&](const char* file) {
      options.reads(*folder / file);
      return data::to_dataset<float>(data::read_csv(*folder / file), "median_house_value");
    };
    sets = {read("california_housing_train.csv"), read("california_housing_test.csv")};
    data::check_same_features(sets.test, sets.train, "california_housing_test.csv");
  } else {
    auto [train, test] = data::train_test_split(
        data::make_housing<float>({.rows = 12000, .seed = options.seed}), 0.2, options.seed);
    sets = {std::move(train), std::move(test)};
  }
  const auto inputs = sets.train.x.shape()[1];
  if (inputs != features) throw Error("housing", inputs, " features: expected ", features);
  data::StandardScaler<float> x, y;
  x.fit(sets.train.x);
  y.fit(sets.train.y);
  for (data::Dataset<float>* half : {&sets.train, &sets.test}) {
    x.transform(half->x);
    y.transform(half->y);
  }
  return sets;
}

nn::Sequential<float> housing_network() {
  return nn::Sequential<float>(nn::Linear(8, 32), nn::ReLU(), nn::Linear(32, 64), nn::ReLU(),
                               nn::Linear(64, 32), nn::ReLU(), nn::Linear(32, 1));
}

}  // namespace taper::apps

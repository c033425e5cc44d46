#include "housing.hpp"

#include <algorithm>
#include <span>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/data/csv.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/split.hpp>
#include <taper/data/synthetic.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <tuple>

namespace taper::apps {
namespace {

/// The numbers of a scaler, as a buffer.
nn::Buffer<float> buffer_of(std::span<const double> numbers) {
  nn::Buffer<float> buffer(Shape{static_cast<Index>(numbers.size())});
  std::ranges::transform(numbers, buffer.value().begin(), [](double x) { return static_cast<float>(x); });
  return buffer;
}

struct InOwnUnits : nn::Layer<float> {
  const nn::Sequential<float>& net;
  nn::Buffer<float> x_mean, x_scale, y_mean, y_scale;

  InOwnUnits(const nn::Sequential<float>& network, const Housing& sets)
      : net(network),
        x_mean(buffer_of(sets.x.mean())),
        x_scale(buffer_of(sets.x.scale())),
        y_mean(buffer_of(sets.y.mean())),
        y_scale(buffer_of(sets.y.scale())) {}

  // The parameters keep the names that they have in the network.
  void visit(nn::Visitor<float>& v) const override {
    net.visit(v);
    v("x_mean", x_mean), v("x_scale", x_scale), v("y_mean", y_mean), v("y_scale", y_scale);
  }
  Var<float> forward(Var<float> x) const override {
    Tape<float>& tape = x.tape();
    const Var<float> y = net.forward((x - x_mean.bind(tape)) / x_scale.bind(tape));
    return y * y_scale.bind(tape) + y_mean.bind(tape);
  }
};

/// By the training set.
void standardize(Housing& sets) {
  sets.raw_test = sets.test;
  sets.x.fit(sets.train.x);
  sets.y.fit(sets.train.y);
  for (data::Dataset<float>* half : {&sets.train, &sets.test}) {
    sets.x.transform(half->x);
    sets.y.transform(half->y);
  }
}

}  // namespace

Housing load_housing(const CommonOptions& options) {
  constexpr Index features = 8;
  Housing sets;
  sets.name = options.folder() ? "california_housing" : "embedded";
  if (const auto folder = options.folder()) {
    const auto read = [&](const char* file) {
      options.reads(*folder / file);
      return data::to_dataset<float>(data::read_csv(*folder / file), "median_house_value");
    };
    sets.train = read("california_housing_train.csv");
    sets.test = read("california_housing_test.csv");
    data::check_same_features(sets.test, sets.train, "california_housing_test.csv");
  } else {
    std::tie(sets.train, sets.test) = data::train_test_split(
        data::make_housing<float>({.rows = 12000, .seed = options.seed}), 0.2, options.seed);
  }
  const auto inputs = sets.train.x.shape()[1];
  if (inputs != features) throw Error("housing", inputs, " features: expected ", features);
  standardize(sets);
  return sets;
}

void OwnTable::add_to(Command& command) {
  TableOptions::add_to(command);
  command.option("--target", target, "The column of --csv that is to be predicted, a number");
  command.needs("--drop", "--csv");
}

Housing load_housing(const CommonOptions& options, const OwnTable& own) {
  if (own.file.empty() && !own.target.empty()) {
    throw Error("target", "--target ", own.target,
                " without --csv: expected the table that it is a column of");
  }
  if (own.file.empty()) return load_housing(options);
  if (own.target.empty()) throw Error("target", "--csv without --target: expected the name of a column");
  auto read = own.read(options);
  auto* const table = std::get_if<data::Table>(&read);
  if (table == nullptr) throw Error("table", own.file, " is LIBSVM: expected a table of columns");
  if (!table->column(own.target).labels.empty()) {
    throw Error("target", "column ", data::quote(own.target), " is text: expected numbers");
  }
  std::vector<std::string> origin;
  own.drop_rows(*table, {own.target});
  constexpr Index fewest = 5;
  if (table->rows() < fewest) {
    throw Error("table", own.file, " has ", table->rows(), " rows with a target: expected at least ", fewest,
                ", to learn from some and test with others");
  }
  data::Column target = table->take(own.target);
  own.encode(*table, origin);
  table->columns.push_back(std::move(target));
  Housing sets;
  sets.name = own.file == "-" ? "standard input" : std::filesystem::path(own.file).stem().string();
  std::tie(sets.train, sets.test) =
      data::train_test_split(data::to_dataset<float>(*table, own.target), 0.2, options.seed);
  const auto varies = [](const Tensor<float>& values, Index from, Index step) {
    for (Index i = from; i < values.size(); i += step) {
      if (values[i] != values[from]) return true;
    }
    return false;
  };
  if (!varies(sets.train.y, 0, 1)) {
    throw Error("target", "column ", data::quote(own.target), " is constant: expected one that varies");
  }
  bool any = false;
  const Index width = sets.train.x.shape()[1];
  for (Index j = 0; j < width && !any; ++j) any = varies(sets.train.x, j, width);
  if (!any) {
    throw Error("table", "no column beside the target ", data::quote(own.target),
                " has two different values: expected one to learn from");
  }
  standardize(sets);
  return sets;
}

nn::Sequential<float> housing_network(Index inputs) {
  return nn::Sequential<float>(nn::Linear(inputs, 32), nn::ReLU(), nn::Linear(32, 64), nn::ReLU(),
                               nn::Linear(64, 32), nn::ReLU(), nn::Linear(32, 1));
}

nn::Graph<float> in_own_units(const nn::Sequential<float>& net, const Housing& sets) {
  return nn::Graph<float>::trace(InOwnUnits(net, sets), {sets.raw_test.x.shape()});
}

}  // namespace taper::apps

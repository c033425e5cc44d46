// A factorization machine on ratings, made up or of one's own: how many latent dimensions it needs, and how
// well it then predicts. Everything is chosen inside the training set.

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <taper/autodiff/threads.hpp>
#include <taper/data/ratings.hpp>
#include <taper/data/split.hpp>

#include "common.hpp"
#include "rating_fit.hpp"
#include "table_options.hpp"

using namespace taper;

namespace {

struct Options : apps::CommonOptions {
  std::string file, test;
  std::vector<std::string> sides;
  Index rank = 32, planted = 8, count = 100000;
  double noise = 0.5;
  bool fixed = false;
};

/// Ratings to train on and to test with.
struct Problem {
  std::string source;
  data::Ratings train, test;
  std::vector<std::string> notes;
};

/// The rows at these places.
data::Ratings rows_of(const data::Ratings& ratings, const std::vector<Index>& places) {
  data::Ratings result{{}, {}, ratings.target};
  for (const data::RatingField& field : ratings.fields) {
    result.fields.push_back({field.name, field.words, {}});
    for (const Index i : places)
      result.fields.back().codes.push_back(field.codes[static_cast<std::size_t>(i)]);
  }
  for (const Index i : places) result.values.push_back(ratings.values[static_cast<std::size_t>(i)]);
  return result;
}

/// Sets a tenth of the ratings aside.
void set_aside(Problem& problem, const data::Ratings& all, std::uint64_t seed) {
  if (all.rows() < 2) throw Error("sparse_fm", all.rows(), " ratings: expected two or more");
  data::Dataset<double> places{
      Tensor<double>(Shape{all.rows(), 1}), Tensor<double>(Shape{all.rows(), 1}), {}, ""};
  for (Index i = 0; i < all.rows(); ++i) places.x[i] = static_cast<double>(i);
  const double share = std::max(0.1, 1 / static_cast<double>(all.rows()));
  const auto [train, test] = data::train_test_split(places, share, seed);
  const auto listed = [](const Tensor<double>& x) { return std::vector<Index>(x.begin(), x.end()); };
  problem.train = rows_of(all, listed(train.x)), problem.test = rows_of(all, listed(test.x));
}

Problem read_problem(const Options& options) {
  Problem problem;
  if (options.file.empty()) {
    problem.source = "embedded";
    set_aside(problem,
              data::make_ratings({.ratings = options.count,
                                  .rank = options.planted,
                                  .noise = options.noise,
                                  .seed = options.seed}),
              options.seed);
    return problem;
  }
  const data::RatingsOptions how{.separator = {}, .header = {}, .sides = options.sides};
  problem.source = options.file;
  const auto read = [&](const std::string& file) {
    const std::filesystem::path path = options.find(file);
    options.reads(path);
    return data::read_ratings(path.string(), how);
  };
  data::Ratings all = read(options.file);
  if (options.test.empty()) {
    set_aside(problem, all, options.seed);
    problem.notes.push_back("no --test: a tenth of the ratings is set aside to test with");
  } else {
    problem.train = std::move(all);
    problem.test = read(options.test);
  }
  return problem;
}

double rmse(const std::vector<double>& predicted, const std::vector<double>& expected) {
  double sum = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) sum += std::pow(predicted[i] - expected[i], 2);
  return std::sqrt(sum / static_cast<double>(expected.size()));
}

apps::Json path_of(const apps::RatingFit& fit) {
  apps::Json path = apps::Json::array();
  for (const apps::RatingPoint& point : fit.path) {
    apps::Json row{{"alpha", point.alpha}, {"rank", point.rank}, {"validation_rmse", point.validation}};
    if (point.refit >= 0) row["refit_rmse"] = point.refit;
    if (point.is_chosen) row["chosen"] = true;
    path.push_back(std::move(row));
  }
  return path;
}

void print_path(const apps::RatingFit& fit) {
  fmt::print("{:>10} {:>6} {:>16} {:>12}\n", "penalty", "rank", "validation RMSE", "trained again");
  for (const apps::RatingPoint& point : fit.path) {
    fmt::print("{:>10.3g} {:>6} {:>16.6g} {:>12}{}\n", point.alpha, point.rank, point.validation,
               point.refit >= 0 ? fmt::format("{:.6g}", point.refit) : "", point.is_chosen ? "  chosen" : "");
  }
  fmt::print("\n");
}

void program(const Options& options) {
  set_threads(options.threads);
  Problem problem = read_problem(options);
  const data::RatingEncoder encoder(problem.train);
  const data::Dataset<double> train = encoder.encode<double>(problem.train),
                              test = encoder.encode<double>(problem.test);
  const apps::RatingFit fit = apps::fit_ratings(
      train, encoder.field_sizes(), {.rank = options.rank, .fixed = options.fixed, .seed = options.seed});

  const double shrunk = rmse(fit.predict(fit.shrunk, test.x), problem.test.values),
               refitted = rmse(fit.predict(fit.refitted, test.x), problem.test.values);
  const std::vector<double> means(problem.test.values.size(), fit.mean);
  apps::Json unknown = apps::Json::object(), sizes = apps::Json::object();
  const std::vector<Index> counts = encoder.unknown(problem.test);
  Index inputs = 0;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    const std::string& name = problem.train.fields[k].name;
    const Index size = encoder.field_sizes()[k] - 1;  // without the unknown one
    sizes[name] = size, unknown[name] = counts[k], inputs += size;
    if (counts[k] == 0) continue;
    problem.notes.push_back(
        fmt::format("{}: {} of {} test rows have one that the training set does not, and are predicted from "
                    "the rest of the row",
                    name, counts[k], problem.test.rows()));
  }
  for (const std::string& name : encoder.cut()) {
    problem.notes.push_back(fmt::format("{}: many different numbers, cut into ranges", name));
  }

  apps::Json report{
      {"data", problem.source},
      {"rows", {{"train", fit.training_rows}, {"validation", fit.validation_rows}, {"test", test.rows()}}},
      {"fields", sizes},
      {"unknown", unknown},
      {"rank", {{"offered", options.rank}, {"kept", fit.rank()}}}};
  if (options.file.empty()) report["rank"]["planted"] = options.planted;
  report["parameters"] = {{"offered", 1 + inputs * (1 + options.rank)},
                          {"kept", 1 + inputs * (1 + fit.rank())}};
  report["penalty"] = {{"alpha", fit.chosen.alpha},
                       {"refit_decay", fit.factor_decay},
                       {"refit_decay_of_biases", fit.weight_decay}};
  report["validation_rmse"] = {{"shrunk", fit.chosen.validation}, {"refitted", fit.chosen.refit}};
  report["test_rmse"] = {
      {"shrunk", shrunk}, {"refitted", refitted}, {"mean", rmse(means, problem.test.values)}};
  if (options.file.empty()) report["test_rmse"]["noise"] = options.noise;
  report["shrink_difference"] = fit.shrink_difference;
  if (!fit.certificate.layers.empty()) {
    report["certificate"] = apps::report_on(fit.certificate);
    report["certificate"]["gain_of_one_more"] = fit.next.gain / fit.next.objective;
  }
  report["path"] = path_of(fit);
  report["notes"] = problem.notes;
  report["seconds"] = fit.seconds;
  if (options.prints()) print_path(fit);
  apps::publish(report, options);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command(
      "sparse_fm",
      "Trains a factorization machine on ratings with more latent dimensions than it needs, finds out how "
      "many "
      "it does need, and trains it again with those. Example: sparse_fm ratings.csv --side genre --json -");
  command.option("FILE,--ratings", options.file,
                 "Lines of user, item and rating, with a tab, a comma or :: between, looked for in the "
                 "folder of --data, too; without it, ratings of 943 "
                 "users and 1682 items are made up with a planted rank");
  command.option("--test", options.test,
                 "File of the same form to test with (default: a tenth of the ratings, set aside)");
  command.list("--side", options.sides,
               "Further column to learn from, by its name or its number from 1; may be given several times");
  command.option("--rank", options.rank, "Latent dimensions that are offered", 1, 4096);
  command.flag("--fixed", options.fixed, "Keep all of them: the control, chosen and trained in the same way");
  command.option("--planted", options.planted, "Rank of the ratings that are made up", 0, 1000);
  command.option("--noise", options.noise, "Their noise, a standard deviation");
  command.option("--count", options.count, "How many are made up", 30, 790000);
  command.needs("--test", "--ratings");
  command.needs("--side", "--ratings");
  options.add_to(command);
  return command.run(argc, argv, [&] {
    if (!options.file.empty()) {
      command.refuse({"--planted", "--noise", "--count"}, "FILE", "no FILE, for ratings that are made up");
    } else {
      command.refuse({"--data"}, "ratings that are made up", "FILE, which is looked for there, too");
    }
    program(options);
  });
}

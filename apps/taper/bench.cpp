#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/threads.hpp>
#include <utility>

#include "../output.hpp"
#include "../table_model.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

class Bench : public Verb {
 public:
  Bench() { table_.decimal = "auto"; }
  const char* name() const override { return "bench"; }
  const char* summary() const override {
    return "How long a model takes to read a table and to predict from it, in rows per second.";
  }
  const char* example() const override {
    return "taper bench houses.safetensors houses.csv\n\nEach part is timed several times, and the median "
           "counts. How long it takes to fit a model is among what taper fit --json reports.";
  }

  void add_to(Command& command) override {
    command.positional("MODEL", model_, "File that taper fit --save wrote; - is standard input");
    command.positional("TABLE", table_.file,
                       "Table with the columns that the model reads; - is standard input");
    command.option("--repeats", repeats_, "How often each part is timed", 1, 100'000);
    table_.add_format_options(command);
    options_.add_fixed_run_options(command);
  }

  void run() override {
    require_one_stream("bench", {"MODEL", model_}, {"TABLE", table_.file}, "standard input");
    options_.quiet = false;  // the report is what this is run for
    set_threads(options_.threads);
    const TableModel model = load_table_model(open_model(model_, options_), model_);
    read_like(model, table_);
    const std::pair<std::string, std::string> read = table_.read_text(options_);
    const std::string &text = read.first, &source = read.second;
    auto table = parse_table(table_, text, source);
    std::vector<std::string> notes;
    const auto prepare = [&] {
      notes.clear();
      return features_of(model.preprocessing, table, notes);
    };
    const Tensor<double> x = prepare();
    const Index rows = x.shape()[0], width = x.shape()[1];
    Tensor<double> one(Shape{1, width});
    std::copy_n(x.begin(), width, one.begin());
    const Tensor<double> said = said_by(model, x);  // what is wrong comes before any time
    Json report{{"model", model_},
                {"data", source},
                {"rows", rows},
                {"features", width},
                {"parameters", model.parameters()},
                {"threads", options_.threads},
                {"repeats", repeats_}};
    const auto part = [&](const char* name, Index count, const std::function<void()>& work) {
      const double seconds = median_seconds(work);
      report[name] = {{"seconds", seconds}, {"rows_per_second", static_cast<double>(count) / seconds}};
    };
    part("read", rows, [&] { table = parse_table(table_, text, source); });
    part("prepare", rows, [&] { prepare(); });
    part("predict", rows, [&] { said_by(model, x); });
    part("one_row", 1, [&] { said_by(model, one); });
    report["notes"] = notes;
    publish(report, options_);
  }

 private:
  double median_seconds(const std::function<void()>& work) const {
    using Clock = std::chrono::steady_clock;
    std::vector<double> seconds;
    for (Index k = 0; k < repeats_; ++k) {
      const auto start = Clock::now();
      work();
      // No clock is finer, and a rate is a number.
      seconds.push_back(std::max(1e-9, std::chrono::duration<double>(Clock::now() - start).count()));
    }
    std::ranges::nth_element(seconds, seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2));
    return seconds[seconds.size() / 2];
  }

  CommonOptions options_;
  TableFormat table_;
  std::string model_;
  Index repeats_ = 7;
};

}  // namespace

std::unique_ptr<Verb> make_bench() {
  return std::make_unique<Bench>();
}

}  // namespace taper::apps

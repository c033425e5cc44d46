#include <fmt/core.h>

#include <cmath>
#include <taper/autodiff/threads.hpp>
#include <taper/data/number.hpp>

#include "../output.hpp"
#include "learn.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

class PathVerb : public Verb {
 public:
  const char* name() const override { return "path"; }
  const char* summary() const override {
    return "How good models of a table are by their size: a line of CSV for each penalty, on standard "
           "output.";
  }
  const char* example() const override {
    return "taper path houses.csv --target price --model network\n\n"
           "Columns of the CSV: penalty; the model's parameters and inputs (columns of the table); loss on "
           "rows "
           "held out (half the squared difference in standard deviations of the target, or minus the "
           "logarithm "
           "of the class's probability), its standard_error, the same in the target's units or other "
           "measures; "
           "chosen, 1 for the model that taper fit takes.";
  }
  void add_to(Command& command) override { options_.add_to(command); }

  void run() override {
    set_threads(options_.threads);
    const TableFitOptions fit_options = options_.fit_options();
    const TableProblem problem = load_table_problem(options_.table, options_.target, options_.task, options_);
    tell_problem(options_.quiet, problem);
    const Learned learned = learn(options_, problem);
    const Json path = report_on(learned.fit.path, problem.target);
    if (options_.json != "-") print(path, learned.fit.chosen);
    apps::save(Json{{"data", problem.source},
                    {"rows", problem.rows()},
                    {"target", problem.target.name},
                    {"model", learned.model},
                    {"why", learned.why},
                    {"chosen", learned.fit.chosen},
                    {"path", path},
                    {"notes", problem.notes}},
               options_);
  }

 private:
  /// The same columns for each line, in the order of the first.
  static void print(const Json& path, std::size_t chosen) {
    std::string header;
    for (const auto& [name, value] : path.front().items()) header += name + ',';
    fmt::print("{}chosen\n", header);
    for (std::size_t k = 0; k < path.size(); ++k) {
      for (const auto& [name, value] : path.front().items()) {
        const Json& cell = path[k][name];
        fmt::print("{},", cell.is_number_integer() ? std::to_string(cell.get<Index>())
                          : cell.is_number()       ? data::number_text(cell.get<double>())
                                                   : std::string());
      }
      fmt::print("{}\n", k == chosen ? 1 : 0);
    }
  }

  LearnOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_path() {
  return std::make_unique<PathVerb>();
}

}  // namespace taper::apps

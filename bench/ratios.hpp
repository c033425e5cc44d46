#pragma once

#include <functional>
#include <string>
#include <vector>

/// How everything in this folder is measured. A case is one thing done in several ways, its contenders, which
/// take turns: a slice of about a millisecond each (or of the longest call), one after the other, over and
/// over, so that whatever else the machine does falls on all alike. A ratio is taken within each turn, and
/// what is printed is the median of the turns. Cases are registered with Google Benchmark, whose flags
/// (`--benchmark_filter`,
/// `--benchmark_min_time`, `--benchmark_out`) apply: a benchmark is a case, an iteration is a turn.
namespace taper::bench {

enum class Role {
  subject,  ///< what the ratios are over: their time / the subject's time
  peer,     ///< counts for the column of the best peer
  other,    ///< has a ratio, but does not count for that
  limit,    ///< what no program can exceed on this machine
};

struct Contender {
  std::string name;
  Role role;
  std::function<void()> run;
  double work = 0;                      ///< per call, where it is not the case's
  std::function<double()> result = {};  ///< of the last call, where there is one to compare
};

struct Case {
  std::string name;
  double work;  ///< per call, in whatever the table's unit counts; times are compared per unit of work
  std::function<std::vector<Contender>()> make;  ///< Called just before the case is measured.
};

/// What the absolute columns show for `seconds` that `work` took.
struct Unit {
  std::string name;
  double (*value)(double work, double seconds);
};
Unit gigaflops();                                ///< work counts floating-point operations
Unit gigabytes();                                ///< work counts bytes
Unit billions();                                 ///< units of work per nanosecond
Unit microseconds(const std::string& per_what);  ///< per unit of work
Unit nanoseconds(const std::string& per_what);

/// One table of docs/performance.md.
struct Table {
  std::string name;  ///< in front of its cases' names, for filters
  std::string title;
  std::string what;  ///< the head of its first column
  Unit unit;
  std::vector<Case> cases;
  bool mean = false;  ///< whether a last line has the geometric means of the ratios
};

/// Measures all tables and prints them in Markdown. With `--run NAME COUNT` it does only that: one contender,
/// by its name TABLE/CASE/CONTENDER or TABLE/CASE for the subject, COUNT times after it has been set up. With
/// `--serve` it reads lines `NAME COUNT` and answers each with the seconds, the work of one call, and the
/// result or nan, for a comparison with other processes. `--list` prints the names of the cases.
int main(int argc, char** argv, const std::vector<Table>& tables);

}  // namespace taper::bench

#include "ratios.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string_view>

namespace taper::bench {
namespace {

constexpr double slice = 1e-3;          // seconds of one contender in one turn, at least
constexpr std::size_t least_turns = 5;  // of a case, however long they are

/// A function of its own, which callgrind can be told to count (instructions.py).
[[gnu::noinline]] void repeat(const Contender& contender, long calls) {
  for (long i = 0; i < calls; ++i) contender.run();
}

double time(const Contender& contender, long calls) {
  const auto start = std::chrono::steady_clock::now();
  repeat(contender, calls);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// The contenders of a case, ready to run, and the times of all turns so far.
class Race {
 public:
  explicit Race(const Case& of) : contenders_(of.make()) {
    // Of short calls, the lesser of two times: one interruption does not make them look long.
    const auto seconds = [](const Contender& contender, long calls) {
      const double taken = time(contender, calls);
      return taken > 10 * slice ? taken : std::min(taken, time(contender, calls));
    };
    // Where one call takes longer than a slice, the others get as long: what comes back after a long while
    // would find the caches cold.
    double least = slice;
    std::vector<double> singles;
    for (Contender& contender : contenders_) {
      if (contender.work == 0) contender.work = of.work;
      contender.run();  // memory is touched and grown
      singles.push_back(seconds(contender, 1));
      if (contender.role != Role::limit) least = std::max(least, 0.5 * singles.back());
    }
    for (std::size_t i = 0; i < contenders_.size(); ++i) {
      long calls = 1;
      double taken = singles[i];
      const double enough = contenders_[i].role == Role::limit ? slice : least;
      while (taken < enough) {
        calls = std::max(calls + 1, static_cast<long>(1.2 * static_cast<double>(calls) *
                                                      std::min(enough / std::max(taken, 1e-9), 10.0)));
        taken = seconds(contenders_[i], calls);
      }
      calls_.push_back(calls);
    }
    seconds_.resize(contenders_.size());
  }

  /// Returns the seconds it took. Who comes first changes, so that nobody always follows the same one.
  double turn() {
    const std::size_t count = contenders_.size();
    double all = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t which = (i + turns()) % count;
      const double seconds = time(contenders_[which], calls_[which]);
      latest_.resize(count);
      latest_[which] = seconds / static_cast<double>(calls_[which]);
      all += seconds;
    }
    for (std::size_t i = 0; i < count; ++i) seconds_[i].push_back(latest_[i]);
    return all;
  }

  std::size_t turns() const { return seconds_.front().size(); }
  const std::vector<Contender>& contenders() const { return contenders_; }
  double seconds(std::size_t i) const { return median(seconds_[i]); }

  /// The time of contender i over the subject's, both per unit of work.
  double ratio(std::size_t i) const {
    std::vector<double> ratios;
    for (std::size_t t = 0; t < turns(); ++t)
      ratios.push_back(seconds_[i][t] / contenders_[i].work / (seconds_[0][t] / contenders_[0].work));
    return median(ratios);
  }

 private:
  std::vector<Contender> contenders_;
  std::vector<long> calls_;
  std::vector<double> latest_;
  std::vector<std::vector<double>> seconds_;  // of one call: by contender and turn
};

std::string cell(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
  return text;
}

std::string ratio_cell(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.3f" : "%.1f", value);
  return text;
}

/// Prints the lines of one table as they come.
class Printer {
 public:
  explicit Printer(const Table& table) : table_(table) {}
  ~Printer() {
    if (table_.mean && lines_ > 1) {
      std::cout << "| geometric mean |";
      for (const double logarithm : logarithms_)
        std::cout << " **" << ratio_cell(std::exp(logarithm / lines_)) << "** |";
      for (std::size_t i = 0; i < absolutes_; ++i) std::cout << " |";
      std::cout << '\n';
    }
    std::cout << std::endl;
  }
  Printer(const Printer&) = delete;
  Printer& operator=(const Printer&) = delete;

  const Table& table() const { return table_; }

  void line(const Case& of, const Race& race) {
    const auto& contenders = race.contenders();
    const auto peers = std::ranges::count(contenders, Role::peer, &Contender::role);
    std::vector<std::string> head, cells;
    std::vector<double> ratios;
    for (std::size_t i = 1; i < contenders.size(); ++i) {
      if (contenders[i].role == Role::limit) continue;
      head.push_back(contenders[i].name + " / " + contenders[0].name);
      ratios.push_back(race.ratio(i));
    }
    if (peers > 1) {
      double best = HUGE_VAL;
      for (std::size_t i = 1; i < contenders.size(); ++i)
        if (contenders[i].role == Role::peer) best = std::min(best, race.ratio(i));
      head.insert(head.begin(), "best / " + contenders[0].name);
      ratios.insert(ratios.begin(), best);
    }
    for (const double ratio : ratios) cells.push_back(ratio_cell(ratio));
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      head.push_back(contenders[i].name + (i == 0 ? ", " + table_.unit.name : ""));
      cells.push_back(cell(table_.unit.value(contenders[i].work, race.seconds(i))));
      if (contenders[i].role != Role::limit) continue;
      head.push_back(contenders[0].name + ", % of it");
      cells.push_back(cell(100 * race.ratio(i)));
    }
    if (lines_++ == 0) {
      std::cout << "### " << table_.title << "\n\n| " << table_.what << " |";
      for (const std::string& name : head) std::cout << ' ' << name << " |";
      std::cout << "\n| --- |";
      for (std::size_t i = 0; i < head.size(); ++i) std::cout << " ---: |";
      std::cout << '\n';
      logarithms_.resize(ratios.size());
      absolutes_ = head.size() - ratios.size();
    }
    std::cout << "| " << of.name << " |";
    for (const std::string& text : cells) std::cout << ' ' << text << " |";
    std::cout << std::endl;
    for (std::size_t i = 0; i < ratios.size(); ++i) logarithms_[i] += std::log(ratios[i]);
  }

 private:
  const Table& table_;
  std::vector<double> logarithms_;  // sums, by ratio
  std::size_t absolutes_ = 0;
  int lines_ = 0;
};

/// Google Benchmark's part in it: it decides how many turns there are, and says when a case is done.
class Reporter : public benchmark::BenchmarkReporter {
 public:
  explicit Reporter(const std::vector<Table>& tables) {
    for (const Table& table : tables) {
      for (const Case& of : table.cases) {
        const std::string name = table.name + "/" + of.name;
        entries_[name] = {&table, &of};
        benchmark::RegisterBenchmark(name.c_str(), [this, &of](benchmark::State& state) {
          measure(state, of);
        })->UseManualTime();
      }
    }
  }
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const Entry& entry = entries_.at(run.run_name.function_name);
      if (run.error_occurred || running_ != entry.second || !race_) continue;
      if (!printer_ || &printer_->table() != entry.first) printer_.emplace(*entry.first);
      printer_->line(*entry.second, *race_);
    }
    race_.reset();
  }
  void Finalize() override { printer_.reset(); }

 private:
  using Entry = std::pair<const Table*, const Case*>;

  /// Called a few times for each case, with more and more turns: all of them count.
  void measure(benchmark::State& state, const Case& of) {
    if (!race_ || running_ != &of) race_.emplace(of);
    running_ = &of;
    while (race_->turns() < least_turns) race_->turn();
    for (auto _ : state) state.SetIterationTime(race_->turn());
    for (std::size_t i = 0; i < race_->contenders().size(); ++i) {
      const std::string& name = race_->contenders()[i].name;
      state.counters[name + ", seconds"] = race_->seconds(i);
      if (i > 0) state.counters[name + ", ratio"] = race_->ratio(i);
    }
    state.counters["turns"] = static_cast<double>(race_->turns());
  }

  std::map<std::string, Entry> entries_;
  const Case* running_ = nullptr;
  std::optional<Race> race_;
  std::optional<Printer> printer_;
};

/// By TABLE/CASE/CONTENDER; made when first asked for, and kept.
const Contender& find(const std::vector<Table>& tables, const std::string& name) {
  static std::map<std::string, Contender> made;
  if (const auto found = made.find(name); found != made.end()) return found->second;
  for (const Table& table : tables) {
    for (const Case& of : table.cases) {
      const std::string front = table.name + "/" + of.name;
      if (!name.starts_with(front)) continue;
      for (Contender& contender : of.make()) {
        if (name != front && name != front + "/" + contender.name) continue;
        if (contender.work == 0) contender.work = of.work;
        return made.emplace(name, contender).first->second;
      }
    }
  }
  throw std::runtime_error("no contender " + name + ": expected one of those that --list shows");
}

void list(const std::vector<Table>& tables) {
  for (const Table& table : tables)
    for (const Case& of : table.cases) std::cout << table.name << '/' << of.name << '\n';
}

void serve(const std::vector<Table>& tables) {
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t space = line.rfind(' ');
    const Contender& contender = find(tables, line.substr(0, space));
    const double seconds = time(contender, std::stol(line.substr(space + 1)));
    std::cout << std::setprecision(9) << seconds << ' ' << contender.work << ' '
              << (contender.result ? contender.result() : std::nan("")) << std::endl;
  }
}

}  // namespace

Unit gigaflops() {
  return {"GFLOP/s", [](double work, double seconds) { return work / seconds / 1e9; }};
}
Unit gigabytes() {
  return {"GB/s", [](double work, double seconds) { return work / seconds / 1e9; }};
}
Unit billions() {
  return {"per ns", [](double work, double seconds) { return work / seconds / 1e9; }};
}
Unit microseconds(const std::string& per_what) {
  return {"us per " + per_what, [](double work, double seconds) { return 1e6 * seconds / work; }};
}
Unit nanoseconds(const std::string& per_what) {
  return {"ns per " + per_what, [](double work, double seconds) { return 1e9 * seconds / work; }};
}

int main(int argc, char** argv, const std::vector<Table>& tables) try {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "--list") return list(tables), 0;
  if (mode == "--serve") return serve(tables), 0;
  if (mode == "--run" && argc == 4) {
    repeat(find(tables, argv[2]), std::stol(argv[3]));
    return 0;
  }
  Reporter reporter(tables);
  // In front, so that the same flag given by hand wins. About a second for each case, with the
  // turns that serve to find out how many there have to be.
  std::string least = "--benchmark_min_time=0.7";
  std::vector<char*> arguments{argv[0], least.data()};
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return 0;
} catch (const std::exception& error) {
  std::cerr << argv[0] << ": " << error.what() << '\n';
  return 1;
}

}  // namespace taper::bench

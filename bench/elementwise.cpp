// Passes over memory: functions of one number and their gradients, softmax, sums and Adam's update, beside
// Eigen's array expressions compiled for this machine, and a copy or triad of as many bytes. One thread, but
// for the last table, which shows where a second one pays.

#include <cmath>
#include <memory>
#include <stdexcept>
#include <vector>

#include <taper/autodiff/kernels/denormals.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/kernels/unary.hpp>
#include <taper/autodiff/kernels/update.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/tensor.hpp>
#include <taper/autodiff/threads.hpp>

#include "eigen_peer.hpp"
#include "limits.hpp"
#include "ratios.hpp"

using namespace taper;
using bench::Case, bench::Contender, bench::Role, bench::Table;
using kernels::Unary;

namespace {

constexpr std::pair<const char*, Unary> maps[] = {
    {"exp", Unary::exp},           {"log", Unary::log},   {"tanh", Unary::tanh}, {"sigmoid", Unary::sigmoid},
    {"softplus", Unary::softplus}, {"gelu", Unary::gelu}, {"relu", Unary::relu}};

/// Arrays of n numbers.
template <class T> struct Arrays {
  Index n;
  Tensor<T> x, y, gy, gx;

  explicit Arrays(Index count) : n(count), x({n}), y({n}), gy({n}), gx({n}) {
    Rng rng(1);
    for (Tensor<T>* const array : {&x, &y, &gy, &gx})
      for (T& number : *array) number = static_cast<T>(4 * rng.uniform() - 2);
  }
  void positive() {
    for (T& number : x) number = std::abs(number) + T(0.01);
  }
};

template <class T> using Held = std::shared_ptr<Arrays<T>>;

/// What the memory can do with as many bytes, in arrays that the pass has just had in its hands: `passes` is
/// how many arrays of n numbers it reads and writes.
template <class T> Contender memory(const Held<T>& a, int passes) {
  const double n = static_cast<double>(a->n);
  const auto size = static_cast<std::size_t>(a->n);
  switch (passes) {
    case 1:
      return {"memory", Role::limit, [=] { bench::read<T>(size, a->x.data()); }, n};
    case 2:
      return {"memory", Role::limit, [=] { bench::copy<T>(size, a->x.data(), a->y.data()); }, n};
    case 3:
      return {"memory", Role::limit,
              [=] { bench::triad<T>(size, a->y.data(), a->gy.data(), T(0.5), a->gx.data(), 1); }, n};
    default:  // in place, twice over two of the four arrays
      return {"memory", Role::limit,
              [=] {
                bench::triad<T>(size, a->x.data(), a->gy.data(), T(1e-9), a->x.data(), 1);
                bench::triad<T>(size, a->y.data(), a->gx.data(), T(1e-9), a->y.data(), 1);
              },
              n * 6 / passes};
  }
}

/// Throws when what two contenders leave in `result` is not the same up to rounding.
template <class T>
void check(const std::vector<Contender>& contenders, Tensor<T>& result, double tolerance = 1e-5) {
  contenders[0].run();
  const Tensor<T> expected = result;
  contenders[1].run();
  for (Index i = 0; i < result.size(); ++i) {
    const double mine = static_cast<double>(expected.data()[i]),
                 theirs = static_cast<double>(result.data()[i]);
    if (!(std::abs(mine - theirs) <= tolerance * (1 + std::abs(mine))))
      throw std::runtime_error(contenders[1].name + " computes something else than Taper");
  }
}

template <class T> std::vector<Contender> forward(Unary f, Index n) {
  const auto a = std::make_shared<Arrays<T>>(n);
  if (f == Unary::log) a->positive();
  std::vector<Contender> contenders{
      {"Taper", Role::subject, [=] { kernels::unary<T>(f, n, a->x.data(), a->y.data()); }},
      {"Eigen", Role::peer, [=] { bench::eigen::unary<T>(f, n, a->x.data(), a->y.data()); }}};
  check(contenders, a->y);
  contenders.push_back(memory(a, 2));
  return contenders;
}

template <class T> std::vector<Contender> gradient(Unary f, Index n) {
  const auto a = std::make_shared<Arrays<T>>(n);
  if (f == Unary::log) a->positive();
  kernels::unary<T>(f, n, a->x.data(), a->y.data());
  std::vector<Contender> contenders{
      {"Taper", Role::subject,
       [=] {
         kernels::unary_gradient<T>(f, n, a->x.data(), a->y.data(), a->gy.data(), a->gx.data(), false);
       }},
      {"Eigen", Role::peer,
       [=] { bench::eigen::unary_gradient<T>(f, n, a->x.data(), a->y.data(), a->gy.data(), a->gx.data()); }}};
  check(contenders, a->gx);
  contenders.push_back(memory(a, 3));
  return contenders;
}

template <class T> std::vector<Contender> softmax(Index rows, Index columns) {
  const auto a = std::make_shared<Arrays<T>>(rows * columns);
  std::vector<Contender> contenders{
      {"Taper", Role::subject,
       [=] { kernels::softmax_axis<T>(rows, columns, 1, a->x.data(), a->y.data(), false); }},
      {"Eigen", Role::peer, [=] { bench::eigen::softmax<T>(rows, columns, a->x.data(), a->y.data()); }}};
  check(contenders, a->y);
  contenders.push_back(memory(a, 2));
  return contenders;
}

template <class T> std::vector<Contender> sum(Index n) {
  const auto a = std::make_shared<Arrays<T>>(n);
  std::vector<Contender> contenders{
      {"Taper", Role::subject, [=] { a->y.data()[0] = static_cast<T>(kernels::sum<T>(n, a->x.data())); }},
      {"Eigen", Role::peer, [=] { a->y.data()[0] = bench::eigen::sum<T>(n, a->x.data()); }}};
  check(contenders, a->y, 1e-3);  // in another order
  contenders.push_back(memory(a, 1));
  return contenders;
}

template <class T> std::vector<Contender> column_sums(Index rows, Index columns) {
  const auto a = std::make_shared<Arrays<T>>(rows * columns);
  std::vector<Contender> contenders{
      {"Taper", Role::subject, [=] { kernels::sum_axis<T>(1, rows, columns, a->x.data(), a->y.data()); }},
      {"Eigen", Role::peer, [=] { bench::eigen::column_sums<T>(rows, columns, a->x.data(), a->y.data()); }}};
  check(contenders, a->y, 1e-3);  // in another order
  contenders.push_back(memory(a, 1));
  return contenders;
}

/// x, y, gy and gx are values, first moments, gradients and second moments.
template <class T> std::vector<Contender> adam(Index n) {
  const auto a = std::make_shared<Arrays<T>>(n);
  const kernels::AdamStep step{1e-6, 1, 1e-3, 1, 0.9, 0.999, 1, 1e-8};
  const auto taper = [=] {
    kernels::adam_step<T>(n, a->x.data(), a->gy.data(), a->y.data(), a->gx.data(), nullptr, step);
  };
  const auto eigen = [=] {
    bench::eigen::adam<T>(n, a->x.data(), a->gy.data(), a->y.data(), a->gx.data(), T(1e-6), T(1e-3), T(0.9),
                          T(0.999), T(1), T(1e-8));
  };
  for (T& moment : a->gx) moment = std::abs(moment);
  const Arrays<T> start = *a;
  const auto from_start = [=](const auto& run) { return [=] { *a = start, run(); }; };
  check<T>({{"Taper", Role::subject, from_start(taper)}, {"Eigen", Role::peer, from_start(eigen)}}, a->x);
  return {{"Taper", Role::subject, taper}, {"Eigen", Role::peer, eigen}, memory(a, 7)};
}

/// Small enough for the first-level cache, and too large for all caches but the last.
constexpr Index sizes[] = {2048, Index{1} << 20};

std::string length(Index n) {
  return n < 1 << 20 ? std::to_string(n) : std::to_string(n >> 20) + " Mi";
}

template <class T> void add(std::vector<Table>& tables, const std::string& type) {
  Table forwards{"elementwise/" + type, type + ", y = f(x)", "f, numbers", bench::billions(), {}, true};
  Table gradients{"gradient/" + type, type + ", gx = gy f'(x)", "f, numbers", bench::billions(), {}, true};
  for (const auto& [name, f] : maps) {
    for (const Index n : sizes) {
      const double work = static_cast<double>(n);
      forwards.cases.push_back({name + (", " + length(n)), work, [f = f, n] { return forward<T>(f, n); }});
      gradients.cases.push_back({name + (", " + length(n)), work, [f = f, n] { return gradient<T>(f, n); }});
    }
  }
  Table passes{"passes/" + type, type + ", other passes", "what, numbers", bench::billions(), {}, true};
  const auto line = [&](const std::string& name, Index n, auto make) {
    passes.cases.push_back({name, static_cast<double>(n), make});
  };
  for (const auto& [rows, columns] : {std::pair<Index, Index>{128, 10}, {128, 1000}})
    line("softmax, " + std::to_string(rows) + "x" + std::to_string(columns), rows * columns,
         [rows = rows, columns = columns] { return softmax<T>(rows, columns); });
  for (const Index n : sizes) line("sum, " + length(n), n, [n] { return sum<T>(n); });
  for (const auto& [rows, columns] : {std::pair<Index, Index>{128, 32}, {1024, 1024}})
    line("sums of columns, " + std::to_string(rows) + "x" + std::to_string(columns), rows * columns,
         [rows = rows, columns = columns] { return column_sums<T>(rows, columns); });
  for (const Index n : {Index{1024}, Index{1} << 18})
    line("Adam, " + length(n), n, [n] { return adam<T>(n); });
  tables.insert(tables.end(), {forwards, gradients, passes});
}

/// Two threads against one, at sizes on both sides of where that begins to pay.
void add_threads(std::vector<Table>& tables) {
  Table table{"threads", "float, two threads against one", "what, numbers", bench::billions(), {}};
  const auto on = [](int count, const std::function<void()>& run) {
    return [=] {
      set_threads(count);
      run();
      set_threads(1);
    };
  };
  const auto line = [&](const std::string& name, auto make) {
    for (int power = 14; power <= 22; power += 2) {
      const Index n = Index{1} << power;
      table.cases.push_back({name + ", " + length(n), static_cast<double>(n), [=] {
                               const std::function<void()> run = make(n)[0].run;
                               return std::vector<Contender>{{"two threads", Role::subject, on(2, run)},
                                                             {"one", Role::peer, on(1, run)}};
                             }});
    }
  };
  line("exp", [](Index n) { return forward<float>(Unary::exp, n); });
  line("relu", [](Index n) { return forward<float>(Unary::relu, n); });
  line("sum", [](Index n) { return sum<float>(n); });
  line("Adam", [](Index n) { return adam<float>(n); });
  tables.push_back(table);
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);
  const kernels::FlushDenormals flush;  // as on a tape
  std::vector<Table> tables;
  add<float>(tables, "float"), add<double>(tables, "double");
  add_threads(tables);
  return bench::main(argc, argv, tables);
}

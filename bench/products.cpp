// The three matrix products of a linear layer, beside OpenBLAS, oneDNN (float only), Eigen compiled for this
// machine, and what the machine can do at most. One thread, but for the last table.

#include <omp.h>

#include <cmath>
#include <memory>
#include <stdexcept>
#include <type_traits>

#ifdef TAPER_BENCH_OPENBLAS
#include <cblas.h>
#endif
#ifdef TAPER_BENCH_DNNL
#include <dnnl.h>
#endif

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/tensor.hpp>
#include <taper/autodiff/threads.hpp>

#include "eigen_peer.hpp"
#include "limits.hpp"
#include "ratios.hpp"

using namespace taper;
using bench::Case, bench::Contender, bench::Role, bench::Table;

namespace {

/// A layer with `m` rows in a batch, `n` outputs and `k` inputs.
struct Shape3 {
  Index m, n, k;
};
constexpr Shape3 shapes[] = {{128, 32, 8},    {128, 64, 32},      {64, 100, 300},
                             {128, 256, 256}, {128, 1024, 784},   {256, 512, 512},
                             {512, 512, 512}, {1024, 1024, 1024}, {2048, 2048, 2048}};
constexpr std::size_t first_large = 6;  // where a second thread must pay

enum class Product { output, input_gradient, weight_gradient };
struct Description {
  Product product;
  const char *name, *title;
};
constexpr Description descriptions[] = {{Product::output, "output", "C = A W'"},
                                        {Product::input_gradient, "input_gradient", "dX = dY W"},
                                        {Product::weight_gradient, "weight_gradient", "dW = dY' X"}};

/// C = op(A) op(B) for row-major matrices without gaps, and memory for them.
template <class T> struct Problem {
  Index rows, columns, inner;
  bool transpose_a, transpose_b;
  Tensor<T> a, b, c;

  Problem(Product product, Shape3 s) {
    switch (product) {
      case Product::output:
        *this = Problem(s.m, s.n, s.k, false, true);
        break;
      case Product::input_gradient:
        *this = Problem(s.m, s.k, s.n, false, false);
        break;
      case Product::weight_gradient:
        *this = Problem(s.n, s.k, s.m, true, false);
        break;
    }
  }
  double operations() const {
    return 2 * static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(inner);
  }
  Index lda() const { return transpose_a ? rows : inner; }
  Index ldb() const { return transpose_b ? inner : columns; }

 private:
  Problem(Index m, Index n, Index k, bool ta, bool tb)
      : rows(m), columns(n), inner(k), transpose_a(ta), transpose_b(tb) {
    Rng rng(1);
    const auto random = [&](Index size) {
      Tensor<T> numbers({size});
      for (T& x : numbers) x = static_cast<T>(2 * rng.uniform() - 1);
      return numbers;
    };
    a = random(m * k), b = random(k * n), c = random(m * n);
  }
};

template <class T> void by_taper(Problem<T>& p) {
  kernels::gemm<T>(
      p.rows, p.columns, p.inner, {p.a.data(), p.transpose_a ? 1 : p.lda(), p.transpose_a ? p.lda() : 1},
      {p.b.data(), p.transpose_b ? 1 : p.ldb(), p.transpose_b ? p.ldb() : 1}, p.c.data(), p.columns, false);
}

template <class T> void by_eigen(Problem<T>& p) {
  bench::eigen::product<T>(p.rows, p.columns, p.inner, p.transpose_a, p.a.data(), p.transpose_b, p.b.data(),
                           p.c.data());
}

#ifdef TAPER_BENCH_OPENBLAS
template <class T> void by_openblas(Problem<T>& p) {
  const auto call = [&](auto gemm) {
    gemm(CblasRowMajor, p.transpose_a ? CblasTrans : CblasNoTrans, p.transpose_b ? CblasTrans : CblasNoTrans,
         static_cast<blasint>(p.rows), static_cast<blasint>(p.columns), static_cast<blasint>(p.inner), T(1),
         p.a.data(), static_cast<blasint>(p.lda()), p.b.data(), static_cast<blasint>(p.ldb()), T(0),
         p.c.data(), static_cast<blasint>(p.columns));
  };
  if constexpr (std::is_same_v<T, float>) {
    call(cblas_sgemm);
  } else {
    call(cblas_dgemm);
  }
}
#endif

#ifdef TAPER_BENCH_DNNL
void by_dnnl(Problem<float>& p) {
  dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.rows, p.columns, p.inner, 1, p.a.data(),
             p.lda(), p.b.data(), p.ldb(), 0, p.c.data(), p.columns);
}
#endif

template <class T> Contender peak() {
  return {"FMA peak", Role::limit, [] { bench::multiply_add<T>(); }, bench::multiply_add<T>()};
}

/// Throws when a contender does not leave what Taper leaves: then it would be another measurement.
template <class T> void check(const std::vector<Contender>& contenders, Problem<T>& problem) {
  contenders[0].run();
  const Tensor<T> expected = problem.c;
  const double bound = 1e-6 * std::sqrt(static_cast<double>(problem.inner)) * (sizeof(T) == 4 ? 10 : 1);
  for (const Contender& contender : contenders) {
    if (contender.role == Role::limit) continue;
    std::fill(problem.c.begin(), problem.c.end(), T(7));
    contender.run();
    for (Index i = 0; i < expected.size(); ++i)
      if (!(std::abs(static_cast<double>(problem.c.data()[i] - expected.data()[i])) <= bound))
        throw std::runtime_error(contender.name + " computes another product than Taper");
  }
}

template <class T> std::vector<Contender> products(Product product, Shape3 shape) {
  const auto problem = std::make_shared<Problem<T>>(product, shape);
  std::vector<Contender> contenders{{"Taper", Role::subject, [problem] { by_taper(*problem); }}};
#ifdef TAPER_BENCH_OPENBLAS
  contenders.push_back({"OpenBLAS", Role::peer, [problem] { by_openblas(*problem); }});
#endif
#ifdef TAPER_BENCH_DNNL
  if constexpr (std::is_same_v<T, float>)
    contenders.push_back({"oneDNN", Role::peer, [problem] { by_dnnl(*problem); }});
#endif
  contenders.push_back(
      {"Eigen", std::is_same_v<T, float> ? Role::other : Role::peer, [problem] { by_eigen(*problem); }});
  check(contenders, *problem);
  contenders.push_back(peak<T>());
  return contenders;
}

/// The same product on two threads and on one.
template <class T> std::vector<Contender> threads(Product product, Shape3 shape) {
  const auto problem = std::make_shared<Problem<T>>(product, shape);
  const auto on = [problem](int count) {
    return [problem, count] {
      set_threads(count);
      by_taper(*problem);
      set_threads(1);
    };
  };
  return {{"two threads", Role::subject, on(2)},
          {"one", Role::peer, on(1)},
          {"FMA peak on two", Role::limit, [] { bench::multiply_add<T>(2); }, bench::multiply_add<T>(2)}};
}

std::string name(Shape3 shape) {
  return std::to_string(shape.m) + "x" + std::to_string(shape.n) + "x" + std::to_string(shape.k);
}

double operations(Shape3 s) {
  return 2 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
}

template <class T> void add_products(std::vector<Table>& tables, const std::string& routine) {
  for (const Description& d : descriptions) {
    Table table{routine + "/" + d.name, routine + ", " + d.title, "m x n x k", bench::gigaflops(), {}, true};
    for (const Shape3 shape : shapes)
      table.cases.push_back({name(shape), operations(shape), [=] { return products<T>(d.product, shape); }});
    tables.push_back(table);
  }
}

template <class T> void add_threads(std::vector<Table>& tables, const std::string& routine) {
  Table table{"threads/" + routine,
              routine + ", two threads against one",
              "product, m x n x k",
              bench::gigaflops(),
              {},
              true};
  for (const Description& d : descriptions)
    for (std::size_t i = first_large; i < std::size(shapes); ++i)
      table.cases.push_back({d.title + (", " + name(shapes[i])), operations(shapes[i]),
                             [=] { return threads<T>(d.product, shapes[i]); }});
  tables.push_back(table);
}

/// The machine: its peak, and a triad over as many bytes as some level of its memory holds.
void add_limits(std::vector<Table>& tables) {
  Table flops{"limit/flops", "Multiplying and adding in registers", "", bench::gigaflops(), {}};
  const auto add = [&]<class T>(const char* type, T) {
    flops.cases.push_back({type, bench::multiply_add<T>(), [] {
                             const auto on = [](int count) { return [=] { bench::multiply_add<T>(count); }; };
                             return std::vector<Contender>{
                                 {"two threads", Role::subject, on(2), bench::multiply_add<T>(2)},
                                 {"one", Role::other, on(1)}};
                           }});
  };
  add("float", 0.0f), add("double", 0.0);
  tables.push_back(flops);

  Table memory{"limit/memory", "Triad, c = a + s b", "bytes in all", bench::gigabytes(), {}};
  for (const std::size_t kilobytes : {768, 12 << 10, 384 << 10}) {
    const std::size_t n = kilobytes * 1024 / 3 / sizeof(float);
    memory.cases.push_back(
        {kilobytes < 1024 ? std::to_string(kilobytes) + " KiB" : std::to_string(kilobytes >> 10) + " MiB",
         static_cast<double>(3 * n * sizeof(float)), [n] {
           const auto x = std::make_shared<std::vector<float>>(3 * n, 1.0f);
           const auto on = [=](int count) {
             return [=] {
               float* const p = x->data();
               bench::triad(n, p + n, p + 2 * n, 0.5f, p, count);
             };
           };
           return std::vector<Contender>{{"two threads", Role::subject, on(2)}, {"one", Role::other, on(1)}};
         }});
  }
  tables.push_back(memory);
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);
  omp_set_num_threads(1);  // for oneDNN
#ifdef TAPER_BENCH_OPENBLAS
  openblas_set_num_threads(1);
#endif
  std::vector<Table> tables;
  add_products<float>(tables, "sgemm");
  add_products<double>(tables, "dgemm");
  add_threads<float>(tables, "sgemm");
  add_threads<double>(tables, "dgemm");
  add_limits(tables);
  return bench::main(argc, argv, tables);
}

// What the tape itself costs for each operation: a chain of sums and products of 1x1 tensors, where there is
// next to nothing to compute.

#include <memory>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/tape.hpp>
#include <taper/autodiff/threads.hpp>

#include "ratios.hpp"

using namespace taper;
using bench::Contender, bench::Role, bench::Table;

namespace {

constexpr Index length = 1000;

template <class T> struct Chain {
  Tape<T> tape;
  Var<T> end;

  Chain() { record(); }
  void record() {
    tape.clear();
    const T half[] = {T(0.5)};
    const Var<T> a = tape.variable(View<const T>(half, {1, 1}));
    Var<T> x = tape.variable(View<const T>(half, {1, 1}));
    for (Index i = 0; i < length; i += 2) x = x * a + a;
    end = x;
  }
};

/// As little as a list of operations on numbers can do: call each through a pointer.
template <class T> struct Calls {
  struct Call {
    void (*function)(const T* a, const T* b, T* c);
    Index a, b, c;
  };
  std::vector<T> numbers = std::vector<T>(length + 2, T(0.5));
  std::vector<Call> calls;

  Calls() {
    for (Index i = 0; i < length; ++i)
      calls.push_back({i % 2 == 0 ? [](const T* a, const T* b, T* c) { *c = *a * *b; }
                                  : [](const T* a, const T* b, T* c) { *c = *a + *b; },
                       i + 1, 0, i + 2});
  }
  void run() {
    T* const p = numbers.data();
    for (const Call& call : calls) call.function(p + call.a, p + call.b, p + call.c);
  }
};

template <class T, class F> Contender on_chain(const char* name, Role role, const F& f) {
  return {name, role, [f, chain = std::make_shared<Chain<T>>()] { f(*chain); }};
}

template <class T> Contender calls() {
  return {"calls through a pointer", Role::limit, [of = std::make_shared<Calls<T>>()] { of->run(); }};
}

template <class T> void add(Table& table, const std::string& type) {
  const auto line = [&](const char* what, auto f) {
    table.cases.push_back({what + (", " + type), static_cast<double>(length), [f] {
                             return std::vector{on_chain<T>("Taper", Role::subject, f), calls<T>()};
                           }});
  };
  line("replay", [](Chain<T>& chain) { chain.tape.replay(); });
  line("replay and backward", [](Chain<T>& chain) {
    chain.tape.replay();
    chain.tape.backward(chain.end);
  });
  line("clear and record", [](Chain<T>& chain) { chain.record(); });
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);
  Table table{"tape", "1x1 tensors, a chain of 1000", "what", bench::nanoseconds("operation"), {}};
  add<float>(table, "float"), add<double>(table, "double");
  return bench::main(argc, argv, {table});
}

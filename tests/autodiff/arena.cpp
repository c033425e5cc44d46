#include <taper/autodiff/arena.hpp>

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <fstream>

#include <taper/autodiff/gradcheck.hpp>

#include "random_tensors.hpp"

using namespace taper;

namespace {

constexpr std::size_t megabyte = 1024 * 1024;

/// Bytes of this process that are in memory; 0 where the system does not tell.
std::size_t resident() {
  std::size_t size = 0, pages = 0;
  std::ifstream("/proc/self/statm") >> size >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Leaves NaN in `bytes` of a tape's memory for values and for gradients, and clears it.
void soil(Tape<double>& tape) {
  Tensor<double> bad({100000});
  for (double& entry : bad) entry = std::nan("");
  const Var<double> x = tape.variable(bad);
  tape.backward(x, bad);
  tape.clear();
}

}  // namespace

TEST_CASE("Arena: chunks double up to 64 MB, and what is larger gets its own") {
  Arena<float> arena;
  const std::size_t large = 200 * megabyte / sizeof(float);
  arena.take(large);
  CHECK(arena.capacity() == large);
  arena.take(1);
  CHECK(arena.capacity() < large + megabyte);
  arena.reset();
  arena.take(large);
  arena.take(1);
  CHECK(arena.capacity() < large + megabyte);

  Arena<char> grows;
  std::size_t before = 0, chunk = 0;
  for (int i = 0; i < 300; ++i) {
    grows.take(megabyte);
    if (grows.capacity() == before) continue;
    chunk = grows.capacity() - before;
    before = grows.capacity();
    CHECK(chunk <= 64 * megabyte);
  }
  CHECK(chunk == 64 * megabyte);
}

TEST_CASE("Arena: memory that nobody has written takes no room") {
  Arena<float> arena;
  const std::size_t before = resident();
  float* const piece = arena.take(200 * megabyte / sizeof(float));
  piece[0] = 1;
  CHECK(resident() < before + 100 * megabyte);
}

TEST_CASE("Arena: no operation relies on memory that is zero") {
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    if (op->gradcheck_cases == nullptr) continue;
    Rng rng(7);
    for (const GradcheckCase& example : op->gradcheck_cases(rng)) {
      Tape<double> clean, used;
      soil(used);
      std::vector<Tensor<double>> values, gradients;
      for (Tape<double>* tape : {&clean, &used}) {
        std::vector<Var<double>> inputs;
        for (std::size_t i = 0; i < example.inputs.size(); ++i) {
          const bool fixed = op->constant(static_cast<Index>(i));
          inputs.push_back(fixed ? tape->constant(example.inputs[i]) : tape->variable(example.inputs[i]));
        }
        const Var<double> y = tape->record(*op, inputs, example.attributes);
        tape->replay(3);
        values.emplace_back(y.value());
        if (op->no_derivative) continue;
        Tensor<double> seed(y.shape());
        for (double& entry : seed) entry = 1;
        tape->backward(y, seed);
        for (std::size_t i = 0; i < inputs.size(); ++i) {
          if (!op->constant(static_cast<Index>(i))) gradients.emplace_back(inputs[i].gradient());
        }
      }
      CHECK(same_bits(values[0].view(), values[1].view()));
      for (std::size_t i = 0; i < gradients.size() / 2; ++i) {
        CHECK(same_bits(gradients[i].view(), gradients[gradients.size() / 2 + i].view()));
      }
    }
  }
}

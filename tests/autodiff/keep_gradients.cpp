#include <taper/autodiff/ops.hpp>

#include "../check.hpp"
#include "random_tensors.hpp"

using namespace taper;

namespace {

using Gradients = std::vector<Tensor<double>>;

Gradients gradients_of(const std::vector<Var<double>>& variables) {
  Gradients result;
  for (const auto& x : variables) result.emplace_back(x.gradient());
  return result;
}

bool all_same_bits(const Gradients& a, const Gradients& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i].view(), b[i].view())) return false;
  }
  return a.size() == b.size();
}

}  // namespace

TEST_CASE("keep_gradients: every operation in place leaves the same bits with its inputs") {
  std::size_t in_place = 0;
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    Rng rng(6);
    for (const Sample& sample : op->samples(rng)) {
      Tape<double> tape;
      std::vector<Var<double>> x;
      for (const auto& input : sample.inputs) x.push_back(tape.variable(input));
      const Var<double> y = tape.record(*op, x, sample.attributes);
      const auto seed = random_tensor<double>(rng, y.shape());
      tape.backward(y, seed.view());
      const Gradients kept = gradients_of(x);
      CHECK(y.gradient().size() == y.value().size());
      tape.keep_gradients(false);
      for (int pass = 0; pass < 2; ++pass) {
        tape.backward(y, seed.view());
        CHECK(all_same_bits(gradients_of(x), kept));
      }
      if (!op->in_place) continue;
      ++in_place;
      CHECK_ERROR(y.gradient(), "[gradient]", "keep_gradients");
    }
  }
  CHECK(in_place > 10);
}

TEST_CASE("keep_gradients: a chain gives the same with and without, in any order, and adds up") {
  Rng rng(7);
  const auto block = std::make_shared<Block<double>>(40);
  for (int i = 0; i < 40; ++i) block->values.data()[i] = rng.uniform(-1, 1);
  Tape<double> tape;
  const auto u = tape.parameter(block, 0, {4, 6}), v = tape.parameter(block, 24, {6});
  const auto w = hadamard(u, v), y = sum(relu(tanh(w)));
  tape.backward(y);
  const Gradients once = gradients_of({u, v});
  for (const bool keep : {false, true, false, false}) {
    tape.keep_gradients(keep);
    tape.backward(y);
    CHECK(all_same_bits(gradients_of({u, v}), once));
    tape.backward(y, Accumulate::yes);
    for (const auto& [x, g] : {std::pair(u, once[0]), std::pair(v, once[1])}) {
      for (Index i = 0; i < g.size(); ++i) CHECK(x.gradient()[i] == 2 * g[i]);
    }
    CHECK(w.gradient().size() == 24);  // what is added to cannot be written over
  }
  tape.backward(y);
  CHECK_ERROR(w.gradient(), "[gradient] variable %2", "replaced", "keep_gradients(true)");
  tape.keep_gradients(true);
  CHECK_ERROR(w.gradient(), "keep_gradients(true) before");
  tape.backward(y);
  CHECK(w.gradient().size() == 24);
}

TEST_CASE("keep_gradients: a variable with other uses is not written over") {
  Tape<double> tape;
  tape.keep_gradients(false);
  const auto x = tape.variable(Tensor<double>({3}, {1, 2, 3}));
  const auto y = relu(x);
  tape.backward(sum(y));
  CHECK(x.gradient()[1] == 1);
  const auto z = sum(y + square(x));  // recorded later: x now has two uses
  tape.backward(z);
  for (Index i = 0; i < 3; ++i) CHECK(x.gradient()[i] == 1 + 2 * x.value()[i]);
  CHECK(y.gradient()[0] == 1);
  tape.clear();
  const auto a = tape.variable(Tensor<double>({2}, {3, 4}));
  tape.backward(sum(hadamard(a, a)));
  CHECK(a.gradient()[0] == 6);
  CHECK(a.gradient()[1] == 8);
}

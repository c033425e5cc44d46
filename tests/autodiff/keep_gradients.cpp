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
    if (op->no_derivative) continue;
    Rng rng(6);
    for (const GradcheckCase& example : op->gradcheck_cases(rng)) {
      Tape<double> tape;
      std::vector<Var<double>> x;
      for (const auto& input : example.inputs) x.push_back(tape.variable(input));
      const Var<double> y = tape.record(*op, x, example.attributes);
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

TEST_CASE(
    "value_and_gradient: the same bits as replay and backward, for layers in a row and beside each other") {
  Rng rng(8);
  const auto block = std::make_shared<Block<double>>(128);
  Tape<double> tape;
  const auto x = tape.input({5, 6});
  const auto u1 = tape.parameter(block, 0, {4, 6}), v1 = tape.parameter(block, 24, {6});
  const auto u2 = tape.parameter(block, 32, {4, 3}), v2 = tape.parameter(block, 44, {4, 1});
  const auto u3 = tape.parameter(block, 56, {4, 3}), v3 = tape.parameter(block, 72, {4, 3});
  const auto v4 = tape.parameter(block, 88, {4, 3}), u5 = tape.parameter(block, 104, {4, 3});
  const auto w1 = hadamard(u1, v1), w2 = hadamard(u2, v2);
  const auto w3 = hadamard(hadamard(u3, v3), v4);  // a factor that is computed
  const auto w5 = hadamard(u5, v3);                // read by two
  const auto h = tanh(matmul(x, w1, Transpose::no, Transpose::yes));
  const auto out = matmul(h, w2) + matmul(h, w3) + matmul(h, w5);
  const auto loss = sum(square(out)) + sum(w5);
  const std::vector<Var<double>> leaves{u1, v1, u2, v2, u3, v3, v4, u5};
  for (int trial = 0; trial < 3; ++trial) {
    for (int i = 0; i < 128; ++i) block->values.data()[i] = rng.uniform(-1, 1);
    x.assign(random_tensor<double>(rng, {5, 6}).view());
    tape.keep_gradients(true);
    tape.replay();
    tape.backward(loss);
    const double value = loss.item();
    const Gradients expected = gradients_of(leaves);
    tape.value_and_gradient(loss);
    CHECK(all_same_bits(gradients_of(leaves), expected));
    CHECK(w1.value().size() == 24);  // nothing is lost while gradients are kept

    tape.keep_gradients(false);
    for (int pass = 0; pass < 2; ++pass) {
      std::fill_n(block->gradients.data(), 128, 7.0);
      tape.value_and_gradient(loss);
      CHECK(loss.item() == value);
      CHECK(all_same_bits(gradients_of(leaves), expected));
      CHECK_ERROR(w1.value(), "[value]", "expected replay() before");
      CHECK_ERROR(w2.value(), "[value]");
      CHECK(w5.value()[4] == u5.value()[4] * v3.value()[4]);
    }
    CHECK_ERROR(relu(w1), "[relu]", "no value left");
    CHECK_ERROR(tape.backward(loss), "[backward]", "expected replay() before");
    tape.replay();
    CHECK(w1.value()[7] == u1.value()[7] * v1.value()[1]);
    tape.backward(loss, Accumulate::yes);
    for (Index i = 0; i < 24; ++i) CHECK(u1.gradient()[i] == 2 * expected[0][i]);
  }
}

TEST_CASE("value_and_gradient: any operation may read a value that is lent") {
  std::size_t lent = 0;
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    if (op->backward == nullptr) continue;
    Rng rng(9);
    for (const GradcheckCase& example : op->gradcheck_cases(rng)) {
      Tape<double> tape;
      std::vector<Var<double>> leaves, x;
      for (std::size_t i = 0; i < example.inputs.size(); ++i) {
        const Shape& shape = example.inputs[i].shape();
        leaves.push_back(tape.variable(example.inputs[i]));
        if (op->constant(static_cast<Index>(i))) {
          x.push_back(leaves.back());
          continue;
        }
        Tensor<double> ones(shape);
        std::fill(ones.begin(), ones.end(), 1.0);
        const auto u = leaves.back();
        leaves.push_back(tape.variable(ones));
        x.push_back(hadamard(u, leaves.back()));
      }
      const Var<double> y = tape.record(*op, x, example.attributes);
      const auto loss = sum(y * tape.constant(random_tensor<double>(rng, y.shape())));
      tape.replay(5);
      tape.backward(loss);
      const Gradients expected = gradients_of(leaves);
      tape.keep_gradients(false);
      tape.value_and_gradient(loss, 5);
      CHECK(all_same_bits(gradients_of(leaves), expected));
      for (const auto& input : x) {
        try {
          static_cast<void>(input.value());
        } catch (const Error&) {
          ++lent;
        }
      }
    }
  }
  CHECK(lent > 3);
}

TEST_CASE("value_and_gradient: what it cannot go back from") {
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({2}, {1, 2})), constant = tape.constant(1.0);
  CHECK_ERROR(tape.value_and_gradient(relu(x)), "[backward]", "expected one entry");
  CHECK_ERROR(tape.value_and_gradient(relu(constant)), "requires a gradient");
}

TEST_CASE("value_and_gradient: a value that a buffer is assigned is not overwritten") {
  const auto block = std::make_shared<Block<double>>(24), running = std::make_shared<Block<double>>(12);
  for (int i = 0; i < 24; ++i) block->values.data()[i] = i + 1;
  Tape<double> tape;
  const auto u = tape.parameter(block, 0, {4, 3}), v = tape.parameter(block, 16, {3});
  const auto buffer = tape.buffer(running, 0, {4, 3}, tape.names().add("running", 0));
  const auto w = hadamard(u, v);
  const auto loss = sum(matmul(tape.input({2, 4}), w));
  tape.keep_gradients(false);
  tape.value_and_gradient(loss);
  CHECK_ERROR(w.value(), "[value]");
  tape.replay();
  tape.assign_later(buffer, w);
  block->values.data()[5] = 100;
  tape.value_and_gradient(loss);
  tape.update_buffers();
  CHECK(running->values.data()[5] == 100 * block->values.data()[18]);
  CHECK(same_bits(w.value(), buffer.value()));
}

TEST_CASE("assign_later: what is assigned must be of this tape") {
  const auto running = std::make_shared<Block<double>>(4);
  Tape<double> tape, other;
  const auto buffer = tape.buffer(running, 0, {4}, tape.names().add("running", 0));
  CHECK_ERROR(tape.assign_later(buffer, other.input({4})), "[assign_later]", "another tape");
}

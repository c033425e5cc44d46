#include <taper/autodiff/op.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <taper/autodiff/ops.hpp>

#include "../check.hpp"

using namespace taper;

namespace {

using Record = OpRecord<double>;

/// The operation y = x0 + ... + xn of inputs of one shape.
Record total() {
  return {.name = "total",
          .arity = {1, Arity::any},
          .shape = [](const Signature& s) { return s[0]; },
          .forward =
              [](const Forward<double>& f) {
                f.output().vector() = f.input(0).vector();
                for (Index i = 1; i < f.inputs(); ++i) f.output().vector() += f.input(i).vector();
              },
          .backward =
              [](const Backward<double>& b) {
                for (Index i = 0; i < b.inputs(); ++i) {
                  const Gradient<double> g = b.gradient(i);
                  for (Index j = 0; g && j < b.output().size(); ++j)
                    g.data[j] = (g.add ? g.data[j] : 0) + b.output_gradient()[j];
                }
              }};
}

/// A record with one change.
template <class Change> Record changed(const Change& change) {
  Record record = total();
  change(record);
  return record;
}

}  // namespace

TEST_CASE("op: a record that lacks something is refused when it is made") {
  const std::size_t before = Op<double>::registry().size();
  const auto refuse = [](const auto& change, const char* words) {
    CHECK_ERROR(Op<double>{changed(change)}, words, "expected");
  };
  CHECK_NOTHROW(Op<double>{total()});
  CHECK_ERROR(Op<double>{Record{}}, "[op] a record without a name");
  refuse([](Record& r) { r.arity = {}; }, "[total] a record without arity");
  refuse([](Record& r) { r.arity = {0, 2}; }, "[total] a record for 0 to 2 inputs");
  refuse([](Record& r) { r.arity = {3, 2}; }, "[total] a record for 3 to 2 inputs");
  refuse([](Record& r) { r.arity = -1; }, "[total] a record for -1 to -1 inputs");
  refuse([](Record& r) { r.shape = nullptr; }, "[total] a record without shape");
  refuse([](Record& r) { r.forward = nullptr; }, "[total] a record without forward");
  refuse([](Record& r) { r.backward = nullptr; }, "[total] a record without backward");
  refuse([](Record& r) { r.no_derivative = true; }, "[total] a record with backward and no_derivative");
  refuse([](Record& r) { r.arity = 2, r.constants = 0b100; }, "[total] a record that marks an input beyond");
  refuse([](Record& r) { r.arity = 2, r.reads_before_write = 0b100; },
         "[total] a record that marks an input beyond");
  refuse([](Record& r) { r.arity = 2, r.constants = 0b11; }, "[total] a record with backward, all of whose");
  CHECK(Op<double>::registry().size() == before);  // none of them has entered itself
}

TEST_CASE("op: without derivative, when the record says so") {
  const Op<double> round{Record{.name = "round",
                                .arity = 1,
                                .shape = [](const Signature& s) { return s[0]; },
                                .forward =
                                    [](const Forward<double>& f) {
                                      for (Index i = 0; i < f.output().size(); ++i)
                                        f.output()[i] = std::round(f.input(0)[i]);
                                    },
                                .no_derivative = true}};
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({3}, {0.2, 1.7, -2.4}));
  tape.backward(sum(apply(round, {x}) * x));
  CHECK(x.gradient().vector() == Eigen::Vector3d(0, 2, -2));
  CHECK_ERROR(tape.backward(sum(apply(round, {x}))), "[backward]");
}

TEST_CASE("op: recorded with another number of inputs than it takes") {
  const Op<double> any(total());
  const Op<double> two(changed([](Record& r) { r.name = "two", r.arity = 2; }));
  const Op<double> some(changed([](Record& r) { r.name = "some", r.arity = {2, 3}; }));
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({2}, {1, 2}));
  CHECK(apply(any, {x}).value()[1] == 2);
  CHECK(apply(any, {x, x, x, x, x}).value()[1] == 10);
  CHECK(apply(two, {x, x}).value()[1] == 4);
  CHECK(apply(some, {x, x, x}).value()[1] == 6);
  const auto nodes = tape.nodes().size();
  CHECK_ERROR(apply(two, {x}), "[two] 1 input: expected 2 inputs");
  CHECK_ERROR(apply(two, {x, x, x}), "[two] 3 inputs: expected 2 inputs");
  CHECK_ERROR(apply(some, {x}), "[some] 1 input: expected 2 to 3 inputs");
  CHECK_ERROR(tape.record(any, {}), "[total] 0 inputs: expected 1 or more inputs");
  CHECK(tape.nodes().size() == nodes);
}

TEST_CASE("op: one that reads more inputs than its arity says is found out") {
  const Op<double> shape(
      changed([](Record& r) { r.name = "shape", r.shape = [](const Signature& s) { return s[1]; }; }));
  const Op<double> forward(changed([](Record& r) {
    r.name = "forward";
    r.forward = [](const Forward<double>& f) { f.output().vector() = f.input(1).vector(); };
  }));
  const Op<double> backward(changed([](Record& r) {
    r.name = "backward";
    r.backward = [](const Backward<double>& b) { b.input(1); };
  }));
  const Op<double> gradient(changed([](Record& r) {
    r.name = "gradient";
    r.backward = [](const Backward<double>& b) { b.gradient(-1); };
  }));
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({1}, {1}));
  CHECK_ERROR(apply(shape, {x}), "[shape] reads input 1 (counted from 0) of 1");
  CHECK_ERROR(apply(forward, {x}), "[forward] reads input 1 (counted from 0) of 1");
  CHECK_ERROR(tape.backward(apply(backward, {x})), "[backward] reads input 1 (counted from 0) of 1");
  CHECK_ERROR(tape.backward(apply(gradient, {x})), "[gradient] reads input -1 (counted from 0) of 1");
}

TEST_CASE("op: one that writes a gradient which nothing requires does no harm") {
  // The product of two, which checks neither of its gradients.
  const Op<double> product(
      Record{.name = "product",
             .arity = 2,
             .shape = [](const Signature& s) { return s[0]; },
             .forward =
                 [](const Forward<double>& f) {
                   f.output().vector() = f.input(0).vector().cwiseProduct(f.input(1).vector());
                 },
             .backward =
                 [](const Backward<double>& b) {
                   for (const Index i : {0, 1}) {
                     const Gradient<double> g = b.gradient(i);
                     for (Index j = 0; j < b.output().size(); ++j)
                       g.data[j] = (g.add ? g.data[j] : 0) + b.output_gradient()[j] * b.input(1 - i)[j];
                   }
                 }});
  Tape<double> tape;
  for (const Index size : {3, 100'000}) {
    Tensor<double> twos(Shape{size});
    twos.vector().setConstant(2);
    for (int round = 0; round < 2; ++round) {
      tape.clear();
      const auto x = tape.variable(twos), c = tape.constant(twos);
      tape.backward(sum(apply(product, {c, x})) + sum(apply(product, {x, c})));
      CHECK(x.gradient()[size - 1] == 4);
      CHECK(c.value()[size - 1] == 2);
      CHECK_ERROR(c.gradient(), "requires no gradient");
    }
  }
}

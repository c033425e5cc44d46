#include <taper/autodiff/tape.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <sstream>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/print.hpp>

#include "../check.hpp"
#include "random_tensors.hpp"

using namespace taper;

namespace {

using Numbers = Tensor<double>;

const double quiet_nan = std::numeric_limits<double>::quiet_NaN();

template <class T> struct Net {
  Var<T> x, w, b, loss;

  Net(Tape<T>& tape, const Tensor<T>& input, const Tensor<T>& weight, const Tensor<T>& bias)
      : x(tape.constant(input, "x")), w(tape.variable(weight, "w")), b(tape.variable(bias, "b")) {
    const Var<T> hidden = affine(x, w, b, Activation::tanh);
    loss = mean(logsumexp(hidden * hidden + exp(-hidden), -1));
  }
};

}  // namespace

TEST_CASE_TEMPLATE("Tape: a replay equals a fresh recording bit for bit", T, float, double) {
  Rng rng(1);
  const auto draw = [&](const Shape& shape) { return random_tensor<T>(rng, shape); };
  Tape<T> tape;
  const Net<T> net(tape, draw({9, 5}), draw({7, 5}), draw({7}));
  for (int i = 0; i < 3; ++i) {
    const Tensor<T> x = draw({9, 5}), w = draw({7, 5}), b = draw({7});
    net.x.assign(x);
    net.w.assign(w);
    net.b.assign(b);
    tape.replay();
    tape.backward(net.loss);
    Tape<T> other;
    const Net<T> fresh(other, x, w, b);
    other.backward(fresh.loss);
    CHECK(same_bits(net.loss.value(), fresh.loss.value()));
    CHECK(same_bits(net.w.gradient(), fresh.w.gradient()));
    CHECK(same_bits(net.b.gradient(), fresh.b.gradient()));
  }
}

TEST_CASE("Tape: a cleared tape records again in the same memory") {
  Rng rng(2);
  const Numbers x = random_tensor<double>(rng, {4, 3}), w = random_tensor<double>(rng, {2, 3}), b({2});
  Tape<double> tape;
  const Net<double> first(tape, x, w, b);
  tape.backward(first.loss);
  const Numbers gradient(first.w.gradient());
  const double* const memory = first.loss.value().data();
  const std::size_t nodes = tape.nodes().size();
  tape.clear();
  CHECK(tape.nodes().empty());
  const Net<double> second(tape, x, w, b);
  tape.backward(second.loss);
  CHECK(tape.nodes().size() == nodes);
  CHECK(second.loss.value().data() == memory);
  CHECK(same_bits(second.w.gradient(), gradient.view()));
}

TEST_CASE("Tape: inputs start at zero, are written in place, and data() shows them") {
  Tape<double> tape;
  const Var<double> x = tape.input({2}, "x"), y = x * 3 + 1;
  CHECK(y.value()[0] == 1);
  x.data()[0] = 5;
  tape.replay();
  CHECK(y.value()[0] == 16);
  CHECK(y.value()[1] == 1);
  CHECK(x.index() == 0);
  CHECK_ERROR(x.assign(Numbers({3}).view()), "[assign] a value 3 for variable %0: expected 2");
  CHECK_ERROR(y.data(), "[assign] variable %", "is computed or a parameter: expected an input");
  CHECK_ERROR(y.item(), "[item] a tensor 2: expected one entry");
  CHECK(sum(y).item() == 17);
}

TEST_CASE("backward: the same variable twice in one operation") {
  Tape<double> tape;
  const Var<double> x = tape.variable(Numbers({3}, {2, -3, 0.5}));
  tape.backward(sum(x * x));
  CHECK(apart(x.gradient(), Numbers({3}, {4, -6, 1}).view()) == 0);
  tape.backward(sum(x - x));
  CHECK(apart(x.gradient(), Numbers({3}).view()) == 0);
  tape.backward(sum(max(x, x)));  // one half from each side
  CHECK(apart(x.gradient(), Numbers({3}, {1, 1, 1}).view()) == 0);
}

TEST_CASE_TEMPLATE("backward: the same number twice in one operation", T, float, double) {
  Tape<T> tape;
  const Var<T> x = tape.variable(Tensor<T>({1, 1}, {4})), scalar = tape.variable(Tensor<T>({}, {2}));
  const auto slope = [&](Var<T> output) {
    tape.backward(output);
    return x.gradient()[0];
  };
  CHECK(slope(x + x) == 2);
  CHECK(slope(x - x) == 0);
  CHECK(slope(x * x) == 8);
  CHECK(slope(x / x) == 0);  // 1/4 - 4/16
  CHECK(slope(x * scalar / x + x) == 1);
  CHECK(scalar.gradient()[0] == 1);
  CHECK((x * scalar).shape() == Shape{1, 1});
  const Var<T> row = tape.constant(Tensor<T>({3}, {1, 2, 5}));
  CHECK(slope(sum(x * row - x)) == 5);
}

TEST_CASE_TEMPLATE("backward: one number alone gets the bits that it gets among others", T, float, double) {
  Rng rng(4);
  bool same = true;
  for (int i = 0; i < 200; ++i) {
    const auto random = [&] { return static_cast<T>(rng.uniform(-3, 3)); };
    const T x = random(), y = random(), z = random();
    const auto gradients = [&](Index size) {
      const Shape shape{1, size};
      const auto filled = [&](T value) {
        Tensor<T> numbers(shape);
        std::fill(numbers.begin(), numbers.end(), value);
        return numbers;
      };
      Tape<T> tape;
      const Var<T> a = tape.variable(filled(x)), b = tape.variable(filled(y)), c = tape.variable(filled(z));
      const Var<T> result = a * b + a * c - b / c;
      tape.backward(sum(result));
      return std::array{result.value()[0], a.gradient()[0], b.gradient()[0], c.gradient()[0]};
    };
    same &= gradients(1) == gradients(3);
  }
  CHECK(same);
}

TEST_CASE("backward: contracts with a seed") {
  Tape<double> tape;
  const Var<double> x = tape.variable(Numbers({2, 2}, {1, 2, 3, 4}));
  const Var<double> y = x * x;
  tape.backward(y, Numbers({2, 2}, {1, 10, 100, 0}).view());
  CHECK(apart(x.gradient(), Numbers({2, 2}, {2, 40, 600, 0}).view()) == 0);
  tape.backward(x, Numbers({2, 2}, {1, 2, 3, 4}).view());  // a leaf as its own output
  CHECK(apart(x.gradient(), Numbers({2, 2}, {1, 2, 3, 4}).view()) == 0);
}

TEST_CASE("backward: gradients are stored from pass to pass, added for parameters when asked") {
  const auto block = std::make_shared<Block<double>>(4);
  std::fill_n(block->values.data(), 4, 3.0);
  Tape<double> tape;
  const Var<double> p = tape.parameter(block, 0, {2}), q = tape.parameter(block, 2, {2});
  const Var<double> x = tape.variable(Numbers({2}, {1, 2}));
  const Var<double> both = sum(p * x) + sum(q * q), only_p = sum(p * x);
  for (int pass = 0; pass < 2; ++pass) {
    tape.backward(both);
    CHECK(apart(p.gradient(), Numbers({2}, {1, 2}).view()) == 0);
    CHECK(apart(q.gradient(), Numbers({2}, {6, 6}).view()) == 0);
    CHECK(apart(x.gradient(), Numbers({2}, {3, 3}).view()) == 0);
  }
  tape.backward(only_p, Accumulate::yes);
  CHECK(apart(p.gradient(), Numbers({2}, {2, 4}).view()) == 0);
  CHECK(apart(q.gradient(), Numbers({2}, {6, 6}).view()) == 0);
  CHECK(apart(x.gradient(), Numbers({2}, {3, 3}).view()) == 0);  // not a parameter: stored
  tape.backward(p, Numbers({2}, {10, 10}).view(), Accumulate::yes);
  CHECK(apart(p.gradient(), Numbers({2}, {12, 14}).view()) == 0);
  tape.backward(only_p);
  CHECK(apart(p.gradient(), Numbers({2}, {1, 2}).view()) == 0);
  CHECK(apart(q.gradient(), Numbers({2}).view()) == 0);  // not reached: zero, not what was there
  CHECK(block->gradients.data()[1] == 2);
}

TEST_CASE("backward: a variable that the output does not depend on gets zero") {
  Tape<double> tape;
  const Var<double> x = tape.variable(Numbers({2}, {1, 2})), y = tape.variable(Numbers({2}, {3, 4}));
  tape.backward(sum(x * y));
  CHECK(y.gradient()[0] == 1);
  tape.backward(sum(x));
  CHECK(apart(y.gradient(), Numbers({2}).view()) == 0);
  CHECK(apart(x.gradient(), Numbers({2}, {1, 1}).view()) == 0);
}

TEST_CASE("backward: two tapes on one block clear each other's gradients") {
  const auto block = std::make_shared<Block<double>>(2);
  block->values.data()[0] = 2;
  block->values.data()[1] = 5;
  Tape<double> first, second;
  const Var<double> a = square(first.parameter(block, 0, {})), b = square(second.parameter(block, 1, {}));
  const double* const g = block->gradients.data();
  first.backward(a);
  CHECK((g[0] == 4 && g[1] == 0));
  second.backward(b);
  CHECK((g[0] == 0 && g[1] == 10));
  first.backward(a, Accumulate::yes);
  CHECK((g[0] == 4 && g[1] == 10));
  first.backward(a, Accumulate::yes);
  CHECK((g[0] == 8 && g[1] == 10));
  first.backward(a);  // what the second tape left among the sums goes too
  CHECK((g[0] == 4 && g[1] == 0));
}

TEST_CASE("Tape: a parameter is bound once, reads its block, and must lie inside it") {
  const auto block = std::make_shared<Block<double>>(6);
  Tape<double> tape;
  const Var<double> p = tape.parameter(block, 2, {2, 2}, "weight");
  CHECK(tape.parameter(block, 2, {2, 2}).index() == p.index());
  CHECK(tape.parameter(block, 0, {2}).index() != p.index());
  const Var<double> total = sum(p);
  block->values.data()[5] = 7;
  tape.replay();
  CHECK(total.item() == 7);
  CHECK_ERROR(p.data(), "[assign]", "is computed or a parameter");
  CHECK_ERROR(tape.parameter(block, 3, {2, 2}), "[parameter] 2x2 from position 3 on leaves its block of 6");
  CHECK_ERROR(tape.parameter(block, -1, {2}), "[parameter] 2 from position -1");
}

TEST_CASE("Tape: a parameter that overlaps another one is refused") {
  const auto block = std::make_shared<Block<double>>(8);
  Tape<double> tape;
  tape.parameter(block, 2, {2, 2}, "w");
  CHECK_ERROR(tape.parameter(block, 2, {4}, "flat"), "[parameter]", "overlaps 'w', 2x2");
  CHECK_ERROR(tape.parameter(block, 5, {2}, "tail"), "overlaps 'w'");
  tape.parameter(block, 0, {2}, "before");
  tape.parameter(block, 6, {2}, "behind");
}

TEST_CASE("Tape: parameters that have moved since they were bound are found, replaced ones are refused") {
  const auto block = std::make_shared<Block<double>>(4), middle = std::make_shared<Block<double>>(2),
             home = std::make_shared<Block<double>>(8);
  Tape<double> tape;
  const Var<double> total = sum(square(tape.parameter(block, 2, {2}, "weight")));
  const auto move = [](const auto& from, Index offset, const auto& to, Index target) {
    from->moves.push_back({offset, 2, to, target});
    std::fill_n(from->frozen.data() + offset, 2, Block<double>::gone);
    ++from->version;
  };
  ++block->version;  // something else has left the block
  tape.replay();
  move(block, 2, middle, 0);
  move(middle, 0, home, 5);
  home->values.data()[5] = 3;
  home->values.data()[6] = 4;
  tape.replay();
  CHECK(total.item() == 25);
  tape.backward(total);
  CHECK(home->gradients.data()[6] == 8);
  CHECK(block->gradients.data()[3] == 0);
  std::fill_n(home->frozen.data() + 5, 2, Block<double>::gone);
  ++home->version;
  CHECK_ERROR(tape.replay(), "[replay] parameter 'weight' was replaced", "record again");
  CHECK_ERROR(tape.backward(total), "[backward] parameter 'weight' was replaced", "record again");
  tape.clear();
  tape.backward(sum(tape.parameter(middle, 0, {2})));  // a new recording is of what is there
  CHECK(middle->gradients.data()[1] == 1);
}

TEST_CASE("Tape: a buffer is read at each replay, and written when it is told to") {
  const auto block = std::make_shared<Block<double>>(2);
  Tape<double> tape(Mode::training);
  const auto x = tape.input({2});
  const auto buffer = [&] { return tape.buffer(block, 0, {2}, tape.names().add("mean", tape.scope())); };
  const auto mean = buffer();
  const auto y = x + mean;
  tape.assign_later(mean, y);
  CHECK(buffer().index() == y.index());  // what a second use in the same step has to go on from
  const auto z = y + buffer();
  tape.assign_later(buffer(), z);
  x.assign(Tensor<double>({2}, {1, 2}));
  for (int i = 0; i < 2; ++i) tape.replay();
  CHECK(z.value()[1] == 4);  // the same again
  CHECK(block->values.data()[1] == 0);
  tape.update_buffers();
  CHECK(block->values.data()[1] == 4);
  tape.replay();
  CHECK(z.value()[1] == 12);
  CHECK_ERROR(tape.assign_later(x, y), "[assign_later] variable %0 is no buffer: expected one");
  CHECK_ERROR(tape.assign_later(buffer(), sum(x)), "[assign_later] a value scalar", "expected 2");
  CHECK(Tape<double>(Mode::training).training());
  CHECK_FALSE(Tape<double>(Mode::evaluation).training());
  Tape<double> unstated;
  CHECK_ERROR(unstated.training(), "[tape] a recording without a mode", "Mode::evaluation");
}

TEST_CASE("Tape: misuse is an error with words") {
  Tape<double> tape, other;
  const Var<double> x = tape.variable(Numbers({2})), y = other.variable(Numbers({2}));
  const Var<double> none, constant = tape.constant(1.0);
  CHECK_ERROR(exp(none), "[tape] a variable that is on no tape was used");
  CHECK_ERROR(add(x, y), "[add] a variable of another tape was used");
  exp(x);
  CHECK_ERROR(apply(*tape.nodes().back().op, {}), "[exp] no inputs: expected one");
  CHECK(tape.at(1).index() == 1);
  CHECK_ERROR(tape.at(-1), "[tape] position -1 of a tape of");
  CHECK_ERROR(tape.at(static_cast<Index>(tape.nodes().size())), "[tape] position");
  CHECK_ERROR(tape.at(Index{1} << 32), "[tape] position 4294967296");
  CHECK_ERROR(tape.backward(y), "[backward] a variable of another tape was used");
  CHECK_ERROR(tape.backward(x * 2), "[backward] an output 2: expected one entry, or a seed of that shape");
  CHECK_ERROR(tape.backward(x, Numbers({2, 1}).view()),
              "[backward] a seed 2x1 for an output 2: expected the same shape");
  CHECK_ERROR(tape.backward(exp(constant)), "[backward] nothing below output %", "requires a gradient");
  CHECK_ERROR(x.gradient(), "[gradient] variable %0 was not reached by a backward pass");
  tape.backward(sum(x));
  CHECK_ERROR(constant.gradient(), "was not reached by a backward pass: it requires no gradient");
  tape.clear();
  CHECK_ERROR(x.value(), "[value] a variable was used after its tape was cleared");
  CHECK_ERROR(x.gradient(), "[gradient] a variable was used after its tape was cleared");
  CHECK_ERROR(exp(x), "[exp] a variable was used after its tape was cleared");
  tape.input({2});  // in the same place, and still not the same variable
  CHECK_ERROR(x.shape(), "[shape] a variable was used after its tape was cleared");
}

TEST_CASE("Scope: names the layer in errors, and a failed operation leaves no trace") {
  Tape<double> tape;
  const Var<double> x = tape.input({2, 7}), w = tape.input({8, 3}), empty = tape.input({0});
  const Tape<double>::Scope outer(tape, "encoder");
  {
    const Tape<double>::Scope inner(tape, "fc1");
    CHECK_ERROR(affine(x, w),
                "[affine] input 2x7 does not fit weight 8x3: expected 3 columns (layer encoder.fc1)");
  }
  CHECK_ERROR(affine(x, w), "expected 3 columns (layer encoder)");
  CHECK_ERROR(logsumexp(empty), "[logsumexp] a tensor 0: expected entries (layer encoder)");
  CHECK_ERROR(reshape(x, {-2, 7}), "[reshape] dimension 0 is -2: expected 0 or more (layer encoder)");
  CHECK(tape.nodes().size() == 3);
  CHECK(tape.path(tape.nodes()[static_cast<std::size_t>(exp(x).index())]) == "encoder");
}

TEST_CASE("once: computes once per recording") {
  Tape<double> tape;
  int made = 0;
  const auto make = [&] {
    ++made;
    return tape.constant(static_cast<double>(made));
  };
  const Var<double> first = tape.memoize(7, make);
  CHECK(tape.memoize(7, make).index() == first.index());
  CHECK(made == 1);
  CHECK(tape.memoize(8, make).item() == 2);
  tape.clear();
  CHECK(tape.memoize(7, make).item() == 3);
}

TEST_CASE("check_finite: names the first operation that makes a NaN or an infinity") {
  Tape<double> tape;
  tape.check_finite(true);
  const Var<double> x = tape.input({3}, "x");
  Var<double> y;
  {
    const Tape<double>::Scope scope(tape, "fc1");
    y = exp(x);
  }
  log(y - 0.5) + 1;
  x.data()[1] = 1000;
  CHECK_ERROR(tape.replay(), "[exp] made inf at entry 1 of %1, 3 (layer fc1)");
  x.data()[1] = -1;
  CHECK_ERROR(tape.replay(), "[log] made ", "nan at entry 1 of %");
  x.data()[1] = quiet_nan;
  CHECK_ERROR(tape.replay(), "[exp] was given nan at entry 1 of %0 (x) (layer fc1)");
  CHECK_ERROR(log(tape.constant(-1.0)), "[log] made ", "nan at entry 0");
  x.data()[1] = 0;
  tape.clear();
  tape.check_finite(false);
  CHECK(std::isnan(log(tape.constant(-1.0)).item()));
}

TEST_CASE("check_finite: names the operation that makes a gradient infinite") {
  Tape<double> tape;
  tape.check_finite(true);
  const Var<double> x = tape.variable(Numbers({2}, {4, 0}), "x");
  Var<double> root;
  {
    const Tape<double>::Scope scope(tape, "norm");
    root = sqrt(x * 2);
  }
  CHECK_ERROR(tape.backward(sum(root)), "[sqrt] made inf at entry 1 of the gradient of %2, 2 (layer norm)");
  tape.check_finite(false);
  tape.backward(sum(root));
  CHECK(std::isinf(x.gradient()[1]));
  CHECK(x.gradient()[0] == doctest::Approx(1 / std::sqrt(8.0)));
}

TEST_CASE("Tape: prints one line for each node, and a graph") {
  const auto block = std::make_shared<Block<double>>(6);
  Tape<double> tape;
  const Var<double> x = tape.input({4, 3}, "x");
  {
    const Tape<double>::Scope scope(tape, "fc1");
    affine(x, tape.parameter(block, 0, {2, 3}, "weight"));
  }
  tape.variable(Numbers(Shape{}), "say \"v\"");
  std::ostringstream lines, graph;
  lines << tape;
  CHECK(lines.str() ==
        "%0 = constant  4x3  x\n"
        "%1 = parameter  2x3  fc1.weight\n"
        "%2 = affine(%0, %1, activation=none)  4x2  fc1\n"
        "%3 = variable  scalar  say \"v\"\n");
  write_dot(graph, tape);
  for (const char* part : {"digraph tape {", "n1 [label=\"parameter\\nfc1.weight\\n2x3\", style=rounded];",
                           "n2 [label=\"affine\\nfc1\\n4x2\"];", "n0 -> n2;", "n1 -> n2;", "say \\\"v\\\""}) {
    CAPTURE(part);
    CHECK(graph.str().find(part) != std::string::npos);
  }
}

TEST_CASE("Tape: tensors without entries pass through") {
  Tape<double> tape;
  const Var<double> x = tape.variable(Numbers(Shape{0, 3})),
                    w = tape.variable(Numbers({2, 3}, {1, 2, 3, 4, 5, 6}));
  const Var<double> b = tape.variable(Numbers({2}, {1, 2}));
  tape.backward(sum(square(affine(x, w, b, Activation::relu))) + sum(w));
  CHECK(apart(w.gradient(), Numbers({2, 3}, {1, 1, 1, 1, 1, 1}).view()) == 0);
  CHECK(apart(b.gradient(), Numbers({2}).view()) == 0);
  CHECK(x.gradient().size() == 0);
  tape.backward(sum(b));
  CHECK(x.gradient().size() == 0);
}

TEST_CASE("Tape: labels and positions out of range name their layer, in a replay too") {
  Tape<double> tape;
  const auto positions = tape.input({2}, "positions");
  const auto table = tape.input({3, 1}, "table");
  {
    const Tape<double>::Scope outer(tape, "embedding");
    gather_rows(table, positions);
    positions.data()[1] = 3;
    CHECK_ERROR(gather_rows(table, positions), "[gather_rows] position 3", "(layer embedding)");
  }
  CHECK_ERROR(tape.replay(), "[gather_rows] position 3", "from 0 to 2", "(layer embedding)");
}

TEST_CASE("Tape: dropout differs from tape to tape, and repeats after manual_seed") {
  const auto pattern = [] {
    Tape<double> tape;
    const auto kept = dropout(exp(tape.input({64})), 0.5);  // of ones
    return std::vector<double>(kept.value().begin(), kept.value().end());
  };
  manual_seed(5);
  const auto first = pattern(), second = pattern();
  CHECK(first != second);
  manual_seed(5);
  CHECK(pattern() == first);
  manual_seed(0);
}

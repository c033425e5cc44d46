#include <taper/autodiff/ops.hpp>

#include "../../check.hpp"
#include "../random_tensors.hpp"

using namespace taper;

TEST_CASE_TEMPLATE("hadamard: the values of mul to the bit, and its gradients", T, float, double) {
  Rng rng(8);
  const std::pair<Shape, Shape> shapes[] = {{{5, 3}, {5, 3}},
                                            {{5, 3}, {3}},
                                            {{5, 3}, {5, 1}},
                                            {{1, 4}, {4}},
                                            {{4, 1}, {4, 1}},
                                            {{4, 1}, {1}},
                                            {{2, 3, 2}, {2, 3, 2}},
                                            {{}, {}},
                                            {{0, 3}, {3}},
                                            {{3, 0}, {3, 1}},
                                            {{100, 70}, {70}},
                                            {{100, 70}, {100, 1}},
                                            {{2, 3, 4}, {4}},
                                            {{2, 3, 4}, {3, 1}},
                                            {{2, 3, 4}, {2, 1, 1}},
                                            {{6, 5, 3, 3}, {5, 1, 1}},
                                            {{6, 5, 3, 3}, {6, 1, 1, 1}},
                                            {{6, 5, 3, 4}, {3, 1}},
                                            {{6, 5, 3, 4}, {4}},
                                            {{6, 5, 1, 1}, {5, 1, 1}},
                                            {{0, 5, 3, 3}, {5, 1, 1}},
                                            {{6, 5, 0, 3}, {5, 1, 1}}};
  for (const auto& pair : shapes) {
    const Shape &u = pair.first, &v = pair.second;  // which clang 14 captures, other than bindings
    CAPTURE(u);
    CAPTURE(v);
    Tape<T> tape;
    const Var<T> x = tape.variable(random_tensor<T>(rng, u)), y = tape.variable(random_tensor<T>(rng, v));
    const Tensor<T> seed = random_tensor<T>(rng, u);
    const Var<T> product = mul(x, y), w = hadamard(x, y);
    CHECK(same_bits(w.value(), product.value()));
    tape.backward(product, seed.view());
    const Tensor<T> gx(x.gradient()), gy(y.gradient());
    tape.backward(w, seed.view());
    CHECK(same_bits(x.gradient(), gx.view()));
    CHECK(apart(y.gradient(), gy.view()) < 100 * std::numeric_limits<T>::epsilon());
  }
}

TEST_CASE("hadamard: one variable twice is a square") {
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({3}, {1, -2, 3}));
  tape.backward(sum(hadamard(x, x)));
  CHECK(x.gradient()[0] == 2);
  CHECK(x.gradient()[1] == -4);
  CHECK(x.gradient()[2] == 6);
}

TEST_CASE("hadamard: gates that do not fit") {
  Tape<double> tape;
  const auto matrix = tape.input({2, 3}), row = tape.input({2}), cube = tape.input({2, 3, 4});
  CHECK_ERROR(hadamard(matrix, row), "[hadamard] gates 2 for a factor 2x3: expected 2x3, 3 or 2x1");
  CHECK_ERROR(hadamard(row, matrix), "[hadamard] gates 2x3 for a factor 2: expected 2");
  for (const Shape& gates : {Shape{3}, Shape{2}, Shape{}, Shape{1, 3}, Shape{3, 1, 1}, Shape{2, 3, 1},
                             Shape{4, 1}, Shape{2, 1}, Shape{2, 1, 1, 1}, Shape{0}}) {
    CHECK_ERROR(hadamard(cube, tape.input(gates)), "[hadamard] gates " + gates.str() + " for a factor 2x3x4",
                ": expected 2x3x4, 4, 3x1 or 2x1x1");
  }
}

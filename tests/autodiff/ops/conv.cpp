// Convolutions against loops over all taps, in double.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <optional>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/threads.hpp>

#include "../../check.hpp"
#include "../kernels/targets.hpp"
#include "../random_tensors.hpp"

using namespace taper;

namespace {

/// A convolution of random numbers, and what it is to give.
struct ConvCase {
  Shape x, weight;
  Conv2dOptions options;
  bool with_bias = true;

  Index outputs(Index input, Index kernel, Index stride, Index padding, Index dilation) const {
    return (input + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
  }
  Shape output() const {
    return {
        x[0], weight[0],
        outputs(x[2], weight[2], options.stride.rows, options.padding.rows, options.dilation.rows),
        outputs(x[3], weight[3], options.stride.columns, options.padding.columns, options.dilation.columns)};
  }

  /// Calls f(output entry, input entry, weight entry) for every product.
  template <class F> void for_products(const F& f) const {
    const Shape y = output();
    const Index channels = weight[1], group = weight[0] / options.groups;
    for (Index at = 0; at < y.size(); ++at) {
      const Index p = at % y[3], o = at / y[3] % y[2], k = at / y[3] / y[2] % y[1],
                  n = at / y[3] / y[2] / y[1];
      for (Index tap = 0; tap < channels * weight[2] * weight[3]; ++tap) {
        const Index j = tap % weight[3], i = tap / weight[3] % weight[2], c = tap / weight[3] / weight[2];
        const Index row = o * options.stride.rows - options.padding.rows + i * options.dilation.rows;
        const Index column =
            p * options.stride.columns - options.padding.columns + j * options.dilation.columns;
        if (row < 0 || row >= x[2] || column < 0 || column >= x[3]) continue;
        f(at, ((n * x[1] + k / group * channels + c) * x[2] + row) * x[3] + column,
          k * channels * weight[2] * weight[3] + tap);
      }
    }
  }
};

ConvCase random_case(Rng& rng) {
  ConvCase result;
  Conv2dOptions& o = result.options;
  const auto both = [&](Index least, Index count) {
    return Both(least + rng.below(count), least + rng.below(count));
  };
  o.groups = rng.below(2) == 0 ? 1 : 1 + rng.below(4);
  const Index channels = rng.below(2) == 0 ? 1 : 1 + rng.below(4);  // of a group
  o.stride = both(1, 3), o.padding = both(0, 3), o.dilation = both(1, 2);
  o.activation = rng.below(2) == 0 ? Activation::relu : Activation::none;
  const Both kernel = both(1, 4);
  const auto input = [&](Index k, Index padding, Index dilation) {
    return std::max<Index>(1, dilation * (k - 1) + 1 - 2 * padding) + (rng.below(4) == 0 ? 0 : rng.below(20));
  };
  result.x = {rng.below(5), o.groups * channels, input(kernel.rows, o.padding.rows, o.dilation.rows),
              input(kernel.columns, o.padding.columns, o.dilation.columns)};
  result.weight = {o.groups * (1 + rng.below(7)), channels, kernel.rows, kernel.columns};
  result.with_bias = rng.below(3) > 0;
  return result;
}

/// What an operation and the loops give: y, and the gradients of x, weight and bias.
struct Results {
  Tensor<double> y, gx, gw, gb;
};

template <class T> struct Run {
  Tape<T> tape;
  Var<T> x, w, y;
  std::optional<Var<T>> b;

  Run(const ConvCase& c, const Tensor<double>& image, const Tensor<double>& weight,
      const Tensor<double>& bias)
      : x(tape.variable(of(image))), w(tape.variable(of(weight))) {
    if (c.with_bias) b = tape.variable(of(bias));
    y = b ? conv2d(x, w, *b, c.options) : conv2d(x, w, c.options);
  }
  static Tensor<T> of(const Tensor<double>& from) {
    Tensor<T> to(from.shape());
    for (Index i = 0; i < to.size(); ++i) to[i] = static_cast<T>(from[i]);
    return to;
  }
};

template <class T> void check(const ConvCase& c, Rng& rng) {
  INFO("x ", c.x.str(), ", weight ", c.weight.str(), ", groups ", c.options.groups);
  INFO("stride ", c.options.stride.rows, " ", c.options.stride.columns, ", padding ", c.options.padding.rows,
       " ", c.options.padding.columns, ", dilation ", c.options.dilation.rows, " ",
       c.options.dilation.columns);
  // Values that float has, too.
  const auto numbers = [&](const Shape& shape) {
    Tensor<double> x(shape);
    for (double& entry : x) entry = static_cast<double>(static_cast<float>(rng.uniform(-1, 1)));
    return x;
  };
  const Tensor<double> x = numbers(c.x), w = numbers(c.weight), b = numbers({c.weight[0]}),
                       seed = numbers(c.output());
  Run<T> run(c, x, w, b);
  REQUIRE(run.y.shape() == c.output());
  Results expected{Tensor<double>(c.output()), Tensor<double>(c.x), Tensor<double>(c.weight),
                   Tensor<double>(b.shape())};
  const Index windows = c.output()[2] * c.output()[3], outputs = c.weight[0];
  const auto output = [&](Index at) { return at / windows % outputs; };
  for (Index i = 0; i < seed.size(); ++i) expected.y[i] = c.with_bias ? b[output(i)] : 0;
  c.for_products([&](Index at, Index from, Index weight) { expected.y[at] += x[from] * w[weight]; });
  Tensor<double> g = seed;
  for (Index i = 0; i < g.size(); ++i) {
    if (c.options.activation != Activation::relu) continue;
    expected.y[i] = std::max(expected.y[i], 0.0);
    if (run.y.value()[i] <= 0) g[i] = 0;  // at the kink as the operation has it
  }
  for (Index i = 0; i < g.size(); ++i) expected.gb[output(i)] += g[i];
  c.for_products([&](Index at, Index from, Index weight) {
    expected.gx[from] += g[at] * w[weight];
    expected.gw[weight] += g[at] * x[from];
  });
  const double terms = static_cast<double>(std::max(c.weight.size() / outputs, c.x[0] * windows));
  const double tolerance = (4 + terms) * static_cast<double>(std::numeric_limits<T>::epsilon());
  CHECK(apart(run.y.value(), expected.y.view()) < tolerance);
  for (int pass = 0; pass < 2; ++pass) {  // a pass replaces what the one before has left
    run.tape.backward(run.y, Run<T>::of(seed).view());
    CHECK(apart(run.x.gradient(), expected.gx.view()) < tolerance);
    CHECK(apart(run.w.gradient(), expected.gw.view()) < tolerance);
    if (run.b) CHECK(apart(run.b->gradient(), expected.gb.view()) < tolerance);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("conv2d: random sizes and settings agree with loops", T, float, double) {
  for_each_target([](const char*) {
    Rng rng(1);
    for (int i = 0; i < 100; ++i) check<T>(random_case(rng), rng);
  });
}

TEST_CASE_TEMPLATE("conv2d: a single tap, a kernel as large as its input, wide rows, much padding", T, float,
                   double) {
  Rng rng(2);
  const ConvCase cases[] = {
      {{2, 5, 4, 6}, {7, 5, 1, 1}, {}},
      {{2, 6, 5, 5}, {4, 3, 1, 1}, {.groups = 2}},
      {{2, 3, 7, 7}, {2, 3, 1, 1}, {.stride = 3}},
      {{3, 2, 4, 3}, {5, 2, 4, 3}, {}},
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {}, false},
      {{1, 2, 3, 40}, {3, 2, 2, 17}, {.padding = {0, 5}}},
      {{1, 1, 2, 2}, {2, 1, 2, 2}, {.padding = 9}},
      {{2, 4, 9, 70}, {4, 1, 3, 5}, {.padding = {1, 2}, .groups = 4, .activation = Activation::relu}},
      {{2, 3, 11, 11}, {6, 1, 3, 3}, {.stride = {2, 4}, .padding = 1, .dilation = {2, 1}, .groups = 3}},
      {{0, 3, 5, 5}, {2, 3, 3, 3}, {}},
      {{40, 2, 4, 4}, {3, 2, 3, 3}, {.activation = Activation::relu}},
      {{2, 0, 4, 4}, {3, 0, 3, 3}, {}},
  };
  for (const ConvCase& c : cases) check<T>(c, rng);
  if constexpr (sizeof(T) == 4) {
    check<T>({{300, 1, 3, 3}, {2, 1, 2, 2}, {}}, rng);                // sums over pieces of the batch
    check<T>({{1, 40, 40, 40}, {3, 40, 3, 3}, {.padding = 1}}, rng);  // an image in several bands
  }
}

TEST_CASE("conv2d: activations are those of the operations of their names") {
  Rng rng(3);
  const Tensor<double> image = random_tensor<double>(rng, {2, 4, 5, 5}),
                       seed = random_tensor<double>(rng, {2, 4, 3, 3});
  for (const Index groups : {1, 4}) {
    const Tensor<double> filter = random_tensor<double>(rng, {4, 4 / groups, 3, 3});
    for (const Activation f : {Activation::relu, Activation::tanh, Activation::sigmoid}) {
      Tape<double> tape;
      const auto x = tape.variable(image), w = tape.variable(filter);
      const auto plain = conv2d(x, w, {.groups = groups});
      const auto apart_from = f == Activation::relu   ? relu(plain)
                              : f == Activation::tanh ? tanh(plain)
                                                      : sigmoid(plain);
      const auto fused = conv2d(x, w, {.groups = groups, .activation = f});
      CHECK(apart(fused.value(), apart_from.value()) < 1e-14);
      tape.backward(apart_from, seed.view());
      const Tensor<double> gx(x.gradient()), gw(w.gradient());
      tape.backward(fused, seed.view());
      CHECK(apart(x.gradient(), gx.view()) < 1e-13);
      CHECK(apart(w.gradient(), gw.view()) < 1e-13);
    }
  }
}

TEST_CASE_TEMPLATE("conv1d: a convolution of images with one row", T, float, double) {
  Rng rng(4);
  const Tensor<T> signal = random_tensor<T>(rng, {3, 4, 21}), filter = random_tensor<T>(rng, {6, 2, 3}),
                  shift = random_tensor<T>(rng, {6});
  Tape<T> tape;
  const auto x = tape.variable(signal), w = tape.variable(filter), b = tape.variable(shift);
  const auto y = conv1d(x, w, b, {.stride = 2, .padding = 3, .dilation = 2, .groups = 2});
  REQUIRE(y.shape() == Shape{3, 6, 12});
  const auto images = conv2d(reshape(x, {3, 4, 1, 21}), reshape(w, {6, 2, 1, 3}), b,
                             {.stride = {1, 2}, .padding = {0, 3}, .dilation = {1, 2}, .groups = 2});
  CHECK(same_bits(y.value(), View<const T>(images.value().data(), y.shape())));
  tape.backward(sum(square(images)));
  const Tensor<T> gx(x.gradient()), gw(w.gradient()), gb(b.gradient());
  tape.backward(sum(square(y)));
  CHECK(same_bits(x.gradient(), gx.view()));
  CHECK(same_bits(w.gradient(), gw.view()));
  CHECK(same_bits(b.gradient(), gb.view()));
}

TEST_CASE_TEMPLATE("conv2d: the same bits for any number of threads", T, float, double) {
  Rng rng(5);
  const int before = threads();
  const ConvCase cases[] = {{{67, 3, 20, 20}, {8, 3, 5, 5}, {.activation = Activation::relu}},
                            {{3, 12, 30, 31}, {17, 12, 3, 3}, {.padding = 1}},
                            {{9, 16, 24, 24}, {32, 1, 3, 3}, {.padding = 1, .groups = 16}},
                            {{300, 2, 12, 12}, {6, 2, 5, 5}, {}}};
  for (const ConvCase& c : cases) {
    CAPTURE(c.x);
    const Tensor<T> x = random_tensor<T>(rng, c.x), w = random_tensor<T>(rng, c.weight),
                    b = random_tensor<T>(rng, {c.weight[0]}), seed = random_tensor<T>(rng, c.output());
    std::vector<Tensor<T>> first;
    for (const int count : {1, 2, 3}) {
      set_threads(count);
      Tape<T> tape;
      const auto vx = tape.variable(x), vw = tape.variable(w), vb = tape.variable(b);
      const auto y = conv2d(vx, vw, vb, c.options);
      tape.backward(y, seed.view());
      const View<const T> now[] = {y.value(), vx.gradient(), vw.gradient(), vb.gradient()};
      for (std::size_t i = 0; i < 4; ++i) {
        if (count == 1) first.emplace_back(now[i]);
        CHECK(same_bits(now[i], first[i].view()));
      }
    }
  }
  set_threads(before);
}

TEST_CASE("conv2d: sums over many images keep their digits") {
  // All terms are alike, so that plain sums in float would round to one side.
  const Index images = 3000;
  Tape<float> tape;
  Tensor<float> image({images, 1, 16, 16}), filter({1, 1, 3, 3});
  for (float& entry : image) entry = 0.1f;
  const auto x = tape.constant(image), w = tape.variable(filter), b = tape.variable(Tensor<float>({1}));
  const auto y = conv2d(x, w, b);
  Tensor<float> seed(y.shape());
  for (float& entry : seed) entry = 0.3f;
  tape.backward(y, seed.view());
  const double count = static_cast<double>(images) * 14 * 14;
  for (const float g : w.gradient())
    CHECK(static_cast<double>(g) ==
          doctest::Approx(count * static_cast<double>(0.1f) * static_cast<double>(0.3f)).epsilon(1e-6));
  CHECK(static_cast<double>(b.gradient()[0]) ==
        doctest::Approx(count * static_cast<double>(0.3f)).epsilon(1e-6));
}

TEST_CASE_TEMPLATE("conv2d: scale, infinities and NaN", T, float, double) {
  Rng rng(6);
  const Tensor<T> image = random_tensor<T>(rng, {2, 3, 6, 6}), filter = random_tensor<T>(rng, {4, 3, 3, 3});
  const auto run = [](const Tensor<T>& x, const Tensor<T>& w) {
    Tape<T> tape;
    return Tensor<T>(conv2d(tape.constant(x), tape.constant(w), {.padding = 1}).value());
  };
  const Tensor<T> plain = run(image, filter);
  for (const double scale : {0x1p-27, 0x1p27}) {  // about 1e-8 and 1e8, without rounding
    Tensor<T> scaled = image;
    for (T& entry : scaled) entry *= static_cast<T>(scale);
    const Tensor<T> y = run(scaled, filter);
    for (Index i = 0; i < y.size(); ++i) CHECK(y[i] == plain[i] * static_cast<T>(scale));
  }
  for (const Index groups : {1, 3}) {
    Tensor<T> lost = image, small = groups == 1 ? filter : random_tensor<T>(rng, {3, 1, 3, 3});
    lost[2 * 6 + 2] = std::numeric_limits<T>::quiet_NaN();  // image 0, channel 0, row 2, column 2
    Tape<T> tape;
    const auto y = conv2d(tape.constant(lost), tape.constant(small), {.padding = 1, .groups = groups});
    for (Index i = 0; i < y.value().size(); ++i) {
      const Index p = i % 6, o = i / 6 % 6, k = i / 36 % y.shape()[1], n = i / 36 / y.shape()[1];
      const bool seen = n == 0 && (groups == 1 || k == 0) && o >= 1 && o <= 3 && p >= 1 && p <= 3;
      CHECK(std::isnan(y.value()[i]) == seen);
    }
  }
}

TEST_CASE("conv2d: one variable twice, and no gradient for what needs none") {
  Rng rng(7);
  const Tensor<double> image = random_tensor<double>(rng, {2, 2, 3, 3});
  Tape<double> tape;
  const auto x = tape.variable(image), other = tape.variable(image);
  tape.backward(sum(conv2d(x, x, {.padding = 1})));
  const Tensor<double> both(x.gradient());
  tape.backward(sum(conv2d(x, other, {.padding = 1})));
  Tensor<double> expected(x.gradient());
  expected.vector() += other.gradient().vector();
  CHECK(apart(both.view(), expected.view()) < 1e-14);
  const auto fixed = tape.constant(image), bias = tape.variable(Tensor<double>({2}));
  tape.backward(sum(conv2d(fixed, fixed, bias, {.padding = 1})));
  CHECK(bias.gradient()[0] == 2 * 9);
}

TEST_CASE("conv: what does not fit") {
  Tape<double> tape;
  const auto x = tape.input({2, 4, 5, 6}), w = tape.input({6, 4, 3, 3}), line = tape.input({2, 4, 5});
  CHECK_ERROR(conv2d(line, w), "[conv2d] input 2x4x5: expected batch x channels x rows x columns");
  CHECK_ERROR(conv2d(x, line), "[conv2d] weight 2x4x5: expected outputs x channels / groups x taps x taps");
  CHECK_ERROR(conv1d(x, w), "[conv1d] input 2x4x5x6: expected batch x channels x length");
  CHECK_ERROR(conv2d(x, tape.input({6, 3, 3, 3})),
              "[conv2d] input 2x4x5x6 does not fit weight 6x3x3x3: expected 3 channels");
  CHECK_ERROR(conv2d(x, tape.input({6, 1, 3, 3}), {.groups = 4}),
              "[conv2d] 4 groups of 4 channels and 6 outputs: expected numbers that they divide");
  CHECK_ERROR(conv2d(x, w, {.groups = -1}), "[conv2d] -1 groups: expected 1 or more, or 0");
  CHECK_ERROR(conv2d(x, tape.input({6, 3, 3, 3}), {.groups = 0}), "does not fit weight 6x3x3x3");
  CHECK(conv2d(tape.input({2, 0, 5, 6}), tape.input({0, 1, 3, 3}), {.groups = 0}).shape() ==
        Shape{2, 0, 3, 4});
  CHECK_ERROR(conv2d(x, w, tape.input({5})),
              "[conv2d] bias 5 does not fit weight 6x4x3x3: expected 6 entries");
  CHECK_ERROR(conv2d(x, w, {.stride = {1, 0}}), "[conv2d] stride 0: expected 1 <= stride");
  CHECK_ERROR(conv2d(x, w, {.padding = -1}), "[conv2d] padding -1: expected 0 <= padding");
  CHECK_ERROR(conv2d(x, w, {.dilation = std::numeric_limits<Index>::max()}), "[conv2d] dilation");
  CHECK_ERROR(conv2d(x, tape.input({6, 4, 6, 3})), "[conv2d] a kernel of 6", "5 + 2 x 0 elements",
              "expected one that fits, at most 5");
  CHECK_ERROR(conv2d(x, w, {.dilation = 3}), "[conv2d] a kernel of 3 dilated by 3");
  CHECK_ERROR(conv2d(x, tape.input({6, 4, 0, 3})), "[conv2d] kernel 0: expected 1 <= kernel");
}

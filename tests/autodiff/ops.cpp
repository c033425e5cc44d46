#include <taper/autodiff/ops.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "../check.hpp"
#include "random_tensors.hpp"

using namespace taper;

namespace {

using Long = long double;
using Numbers = Tensor<double>;
using V = Var<double>;

template <class T> constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T> constexpr T not_a_number = std::numeric_limits<T>::quiet_NaN();

/// An operation on single entries, the formula for it, where random arguments come from, and how many eps of
/// the result it may be off.
template <class T> struct Unary {
  const char* name;
  std::function<Var<T>(Var<T>)> op;
  Long (*formula)(Long);
  double low, high;
  double tolerance;
};

template <class T> std::vector<Unary<T>> unaries() {
  using X = Var<T>;
  constexpr double most = std::is_same_v<T, float> ? 88 : 700;
  return {
      {"neg", [](X x) { return neg(x); }, [](Long x) { return -x; }, -1e6, 1e6, 0},
      {"exp", [](X x) { return exp(x); }, [](Long x) { return std::exp(x); }, -most, most, 4},
      {"log", [](X x) { return log(x); }, [](Long x) { return std::log(x); }, 0, 1e6, 4},
      {"log near 1", [](X x) { return log(x); }, [](Long x) { return std::log(x); }, 0.9, 1.1, 4},
      {"sqrt", [](X x) { return sqrt(x); }, [](Long x) { return std::sqrt(x); }, 0, 1e6, 1},
      {"square", [](X x) { return square(x); }, [](Long x) { return x * x; }, -1e6, 1e6, 1},
      {"abs", [](X x) { return abs(x); }, [](Long x) { return std::abs(x); }, -1e6, 1e6, 0},
      {"pow 2.5", [](X x) { return pow(x, T{2.5}); }, [](Long x) { return std::pow(x, 2.5L); }, 0, 1e6, 2},
      {"pow -2", [](X x) { return pow(x, T{-2}); }, [](Long x) { return std::pow(x, -2.0L); }, -10, 10, 2},
      {"tanh", [](X x) { return tanh(x); }, [](Long x) { return std::tanh(x); }, -25, 25, 6},
      {"tanh near 0", [](X x) { return tanh(x); }, [](Long x) { return std::tanh(x); }, -0.1, 0.1, 6},
      {"sigmoid", [](X x) { return sigmoid(x); }, [](Long x) { return 1 / (1 + std::exp(-x)); }, -80, 80, 6},
      {"softplus", [](X x) { return softplus(x); },
       [](Long x) { return x > 1e4L ? x : std::log1p(std::exp(x)); }, -80, 80, 6},
      {"relu", [](X x) { return relu(x); }, [](Long x) { return x < 0 ? 0 : x; }, -1e6, 1e6, 0},
      {"leaky_relu", [](X x) { return leaky_relu(x, T{0.25}); }, [](Long x) { return x < 0 ? x / 4 : x; },
       -10, 10, 1},
      {"elu", [](X x) { return elu(x, T{1.5}); }, [](Long x) { return x > 0 ? x : 1.5L * std::expm1(x); },
       -40, 10, 6},
      {"elu near 0", [](X x) { return elu(x); }, [](Long x) { return x > 0 ? x : std::expm1(x); }, -0.1, 0.1,
       6},
      {"gelu", [](X x) { return gelu(x); },
       [](Long x) { return x < -1000 ? 0 : x * std::erfc(-x / std::sqrt(2.0L)) / 2; }, -30, 9, 6},
      {"silu", [](X x) { return silu(x); }, [](Long x) { return x < -1000 ? 0 : x / (1 + std::exp(-x)); },
       -80, 80, 6},
      {"clamp", [](X x) { return clamp(x, T{-1}, T{2}); }, [](Long x) { return x < -1  ? -1
                                                                               : x > 2 ? 2
                                                                                       : x; },
       -4, 4, 0},
  };
}

/// Whether a result is the formula's: as often NaN, infinite alike, or within `tolerance` eps of it.
template <class T> bool agrees(T got, Long want, double tolerance) {
  const T rounded = static_cast<T>(want);
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  if (std::isinf(rounded) || std::isinf(got)) return rounded == got;
  const Long bound =
      static_cast<Long>(tolerance) * static_cast<Long>(std::numeric_limits<T>::epsilon()) * std::abs(want);
  return std::abs(static_cast<Long>(got) - want) <=
         bound + (tolerance > 0 ? static_cast<Long>(std::numeric_limits<T>::min()) : 0);
}

/// Values of a computation and the gradients of all its variables, after sum(f * fixed weights).
template <class T> struct Results {
  Tensor<T> value;
  std::vector<Tensor<T>> gradients;
};

template <class T>
Results<T> run(const std::vector<Tensor<T>>& inputs,
               const std::function<Var<T>(const std::vector<Var<T>>&)>& f) {
  Tape<T> tape;
  std::vector<Var<T>> x;
  for (const Tensor<T>& input : inputs) x.push_back(tape.variable(input));
  const Var<T> y = f(x);
  Rng rng(99);
  tape.backward(y, random_tensor<T>(rng, y.shape(), 0.5, 1.5).view());
  Results<T> results{Tensor<T>(y.value()), {}};
  for (const Var<T>& v : x) results.gradients.emplace_back(v.gradient());
  return results;
}

/// Checks that two ways to compute the same agree in value and all gradients.
template <class T>
void check_same(const std::vector<Tensor<T>>& inputs,
                const std::function<Var<T>(const std::vector<Var<T>>&)>& one,
                const std::function<Var<T>(const std::vector<Var<T>>&)>& other) {
  const double tolerance = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());
  const Results<T> a = run<T>(inputs, one), b = run<T>(inputs, other);
  CHECK(apart(a.value.view(), b.value.view()) < tolerance);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    CAPTURE(i);
    CHECK(apart(a.gradients[i].view(), b.gradients[i].view()) < tolerance);
  }
}

/// The gradient of sum(f(x)).
std::vector<double> slopes(const Numbers& x, const std::function<V(V)>& f) {
  Tape<double> tape;
  const V v = tape.variable(x);
  tape.backward(sum(f(v)));
  return {v.gradient().begin(), v.gradient().end()};
}

double value(const std::function<V(Tape<double>&)>& f) {
  Tape<double> tape;
  return f(tape).item();
}

V column(Tape<double>& tape, std::initializer_list<double> values) {
  return tape.constant(Numbers({static_cast<Index>(values.size())}, values));
}

}  // namespace

TEST_CASE_TEMPLATE("unary operations: values against formulas in long double", T, float, double) {
  Rng rng(1);
  for (const Unary<T>& u : unaries<T>()) {
    Tensor<T> x = random_tensor<T>(rng, {1000}, u.low, u.high);
    Index i = 0;
    for (const T special : {T{0}, T{1}, T{-1}, T{1000}, T{-1000}, T{1e-30f}, T{-1e-30f}, T{1e30f}, T{-1e30f},
                            infinity<T>, -infinity<T>, not_a_number<T>, T{3e-5f}, T{-3e-5f}, T{50}, T{-50}}) {
      x[i++] = special;
    }
    Tape<T> tape;
    const View<const T> y = u.op(tape.constant(x)).value();
    for (i = 0; i < x.size(); ++i) {
      INFO(u.name, " of ", x[i], " gave ", y[i], ", not ",
           static_cast<double>(u.formula(static_cast<Long>(x[i]))));
      CHECK(agrees(y[i], u.formula(static_cast<Long>(x[i])), u.tolerance));
    }
  }
}

TEST_CASE_TEMPLATE("unary operations: every length gives the same bits, value and gradient", T, float,
                   double) {
  Rng rng(2);
  const Tensor<T> all = random_tensor<T>(rng, {40}, 0.1, 3);
  for (const Unary<T>& u : unaries<T>()) {
    CAPTURE(u.name);
    Tape<T> tape;
    const Var<T> x = tape.variable(all), y = u.op(x);
    tape.backward(sum(y));
    for (Index n = 0; n < 40; ++n) {
      Tape<T> shorter;
      const Var<T> part = shorter.variable(View<const T>(all.data(), {n})), result = u.op(part);
      shorter.backward(sum(result));
      CHECK(same_bits(result.value(), View<const T>(y.value().data(), {n})));
      CHECK(same_bits(part.gradient(), View<const T>(x.gradient().data(), {n})));
    }
  }
}

TEST_CASE("kinks: the derivatives that the documentation states") {
  const Numbers zero({3}, {0, -0.0, 0});
  using List = std::vector<double>;
  CHECK(slopes(zero, [](V x) { return relu(x); }) == List{0, 0, 0});
  CHECK(slopes(zero, [](V x) { return abs(x); }) == List{0, 0, 0});
  CHECK(slopes(zero, [](V x) { return leaky_relu(x, 0.3); }) == List{0.3, 0.3, 0.3});
  CHECK(slopes(zero, [](V x) { return elu(x, 0.7); }) == List{0.7, 0.7, 0.7});
  CHECK(slopes(Numbers({4}, {-1, 2, -1.5, 2.5}), [](V x) { return clamp(x, -1, 2); }) == List{1, 1, 0, 0});
  CHECK(slopes(zero, [](V x) { return max(x, x.tape().constant(0.0)); }) == List{0.5, 0.5, 0.5});
  CHECK(slopes(zero, [](V x) { return min(x.tape().constant(0.0), x); }) == List{0.5, 0.5, 0.5});
  const Numbers ties({5}, {1, 3, 3, 2, 3});
  CHECK(slopes(ties, [](V x) { return max(x); }) == List{0, 1, 0, 0, 0});
  CHECK(slopes(ties, [](V x) { return max(reshape(x, {5, 1}), 0); }) == List{0, 1, 0, 0, 0});
  CHECK(slopes(ties, [](V x) {
          return mae_loss(x, x.tape().constant(Numbers({5}, {1, 3, 3, 2, 3})));
        }) == List{0, 0, 0, 0, 0});
  CHECK(slopes(zero, [](V x) { return pow(x, 0.0) + pow(x, 2.0) + pow(x, 1.0); }) == List{1, 1, 1});
  const double inf = infinity<double>;
  const Numbers one_zero({1}, {0});
  CHECK(slopes(one_zero, [](V x) { return sqrt(x); }) == List{inf});
  CHECK(slopes(one_zero, [](V x) { return pow(x, 0.5); }) == List{inf});
  CHECK(slopes(one_zero, [](V x) { return pow(x, x.tape().constant(0.5)); }) == List{inf});
  CHECK(slopes(one_zero, [](V x) { return pow(x.tape().constant(0.0), x); }) == List{0});
  CHECK(std::isnan(slopes(one_zero, [](V x) { return sqrt(x) * 0; })[0]));
}

TEST_CASE("broadcasting: values and gradients against loops over random shapes") {
  struct Function {
    const char* name;
    V (*op)(V, V);
    double (*f)(double, double);
    double (*da)(double, double);
    double (*db)(double, double);
  };
  const Function functions[] = {
      {"add", add, [](double a, double b) { return a + b; }, [](double, double) { return 1.0; },
       [](double, double) { return 1.0; }},
      {"sub", sub, [](double a, double b) { return a - b; }, [](double, double) { return 1.0; },
       [](double, double) { return -1.0; }},
      {"mul", mul, [](double a, double b) { return a * b; }, [](double, double b) { return b; },
       [](double a, double) { return a; }},
      {"div", div, [](double a, double b) { return a / b; }, [](double, double b) { return 1 / b; },
       [](double a, double b) { return -a / (b * b); }},
      {"pow", pow, [](double a, double b) { return std::pow(a, b); },
       [](double a, double b) { return b * std::pow(a, b - 1); },
       [](double a, double b) { return std::pow(a, b) * std::log(a); }},
      {"max", max, [](double a, double b) { return std::max(a, b); },
       [](double a, double b) { return double(a > b); }, [](double a, double b) { return double(b > a); }},
      {"min", min, [](double a, double b) { return std::min(a, b); },
       [](double a, double b) { return double(a < b); }, [](double a, double b) { return double(b < a); }},
  };
  Rng rng(3);
  for (int trial = 0; trial < 400; ++trial) {
    // A common shape of four dimensions, of which each side keeps the last few and turns some into 1.
    Index full[4];
    for (Index& d : full) d = rng.below(12) == 0 ? 0 : rng.below(3) == 0 ? 1 : 1 + rng.below(9);
    Index sides[2][4], ranks[2];
    for (int s = 0; s < 2; ++s) {
      ranks[s] = rng.below(5);
      for (int k = 0; k < 4; ++k) sides[s][k] = 4 - k > ranks[s] || rng.below(3) == 0 ? 1 : full[k];
    }
    const Shape shape_a(sides[0] + 4 - ranks[0], ranks[0]), shape_b(sides[1] + 4 - ranks[1], ranks[1]);
    Index common[4];
    for (int k = 0; k < 4; ++k) common[k] = sides[0][k] == 1 ? sides[1][k] : sides[0][k];
    const Index rank = std::max(ranks[0], ranks[1]);
    const Shape shape(common + 4 - rank, rank);
    const Function& function = functions[trial % 7];
    CAPTURE(function.name);
    CAPTURE(shape_a);
    CAPTURE(shape_b);

    const Numbers a = random_tensor<double>(rng, shape_a, 0.5, 2),
                  b = random_tensor<double>(rng, shape_b, 0.5, 2);
    const Numbers seed = random_tensor<double>(rng, shape);
    Numbers y(shape), ga(shape_a), gb(shape_b);
    Index at = 0, i[4];
    const auto position = [&](const Index* side) {
      Index p = 0;
      for (int k = 0; k < 4; ++k) p = p * side[k] + (side[k] == 1 ? 0 : i[k]);
      return p;
    };
    for (i[0] = 0; i[0] < common[0]; ++i[0]) {
      for (i[1] = 0; i[1] < common[1]; ++i[1]) {
        for (i[2] = 0; i[2] < common[2]; ++i[2]) {
          for (i[3] = 0; i[3] < common[3]; ++i[3], ++at) {
            const Index pa = position(sides[0]), pb = position(sides[1]);
            y[at] = function.f(a[pa], b[pb]);
            ga[pa] += seed[at] * function.da(a[pa], b[pb]);
            gb[pb] += seed[at] * function.db(a[pa], b[pb]);
          }
        }
      }
    }
    Tape<double> tape;
    const V va = tape.variable(a), vb = tape.variable(b), result = function.op(va, vb);
    tape.backward(result, seed.view());
    CHECK(apart(result.value(), y.view()) < 1e-14);
    CHECK(apart(va.gradient(), ga.view()) < 1e-12);
    CHECK(apart(vb.gradient(), gb.view()) < 1e-12);
  }
}

TEST_CASE_TEMPLATE("binary operations: special values", T, float, double) {
  const std::vector<T> specials{0,         1,           -1,           T{0.5f},        T{1e30f},
                                T{-1e30f}, infinity<T>, -infinity<T>, not_a_number<T>};
  for (const T a : specials) {
    for (const T b : specials) {
      CAPTURE(a);
      CAPTURE(b);
      Tape<T> tape;
      const Var<T> x = tape.constant(a), y = tape.constant(b);
      const bool none = std::isnan(a) || std::isnan(b);
      CHECK(agrees((x + y).item(), static_cast<Long>(a + b), 0));
      CHECK(agrees((x - y).item(), static_cast<Long>(a - b), 0));
      CHECK(agrees((x * y).item(), static_cast<Long>(a * b), 0));
      CHECK(agrees((x / y).item(), static_cast<Long>(a / b), 0));
      CHECK(agrees(pow(x, y).item(), static_cast<Long>(std::pow(a, b)), 0));
      CHECK(agrees(max(x, y).item(), static_cast<Long>(none ? not_a_number<T> : std::max(a, b)), 0));
      CHECK(agrees(min(x, y).item(), static_cast<Long>(none ? not_a_number<T> : std::min(a, b)), 0));
    }
  }
}

TEST_CASE("registry: float agrees with double in value and gradient, on all cases") {
  std::size_t compared = 0;
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    Rng rng(4);
    const std::vector<GradcheckCase> cases = op->gradcheck_cases(rng);
    const Op<float>* const twin = Op<float>::find(op->name);
    REQUIRE((twin != nullptr));
    for (const GradcheckCase& example : cases) {
      Tape<double> tape;
      Tape<float> float_tape;
      std::vector<Var<double>> x;
      std::vector<Var<float>> float_x;
      for (const Numbers& input : example.inputs) {
        Tensor<float> narrow(input.shape());
        Numbers rounded(input.shape());
        for (Index i = 0; i < input.size(); ++i) rounded[i] = narrow[i] = static_cast<float>(input[i]);
        x.push_back(tape.variable(rounded));
        float_x.push_back(float_tape.variable(narrow));
      }
      const V y = tape.record(*op, x, example.attributes);
      const Var<float> float_y = float_tape.record(*twin, float_x, example.attributes);
      tape.replay(7);  // both draw the same random numbers
      float_tape.replay(7);
      CHECK(apart(float_y.value(), y.value()) < 2e-5);
      ++compared;
      if (op->no_derivative) continue;
      Numbers ones(y.shape());
      Tensor<float> float_ones(y.shape());
      std::fill(ones.begin(), ones.end(), 1.0);
      std::fill(float_ones.begin(), float_ones.end(), 1.0f);
      tape.backward(y, ones.view());
      float_tape.backward(float_y, float_ones.view());
      for (std::size_t i = 0; i < x.size(); ++i) CHECK(apart(float_x[i].gradient(), x[i].gradient()) < 1e-4);
    }
  }
  CHECK(compared > 80);
}

TEST_CASE("matmul: against loops, read transposed or not") {
  Rng rng(5);
  for (const auto& [m, n, k] :
       {std::array<Index, 3>{3, 5, 4}, {1, 7, 20}, {13, 1, 9}, {0, 3, 2}, {2, 3, 0}}) {
    const Numbers a = random_tensor<double>(rng, {m, k}), b = random_tensor<double>(rng, {k, n});
    Numbers expected({m, n});
    for (Index i = 0; i < m; ++i) {
      for (Index j = 0; j < n; ++j) {
        for (Index p = 0; p < k; ++p) expected[i * n + j] += a[i * k + p] * b[p * n + j];
      }
    }
    Tape<double> tape;
    const V x = tape.constant(a), y = tape.constant(b), xt = transpose(x), yt = transpose(y);
    for (const V product :
         {matmul(x, y), matmul(xt, y, Transpose::yes), matmul(x, yt, Transpose::no, Transpose::yes),
          matmul(xt, yt, Transpose::yes, Transpose::yes)}) {
      CHECK(apart(product.value(), expected.view()) < 1e-14);
    }
  }
}

TEST_CASE_TEMPLATE("affine: as matmul, bias and activation one after the other", T, float, double) {
  using X = Var<T>;
  using Variables = std::vector<X>;
  const std::pair<Activation, std::function<X(X)>> activations[] = {
      {Activation::none, [](X x) { return x; }},
      {Activation::relu, [](X x) { return relu(x); }},
      {Activation::tanh, [](X x) { return tanh(x); }},
      {Activation::sigmoid, [](X x) { return sigmoid(x); }}};
  Rng rng(6);
  for (const auto& entry : activations) {
    const Activation activation = entry.first;
    const auto& function = entry.second;
    for (const auto& size : {std::array<Index, 3>{7, 5, 3}, {33, 17, 40}, {1, 3, 1}, {9, 4, 1}}) {
      const Index rows = size[0], in = size[1], out = size[2];
      CAPTURE(static_cast<int>(activation));
      CAPTURE(rows);
      const std::vector<Tensor<T>> inputs{random_tensor<T>(rng, {rows, in}), random_tensor<T>(rng, {out, in}),
                                          random_tensor<T>(rng, {out})};
      const auto plain = [](const Variables& v) { return matmul(v[0], v[1], Transpose::no, Transpose::yes); };
      check_same<T>(
          inputs, [&, f = activation](const Variables& v) { return affine(v[0], v[1], v[2], f); },
          [&, &f = function](const Variables& v) { return f(plain(v) + v[2]); });
      check_same<T>(
          {inputs[0], inputs[1]}, [f = activation](const Variables& v) { return affine(v[0], v[1], f); },
          [&, &f = function](const Variables& v) { return f(plain(v)); });
      // One bias used twice, whose gradient is the sum of both, and more dimensions in front.
      check_same<T>(
          inputs,
          [&, f = activation](const Variables& v) {
            const X x = reshape(v[0], {1, rows, in});
            return affine(x, v[1], v[2], f) + affine(x, v[1], v[2], f);
          },
          [&, &f = function](const Variables& v) {
            return reshape(f(plain(v) + v[2]) * 2, {1, rows, out});
          });
    }
  }
}

TEST_CASE_TEMPLATE("losses and softmax: as compositions of elementary operations", T, float, double) {
  using X = Var<T>;
  using Variables = std::vector<X>;
  Rng rng(7);
  for (const Shape& shape : {Shape{1}, Shape{6, 5}, Shape{3, 1, 17}, Shape{2, 3, 2, 2}}) {
    CAPTURE(shape);
    const Tensor<T> x = random_tensor<T>(rng, shape, -3, 3), p = random_tensor<T>(rng, shape, 0, 1);
    check_same<T>(
        {x, p}, [](const Variables& v) { return mse_loss(v[0], v[1]); },
        [](const Variables& v) { return mean(square(v[0] - v[1])); });
    check_same<T>(
        {x, p}, [](const Variables& v) { return mae_loss(v[0], v[1]); },
        [](const Variables& v) { return mean(abs(v[0] - v[1])); });
    check_same<T>(
        {x, p}, [](const Variables& v) { return huber_loss(v[0], v[1], T{0.75}); },
        [](const Variables& v) {
          const X size = abs(v[0] - v[1]), inner = clamp(size, T{0}, T{0.75});
          return mean(inner * inner / 2 + (size - inner) * T{0.75});
        });
    check_same<T>(
        {x, p}, [](const Variables& v) { return bce_with_logits_loss(v[0], v[1]); },
        [](const Variables& v) {
          const X q = sigmoid(v[0]);
          return mean(-(v[1] * log(q) + (1 - v[1]) * log(1 - q)));
        });
    for (Index axis = 0; axis < shape.rank(); ++axis) {
      CAPTURE(axis);
      check_same<T>(
          {x}, [=](const Variables& v) { return logsumexp(v[0], axis); },
          [=](const Variables& v) { return log(sum(exp(v[0]), axis)); });
      check_same<T>(
          {x}, [=](const Variables& v) { return log_softmax(v[0], axis); },
          [=](const Variables& v) { return log(softmax(v[0], axis)); });
      check_same<T>(
          {x}, [=](const Variables& v) { return softmax(v[0], axis); },
          [=](const Variables& v) { return exp(log_softmax(v[0], axis)); });
      check_same<T>(
          {x}, [=](const Variables& v) { return mean(v[0], axis); },
          [=](const Variables& v) { return sum(v[0], axis) / static_cast<T>(v[0].shape()[axis]); });
    }
    check_same<T>(
        {x}, [](const Variables& v) { return logsumexp(v[0]); },
        [](const Variables& v) { return log(sum(exp(v[0]))); });
  }
  for (const Index classes : {1, 2, 7, 40}) {
    const Index rows = 5;
    Tensor<T> labels({rows}), picked({rows, classes});
    for (Index i = 0; i < rows; ++i) {
      labels[i] = static_cast<T>(rng.below(classes));
      picked[i * classes + static_cast<Index>(labels[i])] = 1;
    }
    check_same<T>(
        {random_tensor<T>(rng, {rows, classes}, -5, 5)},
        [&](const Variables& v) { return cross_entropy_loss(v[0], v[0].tape().constant(labels)); },
        [&](const Variables& v) {
          return -sum(log_softmax(v[0]) * v[0].tape().constant(picked)) / static_cast<T>(rows);
        });
  }
}

TEST_CASE_TEMPLATE("stability: arguments of a thousand overflow nowhere", T, float, double) {
  Tape<T> tape;
  const Var<T> x = tape.variable(Tensor<T>({2, 4}, {1000, -1000, 999, 0, -1000, -1000, -1001, -2000}));
  const Var<T> target = tape.constant(Tensor<T>({2, 4}, {1, 0, T{0.5}, 1, 0, 1, 0, 1}));
  const Var<T> labels = tape.constant(Tensor<T>({2}, {1, 3}));
  for (const Var<T> y : {logsumexp(x), sum(logsumexp(x, -1)), sum(logsumexp(x, 0)), sum(softmax(x) * x),
                         sum(softmax(x, 0) * x), sum(log_softmax(x)), sum(log_softmax(x, 0)),
                         sum(softplus(x)), sum(sigmoid(x)), sum(tanh(x)), sum(gelu(x)), sum(silu(x)),
                         sum(elu(x)), bce_with_logits_loss(x, target), cross_entropy_loss(x, labels)}) {
    tape.backward(y);
    CAPTURE(y.index());
    CHECK(std::isfinite(y.item()));
    CHECK(x.gradient().vector().allFinite());
  }
  const T first = std::log1p(std::exp(T{-1}));
  CHECK(agrees(logsumexp(x, -1).value()[0], 1000 + static_cast<Long>(first), 2));
  CHECK(cross_entropy_loss(x, labels).item() == doctest::Approx((2000.3132617 + 1000.8619948) / 2));
  CHECK(log_softmax(x).value()[1] == doctest::Approx(-2000.3132617));
  CHECK(softmax(x).value()[0] == doctest::Approx(0.7310585786));
  // A confident right answer costs little, and that little is exact.
  for (const T logit : {T{10}, T{30}, T{60}}) {
    const Long loss = std::log1p(std::exp(-static_cast<Long>(logit)));
    CHECK(agrees(bce_with_logits_loss(tape.constant(logit), tape.constant(T{1})).item(), loss, 6));
    CHECK(agrees(bce_with_logits_loss(tape.constant(-logit), tape.constant(T{0})).item(), loss, 6));
  }
}

TEST_CASE("reductions: minus infinity, and nothing to reduce") {
  const double inf = infinity<double>;
  CHECK(value([&](auto& tape) { return logsumexp(column(tape, {-inf, -inf})); }) == -inf);
  CHECK(value([&](auto& tape) { return logsumexp(column(tape, {-inf, 2})); }) == 2);
  CHECK(value([&](auto& tape) { return logsumexp(column(tape, {inf, 2})); }) == inf);
  CHECK(std::isnan(value([&](auto& tape) { return max(column(tape, {1, not_a_number<double>, 2})); })));
  Tape<double> tape;
  const V none = tape.variable(Numbers(Shape{2, 0}));
  CHECK(sum(none).item() == 0);
  CHECK(apart(sum(none, 1).value(), Numbers({2}).view()) == 0);
  CHECK(sum(none, 0).shape() == Shape{0});
  CHECK(softmax(none).shape() == Shape{2, 0});
  CHECK(log_softmax(none, 0).shape() == Shape{2, 0});
}

TEST_CASE("layout: reshape, transpose, slice, concat, gather_rows against the definition") {
  Tape<double> tape;
  Numbers numbers({2, 3, 4});
  for (Index i = 0; i < 24; ++i) numbers[i] = static_cast<double>(i);
  const V x = tape.variable(numbers);
  CHECK(apart(reshape(x, {6, -1}).value(), View<const double>(numbers.data(), {6, 4})) == 0);
  CHECK(reshape(tape.constant(3.0), {1, 1}).shape() == Shape{1, 1});
  CHECK(reshape(tape.constant(Numbers({1, 1})), {}).shape() == Shape{});
  const V outer = transpose(x, 0, -1), last = transpose(x), part = slice(x, 1, 1, 3),
          joined = concat({part, x}, 1);
  CHECK(outer.shape() == Shape{4, 3, 2});
  CHECK(last.shape() == Shape{2, 4, 3});
  CHECK(joined.shape() == Shape{2, 5, 4});
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) {
      for (Index k = 0; k < 4; ++k) {
        const double entry = numbers[(i * 3 + j) * 4 + k];
        REQUIRE(outer.value()[(k * 3 + j) * 2 + i] == entry);
        REQUIRE(last.value()[(i * 4 + k) * 3 + j] == entry);
        if (j >= 1) REQUIRE(part.value()[(i * 2 + j - 1) * 4 + k] == entry);
        REQUIRE(joined.value()[(i * 5 + j + 2) * 4 + k] == entry);
      }
    }
  }
  CHECK(slice(x, 0, 1, 1).shape() == Shape{0, 3, 4});
}

TEST_CASE("gather_rows: repeated positions add up") {
  Tape<double> tape;
  const V table = tape.variable(Numbers({3, 2}, {1, 2, 3, 4, 5, 6}));
  const V rows = gather_rows(table, tape.constant(Numbers({2, 2}, {2, 0, 2, 2})));
  CHECK(apart(rows.value(), Numbers({2, 2, 2}, {5, 6, 1, 2, 5, 6, 5, 6}).view()) == 0);
  tape.backward(rows, Numbers({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}).view());
  CHECK(apart(table.gradient(), Numbers({3, 2}, {3, 4, 0, 0, 13, 16}).view()) == 0);
}

TEST_CASE("field_pairs: weights and products of the rows at the positions") {
  Tape<double> tape;
  const V weights = tape.variable(Numbers({3, 1}, {10, 20, 30}));
  const V factors = tape.variable(Numbers({3, 2}, {1, 2, 3, 4, 5, 6}));
  // (1, 2) (3, 4) = 11; twice the row (5, 6) is 61; all three rows have 11 + 17 + 39.
  const V pairs = field_pairs(weights, factors, tape.constant(Numbers({2, 2}, {0, 1, 2, 2})));
  CHECK(apart(pairs.value(), Numbers({2, 1}, {41, 121}).view()) == 0);
  tape.backward(pairs, Numbers({2, 1}, {1, 10}).view());
  CHECK(apart(weights.gradient(), Numbers({3, 1}, {1, 1, 20}).view()) == 0);
  CHECK(apart(factors.gradient(), Numbers({3, 2}, {3, 4, 1, 2, 100, 120}).view()) == 0);
  const V three = field_pairs(weights, factors, tape.constant(Numbers({1, 3}, {0, 1, 2})));
  CHECK(three.item() == 60 + 11 + 17 + 39);
  tape.backward(three);
  CHECK(apart(factors.gradient(), Numbers({3, 2}, {8, 10, 6, 8, 4, 6}).view()) == 0);
  // Without fields, factors or rows.
  CHECK(field_pairs(weights, factors, tape.constant(Numbers({1, 1}, {2}))).item() == 30);
  CHECK(field_pairs(weights, factors, tape.constant(Numbers(Shape{1, 0}))).item() == 0);
  CHECK(field_pairs(weights, tape.variable(Numbers(Shape{3, 0})), tape.constant(Numbers({1, 2}, {0, 2})))
            .item() == 40);
  CHECK(field_pairs(weights, factors, tape.constant(Numbers(Shape{0, 2}))).shape() == Shape{0, 1});
  for (const double wrong : {3.0, -1.0, 0.5, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_ERROR(field_pairs(weights, factors, tape.constant(Numbers({1, 2}, {0, wrong}))),
                "[field_pairs] position", "expected a whole number from 0 to 2");
  }
  CHECK_ERROR(field_pairs(factors, factors, tape.constant(Numbers({1, 2}, {0, 1}))),
              "[field_pairs] weights 3x2 and factors 3x2");
  CHECK_ERROR(field_pairs(weights, factors, tape.constant(Numbers({2}, {0, 1}))),
              "positions 2: expected rows x");
}

TEST_CASE("dropout: keeps a fraction, scales it, and draws from the tape's seed") {
  Tape<double> tape;
  Numbers ones(Shape{100000});
  std::fill(ones.begin(), ones.end(), 1.0);
  const V x = tape.variable(ones), y = dropout(x, 0.3), second = dropout(x, 0.3);
  const auto kept = [&] { return static_cast<double>((y.value().vector().array() != 0).count()) / 100000; };
  // Five standard errors.
  CHECK(std::abs(kept() - 0.7) < 5 * std::sqrt(0.21 / 100000));
  for (const double entry : y.value()) REQUIRE((entry == 0 || entry == doctest::Approx(1 / 0.7)));
  CHECK(!same_bits(y.value(), second.value()));

  const Numbers first(y.value());
  tape.replay();
  CHECK(!same_bits(y.value(), first.view()));
  CHECK(std::abs(kept() - 0.7) < 5 * std::sqrt(0.21 / 100000));
  tape.replay(17);
  const Numbers seeded(y.value());
  tape.replay(18);
  CHECK(!same_bits(y.value(), seeded.view()));
  tape.replay(17);
  CHECK(same_bits(y.value(), seeded.view()));
  tape.backward(sum(y));  // the pattern of the forward pass
  CHECK(same_bits(x.gradient(), seeded.view()));
  CHECK(same_bits(dropout(x, 0).value(), x.value()));
}

TEST_CASE("errors: shapes and settings that do not fit") {
  Tape<double> tape;
  const V m = tape.input({2, 3}), v = tape.input({3}), s = tape.constant(1.0), cube = tape.input({2, 3, 4});
  CHECK_ERROR(m + tape.input({2}),
              "[add] shapes 2x3 and 2 do not fit: expected dimensions that are equal or 1");
  CHECK_ERROR(tape.input({0}) / v, "[div] shapes 0 and 3 do not fit");
  CHECK_ERROR(matmul(m, m), "[matmul] 2x3 times 2x3: expected a right side with 3 rows");
  CHECK_ERROR(matmul(m, m, Transpose::yes, Transpose::yes), "2x3 (transposed) times 2x3 (transposed)",
              "with 2 columns");
  CHECK_ERROR(matmul(m, v), "[matmul] shapes 2x3 and 3: expected two matrices");
  CHECK_ERROR(affine(m, tape.input({4, 2})),
              "[affine] input 2x3 does not fit weight 4x2: expected 2 columns");
  CHECK_ERROR(affine(s, tape.input({4, 1})), "[affine] input scalar does not fit weight 4x1");
  CHECK_ERROR(affine(m, v), "[affine] weight 3: expected a matrix, outputs x inputs");
  CHECK_ERROR(affine(m, tape.input({4, 3}), v),
              "[affine] bias 3 does not fit weight 4x3: expected 4 entries");
  CHECK_ERROR(sum(m, 2), "[sum] axis 2 of a tensor 2x3: expected -2 to 1");
  CHECK_ERROR(softmax(s), "[softmax] axis -1 of a tensor scalar");
  CHECK_ERROR(max(tape.input({2, 0}), 1), "[max] a tensor 2x0: expected entries");
  CHECK_ERROR(mean(tape.input({2, 0}), 1), "[mean] a tensor 2x0: expected entries");
  CHECK_ERROR(mean(tape.input({0})), "[mean] a tensor 0: expected entries");
  CHECK_ERROR(logsumexp(tape.input({0})), "[logsumexp] a tensor 0: expected entries");
  CHECK_ERROR(reshape(m, {4, -1}), "[reshape] a tensor 2x3 to 4x1: expected 6 entries");
  CHECK_ERROR(reshape(m, {-1, -1}), "[reshape] two dimensions are -1: expected at most one");
  CHECK_ERROR(reshape(m, {1, 1, 1, 1, 6}), "[reshape] 5 dimensions: expected at most 4");
  CHECK_ERROR(transpose(v), "[transpose] axis -2 of a tensor 3");
  CHECK_ERROR(slice(m, 1, 2, 4), "[slice] [2, 4) of axis 1 of a tensor 2x3: expected a range inside [0, 3)");
  CHECK_ERROR(slice(m, 1, 2, 1), "[slice] [2, 1)");
  CHECK_ERROR(concat({m, v}, 0), "[concat] 3 next to 2x3: expected equal dimensions except axis 0");
  CHECK_ERROR(concat({cube, tape.input({2, 2, 4})}, 0), "[concat] 2x2x4 next to 2x3x4");
  CHECK_ERROR(concat(std::span<const V>(), 0), "[concat] no tensors: expected one or more");
  CHECK_ERROR(gather_rows(v, s), "[gather_rows] a table 3: expected a matrix");
  CHECK_ERROR(gather_rows(m, tape.input({1, 1, 1, 1})),
              "[gather_rows] positions 1x1x1x1: expected at most 3 dimensions");
  CHECK_ERROR(mse_loss(m, v), "[mse_loss] prediction 2x3 and target 3: expected the same shape");
  CHECK_ERROR(bce_with_logits_loss(tape.input({0}), tape.input({0})),
              "[bce_with_logits_loss] prediction 0: expected entries");
  CHECK_ERROR(huber_loss(v, v, 0), "[huber_loss] delta 0: expected a positive number");
  CHECK_ERROR(cross_entropy_loss(v, v), "[cross_entropy_loss] logits 3: expected rows x classes");
  CHECK_ERROR(cross_entropy_loss(m, v), "[cross_entropy_loss] labels 3 for logits 2x3: expected 2 entries");
  CHECK_ERROR(clamp(v, 2, 1), "[clamp] bounds 2 and 1: expected low <= high");
  CHECK_ERROR(clamp(v, not_a_number<double>, 1), "[clamp] bounds");
  for (const double p : {1.0, -0.1, not_a_number<double>}) {
    CHECK_ERROR(dropout(v, p), "[dropout] probability", "expected 0 <= probability < 1");
  }
}

TEST_CASE("errors: labels and positions outside their range, in a replay too") {
  Tape<double> tape;
  const V table = tape.variable(Numbers({3, 2})), at = tape.input({2}, "labels");
  tape.backward(cross_entropy_loss(transpose(table), at));
  for (const double bad : {3.0, -1.0, 0.5, not_a_number<double>, infinity<double>, 1e300}) {
    CAPTURE(bad);
    at.data()[1] = bad;
    CHECK_ERROR(tape.replay(), "[cross_entropy_loss] label ", "expected a whole number from 0 to 2");
    CHECK_ERROR(gather_rows(table, at), "[gather_rows] position ", "expected a whole number from 0 to 2");
    CHECK(tape.nodes().size() == 4);  // what failed is not on the tape
  }
  Tape<double> other;
  const V rows = other.input({1}), picked = gather_rows(other.variable(Numbers({3, 2})), rows);
  rows.data()[0] = 3;
  CHECK_ERROR(other.replay(), "[gather_rows] position 3: expected a whole number from 0 to 2");
  rows.data()[0] = 2;
  other.replay();
  CHECK(picked.shape() == Shape{1, 2});
}

TEST_CASE("concat: more inputs than there are bits in a word, with gradients") {
  Tape<double> tape;
  std::vector<Var<double>> parts;
  for (int i = 0; i < 70; ++i) {
    const double value = i;
    parts.push_back(tape.variable(View<const double>(&value, {1}), "part"));
  }
  const auto joined = concat(std::span<const Var<double>>(parts), 0);
  REQUIRE(joined.shape() == Shape{70});
  tape.backward(sum(square(joined)));
  for (int i = 0; i < 70; ++i) {
    CHECK(joined.value()[i] == i);
    CHECK(parts[static_cast<std::size_t>(i)].gradient()[0] == 2 * i);
  }
}

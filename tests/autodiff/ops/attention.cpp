#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/autodiff/gradcheck.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/structure.hpp>
#include <taper/autodiff/structurecheck.hpp>
#include <taper/autodiff/threads.hpp>

#include "../../check.hpp"
#include "../random_tensors.hpp"

using namespace taper;

namespace {

constexpr double nothing = -std::numeric_limits<double>::infinity();

/// One attention of one head by plain loops in double: n x d queries, m x d keys, m x e values, and what is
/// added to the n x m scores.
std::vector<double> plain_attention(Index n, Index m, Index d, Index e, const std::vector<double>& q,
                                    const std::vector<double>& k, const std::vector<double>& v,
                                    const std::vector<double>& added, double scale) {
  std::vector<double> y(static_cast<std::size_t>(n * e));
  const auto at = [](Index i, Index j, Index width) { return static_cast<std::size_t>(i * width + j); };
  for (Index i = 0; i < n; ++i) {
    std::vector<double> scores;
    double most = nothing, total = 0;
    for (Index j = 0; j < m; ++j) {
      double score = 0;
      for (Index c = 0; c < d; ++c) score += q[at(i, c, d)] * k[at(j, c, d)];
      scores.push_back(scale * score + added[at(i, j, m)]);
      most = std::max(most, scores.back());
    }
    if (most == nothing) continue;
    for (double& score : scores) total += score = std::exp(score - most);
    for (Index j = 0; j < m; ++j) {
      for (Index c = 0; c < e; ++c)
        y[at(i, c, e)] += scores[static_cast<std::size_t>(j)] / total * v[at(j, c, e)];
    }
  }
  return y;
}

/// Rows x length x (heads width) as rows x heads x length x width.
template <class T> Var<T> by_heads(Var<T> x, Index heads) {
  const Shape& shape = x.shape();
  return permute(reshape(x, {shape[0], shape[1], heads, shape[2] / heads}), {0, 2, 1, 3});
}

/// The same of other operations, with an additive mask.
template <class T>
Var<T> composed_attention(Var<T> q, Var<T> k, Var<T> v, std::optional<Var<T>> mask, double scale,
                          Index heads) {
  const Var<T> a = by_heads(q, heads), b = by_heads(k, heads), c = by_heads(v, heads);
  Var<T> scores = matmul(a, b, Transpose::no, Transpose::yes) * static_cast<T>(scale);
  if (mask) scores = scores + *mask;
  const Var<T> y = permute(matmul(softmax(scores), c), {0, 2, 1, 3});
  return reshape(y, {q.shape()[0], q.shape()[1], v.shape()[2]});
}

/// Minus infinity above the diagonal.
template <class T> Tensor<T> triangle(Index n, Index m) {
  Tensor<T> x({n, m});
  for (Index i = 0; i < n; ++i) {
    for (Index j = i + 1; j < m; ++j) x[i * m + j] = -std::numeric_limits<T>::infinity();
  }
  return x;
}

template <class T>
Tensor<T> attended(const Tensor<T>& q, const Tensor<T>& k, const Tensor<T>& v, bool causal = false,
                   Index head_width = 0) {
  Tape<T> tape;
  return Tensor<T>(scaled_dot_product_attention(tape.constant(q), tape.constant(k), tape.constant(v),
                                                {.causal = causal, .head_width = head_width})
                       .value());
}

}  // namespace

TEST_CASE_TEMPLATE("attention: values of plain loops, with masks of every kind", T, float, double) {
  const Index n = 5, m = 7, d = 3, e = 4;
  const auto numbers = [](const Tensor<T>& x, Index from, Index count) {
    return std::vector<double>(x.begin() + from, x.begin() + from + count);
  };
  const Tensor<T> q = normal_tensor<T>({2, 3, n, d}, 1), k = normal_tensor<T>({2, 3, m, d}, 2),
                  v = normal_tensor<T>({2, 3, m, e}, 3), added = normal_tensor<T>({2, 1, n, m}, 4);
  Tensor<T> condition({3, 1, m});
  Rng rng(5);
  for (T& entry : condition) entry = static_cast<T>(rng.below(2));
  for (Index j = 0; j < m; ++j) condition[m + j] = j == 2 ? T{1} : T{0};  // one key of seven
  for (const int kind : {0, 1, 2, 3, 4}) {  // none, causal, added, allowed, ignored
    CAPTURE(kind);
    Tape<T> tape;
    AttentionOptions<T> options{.causal = kind == 1};
    if (kind >= 2) options.mask = tape.constant(kind == 2 ? added : condition);
    if (kind == 3) options.mask_kind = AttentionMask::allowed;
    if (kind == 4) options.mask_kind = AttentionMask::ignored;
    if (kind == 2) options.scale = 0.3;
    const Var<T> y =
        scaled_dot_product_attention(tape.constant(q), tape.constant(k), tape.constant(v), options);
    REQUIRE(y.shape() == Shape{2, 3, n, e});
    for (Index pair = 0; pair < 6; ++pair) {
      std::vector<double> mask(static_cast<std::size_t>(n * m));
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < m; ++j) {
          double& entry = mask[static_cast<std::size_t>(i * m + j)];
          const bool given = condition[pair % 3 * m + j] != 0;
          if (kind == 1 && j > i) entry = nothing;
          if (kind == 2) entry = static_cast<double>(added[(pair / 3 * n + i) * m + j]);
          if ((kind == 3 && !given) || (kind == 4 && given)) entry = nothing;
        }
      }
      const std::vector<double> expected =
          plain_attention(n, m, d, e, numbers(q, pair * n * d, n * d), numbers(k, pair * m * d, m * d),
                          numbers(v, pair * m * e, m * e), mask, kind == 2 ? 0.3 : 1 / std::sqrt(3.0));
      for (Index i = 0; i < n * e; ++i) {
        CHECK(static_cast<double>(y.value()[pair * n * e + i]) ==
              doctest::Approx(expected[static_cast<std::size_t>(i)]).epsilon(sizeof(T) == 4 ? 1e-5 : 1e-13));
      }
    }
  }
}

TEST_CASE_TEMPLATE("attention: values and gradients are those of products and a softmax", T, float, double) {
  struct Sizes {
    Index rows, heads, n, m, width, value_width;
    bool causal;
  };
  for (const Sizes& s : {Sizes{2, 3, 5, 7, 4, 2, false}, Sizes{1, 2, 150, 130, 8, 8, false},
                         Sizes{2, 2, 130, 70, 3, 5, true}, Sizes{1, 1, 70, 200, 5, 3, true},
                         Sizes{3, 4, 1, 1, 2, 2, true}, Sizes{2, 4, 64, 64, 16, 16, false}}) {
    CAPTURE(s.n);
    CAPTURE(s.m);
    Tape<T> tape;
    const Var<T> q = tape.variable(normal_tensor<T>({s.rows, s.n, s.heads * s.width}, 1)),
                 k = tape.variable(normal_tensor<T>({s.rows, s.m, s.heads * s.width}, 2)),
                 v = tape.variable(normal_tensor<T>({s.rows, s.m, s.heads * s.value_width}, 3)),
                 mask = tape.variable(normal_tensor<T>({s.heads, 1, s.m}, 4)),
                 g = tape.constant(normal_tensor<T>({s.rows, s.n, s.heads * s.value_width}, 5));
    const Var<T> limit = tape.constant(triangle<T>(s.n, s.m));
    for (const bool masked : {false, true}) {
      CAPTURE(masked);
      AttentionOptions<T> options{.causal = s.causal, .scale = 0.4, .head_width = s.width};
      std::optional<Var<T>> added;
      if (s.causal) added = limit;
      if (masked) {
        options.mask = mask;
        added = s.causal ? mask + limit : mask;
      }
      const Var<T> y = scaled_dot_product_attention(q, k, v, options),
                   z = composed_attention<T>(q, k, v, added, 0.4, s.heads);
      const double most = sizeof(T) == 4 ? 1e-4 : 1e-12;
      CHECK(apart(y.value(), z.value()) < most);
      tape.backward(sum(y * g));
      std::vector<Tensor<T>> ours;
      for (const Var<T>& x : {q, k, v, mask}) ours.emplace_back(x.gradient());
      tape.backward(sum(z * g));
      CHECK(apart(ours[0].view(), q.gradient()) < most);
      CHECK(apart(ours[1].view(), k.gradient()) < most);
      CHECK(apart(ours[2].view(), v.gradient()) < most);
      if (masked) CHECK(apart(ours[3].view(), mask.gradient()) < 10 * most);
    }
  }
}

TEST_CASE("attention: one variable in several places gets the sum of their gradients") {
  for (const Index n : {3, 150}) {
    for (const bool causal : {false, true}) {
      Tape<double> tape;
      const auto x = tape.variable(normal_tensor<double>({2, n, 4}, 1)),
                 w = tape.variable(normal_tensor<double>({2, n, 4}, 2));
      const auto g = tape.constant(normal_tensor<double>({2, n, 4}, 3));
      // Through zeros that are added, each use is a variable of its own.
      const auto zero = tape.constant(0.0);
      const AttentionOptions<double> options{.causal = causal, .head_width = 2};
      using Three = std::array<Var<double>, 3>;
      for (const Three& uses : {Three{x, x, x}, Three{w, x, x}, Three{x, w, x}, Three{x, x, w}}) {
        tape.backward(sum(scaled_dot_product_attention(uses[0], uses[1], uses[2], options) * g));
        const Tensor<double> of_x(x.gradient());
        tape.backward(
            sum(scaled_dot_product_attention(uses[0] + zero, uses[1] + zero, uses[2] + zero, options) * g));
        CHECK(apart(of_x.view(), x.gradient()) < 1e-13);
      }
    }
  }
}

TEST_CASE_TEMPLATE("attention: positions, heads and rows may be permuted", T, float, double) {
  const Index rows = 3, n = 6, width = 4;
  const Tensor<T> x = normal_tensor<T>({rows, n, width});
  const Tensor<T> y = attended(x, x, x, false, 2);
  const Index order[] = {4, 2, 0, 5, 1, 3};
  Tensor<T> moved(x.shape());
  for (Index r = 0; r < rows; ++r) {
    for (Index i = 0; i < n; ++i)
      std::copy_n(x.data() + (r * n + order[i]) * width, width, moved.data() + (r * n + i) * width);
  }
  const Tensor<T> z = attended(moved, moved, moved, false, 2);
  for (Index r = 0; r < rows; ++r) {
    for (Index i = 0; i < n; ++i) {
      for (Index c = 0; c < width; ++c) {
        CHECK(static_cast<double>(z[(r * n + i) * width + c]) ==
              doctest::Approx(static_cast<double>(y[(r * n + order[i]) * width + c])).epsilon(1e-5));
      }
    }
  }
  // Each head alone, and each row alone.
  for (Index head = 0; head < 2; ++head) {
    for (Index r = 0; r < rows; ++r) {
      Tensor<T> one({n, 2});
      for (Index i = 0; i < n; ++i)
        std::copy_n(x.data() + (r * n + i) * width + 2 * head, 2, one.data() + 2 * i);
      const Tensor<T> alone = attended(one, one, one);
      for (Index i = 0; i < 2 * n; ++i) {
        CHECK(static_cast<double>(alone[i]) ==
              doctest::Approx(static_cast<double>(y[(r * n + i / 2) * width + 2 * head + i % 2]))
                  .epsilon(1e-5));
      }
    }
  }
}

TEST_CASE_TEMPLATE("attention: with a causal mask, later positions change nothing before them", T, float,
                   double) {
  for (const Index n : {5, 150}) {
    Tensor<T> x = normal_tensor<T>({2, n, 4});
    const Tensor<T> y = attended(x, x, x, true, 2);
    const Index from = 2 * n / 3;
    for (Index r = 0; r < 2; ++r) {
      for (Index i = from; i < n; ++i) x[(r * n + i) * 4] = T{7};
    }
    const Tensor<T> z = attended(x, x, x, true, 2);
    for (Index r = 0; r < 2; ++r) {
      for (Index i = 0; i < n * 4; ++i) {
        const Index at = r * n * 4 + i;
        if (i < from * 4) CHECK(y[at] == z[at]);
      }
      CHECK(y[(r * n + n - 1) * 4] != z[(r * n + n - 1) * 4]);
    }
  }
}

TEST_CASE_TEMPLATE("attention: what a query does not see may be NaN or infinite", T, float, double) {
  const auto near = [](T y, T z) { CHECK(std::abs(y - z) <= 20 * std::numeric_limits<T>::epsilon()); };
  const T infinite = std::numeric_limits<T>::infinity();
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), infinite, -infinite}) {
    CAPTURE(bad);
    for (const Index n : {5, 150}) {
      const Index from = 2 * n / 3;
      Tensor<T> x = normal_tensor<T>({2, n, 4});
      const Tensor<T> y = attended(x, x, x, true, 2);
      for (Index r = 0; r < 2; ++r) x[(r * n + from) * 4] = bad;
      const Tensor<T> z = attended(x, x, x, true, 2);
      for (Index i = 0; i < y.size(); ++i) {
        if (i / 4 % n < from) near(y[i], z[i]);
      }
      CHECK(!std::isfinite(z[from * 4]));
    }
    using Kind = AttentionMask;
    for (const Kind kind : {Kind::added, Kind::allowed, Kind::ignored}) {
      CAPTURE(static_cast<int>(kind));
      Tensor<T> k = normal_tensor<T>({6, 3}, 2), v = normal_tensor<T>({6, 4}, 3), mask({6});
      for (T& entry : mask) entry = static_cast<T>(kind == Kind::allowed);
      mask[4] = kind == Kind::added ? -infinite : static_cast<T>(kind == Kind::ignored);
      const auto attend = [&] {
        Tape<T> tape;
        return Tensor<T>(scaled_dot_product_attention(tape.constant(normal_tensor<T>({70, 3}, 1)),
                                                      tape.constant(k), tape.constant(v),
                                                      {.mask = tape.constant(mask), .mask_kind = kind})
                             .value());
      };
      const Tensor<T> y = attend();
      k[4 * 3] = v[4 * 4 + 1] = bad;
      const Tensor<T> z = attend();
      for (Index i = 0; i < y.size(); ++i) near(y[i], z[i]);
    }
  }
}

TEST_CASE_TEMPLATE("attention: the same bits for any number of threads", T, float, double) {
  const int before = threads();
  std::vector<Tensor<T>> first;
  for (const int count : {1, 2, 5}) {
    set_threads(count);
    Tape<T> tape;
    const Var<T> x = tape.variable(normal_tensor<T>({9, 70, 24})),
                 mask = tape.variable(normal_tensor<T>({70, 70}));
    const Var<T> y = scaled_dot_product_attention(x, x, x, {.mask = mask, .head_width = 6, .dropout = 0.2});
    const Var<T> loss = sum(square(y));
    tape.replay(11);  // the same random numbers
    tape.backward(loss);
    const std::vector<Tensor<T>> now{Tensor<T>(y.value()), Tensor<T>(x.gradient()),
                                     Tensor<T>(mask.gradient())};
    for (std::size_t k = 0; k < first.size(); ++k) CHECK(same_bits(first[k].view(), now[k].view()));
    first = now;
  }
  set_threads(before);
}

TEST_CASE_TEMPLATE("attention: any scale of the inputs", T, float, double) {
  const Tensor<T> x = normal_tensor<T>({2, 6, 4});
  const auto scaled = [&](double by) {
    Tensor<T> result = x;
    for (T& entry : result) entry *= static_cast<T>(by);
    return result;
  };
  for (const double by : {1e-8, 1.0, 1e8}) {
    CAPTURE(by);
    Tape<T> tape;
    const Var<T> q = tape.variable(scaled(by));
    const Var<T> y = scaled_dot_product_attention(q, q, q);
    tape.backward(sum(y));
    for (Index i = 0; i < y.shape().size(); ++i) {
      CHECK(std::isfinite(y.value()[i]));
      CHECK(std::isfinite(q.gradient()[i]));
      CHECK(std::abs(static_cast<double>(y.value()[i])) <= 5 * by);
    }
    // Values alone are linear.
    const Tensor<T> a = attended(x, x, x), b = attended(x, x, scaled(by));
    for (Index i = 0; i < a.size(); ++i)
      CHECK(static_cast<double>(b[i]) == doctest::Approx(by * static_cast<double>(a[i])).epsilon(1e-5));
  }
  // One key far above all others is the one that is seen.
  const Tensor<T> far = attended(scaled(1e8), scaled(1e8), x);
  for (const T& entry : far) CHECK(std::abs(static_cast<double>(entry)) < 5);
}

TEST_CASE_TEMPLATE("attention: a query that sees no key gives zeros and has no gradient", T, float, double) {
  for (const AttentionMask kind : {AttentionMask::added, AttentionMask::allowed, AttentionMask::ignored}) {
    Tensor<T> mask({3, 4});
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 4; ++j) {
        const bool seen = i != 1;
        mask[i * 4 + j] = kind == AttentionMask::added ? (seen ? T{0} : -std::numeric_limits<T>::infinity())
                                                       : T(seen == (kind == AttentionMask::allowed));
      }
    }
    Tape<T> tape;
    const Var<T> q = tape.variable(normal_tensor<T>({2, 3, 2}, 1)),
                 k = tape.variable(normal_tensor<T>({2, 4, 2}, 2)),
                 v = tape.variable(normal_tensor<T>({2, 4, 2}, 3));
    const Var<T> y = scaled_dot_product_attention(q, k, v, {.mask = tape.constant(mask), .mask_kind = kind});
    tape.backward(sum(y * y) + sum(y));
    for (const Index at : {2, 3, 8, 9}) {  // query 1 of both rows
      CHECK(y.value()[at] == 0);
      CHECK(q.gradient()[at] == 0);
    }
    CHECK(y.value()[0] != 0);
    for (const Var<T>& x : {q, k, v}) {
      for (const T& entry : x.gradient()) CHECK(std::isfinite(entry));
    }
  }
}

TEST_CASE("attention: nothing to see, one position, no rows") {
  Tape<double> tape;
  const auto q = tape.variable(normal_tensor<double>({2, 3, 4}));
  const auto none = tape.variable(Tensor<double>({2, 0, 4}));
  const auto y = scaled_dot_product_attention(q, none, none, {.head_width = 2});
  tape.backward(sum(y) + sum(none));
  for (const double entry : y.value()) CHECK(entry == 0);
  for (const double entry : q.gradient()) CHECK(entry == 0);
  const auto z = scaled_dot_product_attention(none, q, q);
  CHECK(z.shape() == Shape{2, 0, 4});
  tape.backward(sum(z));
  for (const double entry : q.gradient()) CHECK(entry == 0);
  // The one key there is gives its value, whatever the query is.
  const auto one = tape.variable(normal_tensor<double>({2, 1, 4}));
  const auto w = scaled_dot_product_attention(q, one, one);
  for (Index i = 0; i < w.shape().size(); ++i)
    CHECK(w.value()[i] == doctest::Approx(one.value()[i / 12 * 4 + i % 4]));
  const auto no_rows = tape.variable(Tensor<double>({0, 3, 4}));
  CHECK(scaled_dot_product_attention(no_rows, no_rows, no_rows, {.head_width = 2}).shape() == Shape{0, 3, 4});
  const auto no_heads = tape.variable(Tensor<double>({2, 3, 0}));
  const auto of_no_heads = scaled_dot_product_attention(no_heads, no_heads, no_heads, {.head_width = 2});
  CHECK(of_no_heads.shape() == Shape{2, 3, 0});
  tape.backward(sum(of_no_heads));
}

TEST_CASE("attention: dropout takes out weights, and keeps their mean") {
  const Tensor<double> q = normal_tensor<double>({1, 200, 2}, 1);
  Tensor<double> v({1, 200, 1});
  for (double& entry : v) entry = 1;
  const auto run = [&](double probability) {
    Tape<double> tape;
    const auto x = tape.constant(q);
    return Tensor<double>(
        scaled_dot_product_attention(x, x, tape.constant(v), {.dropout = probability}).value());
  };
  for (const double entry : run(0)) CHECK(entry == doctest::Approx(1));
  const Tensor<double> half = run(0.5);
  double total = 0;
  Index other = 0;
  for (const double entry : half) total += entry / 200, other += std::abs(entry - 1) > 1e-3;
  CHECK(total == doctest::Approx(1).epsilon(0.05));
  CHECK(other > 190);
}

TEST_CASE("attention: gradient and structure with dropout, which is in no case of the registry") {
  for (const char* name : {"scaled_dot_product_attention", "masked_attention"}) {
    const Op<double>& op = *Op<double>::find(name);
    Rng rng(4);
    for (GradcheckCase& example : op.gradcheck_cases(rng)) {
      set_attribute(op, example.attributes, "dropout", 0.4);
      const GradcheckReport gradient = gradcheck(op, example);
      CHECK_MESSAGE(gradient.ok, gradient);
      const StructureReport structure = check_structure(op, example);
      CHECK_MESSAGE(structure.ok, structure);
    }
  }
}

TEST_CASE("attention: what it costs, and shapes that are refused") {
  Tape<double> tape;
  const auto q = tape.input({2, 3, 4}), k = tape.input({2, 5, 4}), v = tape.input({2, 5, 6});
  const auto attend = [&](Var<double> a, Var<double> b, Var<double> c,
                          const AttentionOptions<double>& o = {}) {
    return scaled_dot_product_attention(a, b, c, o);
  };
  const auto y = attend(q, k, v, {.head_width = 2});
  CHECK(y.shape() == Shape{2, 3, 6});
  CHECK(multiply_adds_of(tape, tape.nodes()[static_cast<std::size_t>(y.index())]) == 2 * 3 * 5 * (4 + 6));
  CHECK_ERROR(attend(tape.input({4}), k, v), "[scaled_dot_product_attention] queries 4", "queries x width");
  CHECK_ERROR(attend(q, tape.input({3, 5, 4}), v), "keys 3x5x4 for queries 2x3x4", "leading dimensions");
  CHECK_ERROR(attend(q, k, tape.input({5, 6})), "values 5x6 for queries 2x3x4", "leading dimensions");
  CHECK_ERROR(attend(q, tape.input({2, 5, 3}), v), "keys 2x5x3", "a width of 4");
  CHECK_ERROR(attend(q, k, tape.input({2, 4, 6})), "values 2x4x6 for keys 2x5x4", "expected 5");
  CHECK_ERROR(attend(q, k, v, {.head_width = 3}), "heads 3 wide", "multiple");
  CHECK_ERROR(attend(q, k, v, {.head_width = -1}), "heads -1 wide");
  CHECK_ERROR(attend(q, k, tape.input({2, 5, 5}), {.head_width = 2}), "values 2x5x5 for 2 heads");
  CHECK_ERROR(attend(q, k, v, {.mask = tape.input({3, 4})}), "mask 3x4 for scores 2x3x5");
  CHECK_ERROR(attend(q, k, v, {.mask = tape.input({1, 2, 3, 5})}), "mask 1x2x3x5");
  CHECK_ERROR(attend(q, k, v, {.mask = tape.input({3, 5}), .mask_kind = AttentionMask::none}),
              "the kind none");
  CHECK_ERROR(attend(q, k, v, {.scale = HUGE_VAL}), "scale", "finite");
  CHECK_ERROR(attend(q, k, v, {.dropout = 1}), "dropout 1", "0 <= dropout < 1");
  const auto four = tape.input({2, 2, 3, 4});
  CHECK_ERROR(attend(four, four, four, {.head_width = 2}), "queries 2x2x3x4", "3 dimensions at most");
}

#include <taper/autodiff/structure.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/structurecheck.hpp>

#include "../check.hpp"

using namespace taper;

namespace {

using Record = OpRecord<double>;
using Rule = void (*)(const Signature&, const Shape&, Structure&);

/// Operations of the library of which nothing may be cut, each with its reason. There is none.
const std::map<std::string_view, const char*> pinned_operations{};

Tensor<double> numbers(const Shape& shape, std::uint64_t seed = 1) {
  Rng rng(seed);
  Tensor<double> x(shape);
  for (double& entry : x) entry = rng.uniform(0.5, 2);
  return x;
}

/// What the check finds of an operation of the library with another rule.
StructureReport with_rule(const char* name, Rule rule, const GradcheckCase& example) {
  const Op<double>& known = *Op<double>::find(name);
  Record record = known;
  record.name = "with another rule";
  record.structure = rule;
  return check_structure(Op<double>(record), example);
}

/// The cases of an operation of the library.
std::vector<GradcheckCase> cases_of(const char* name) {
  Rng rng(3);
  return Op<double>::find(name)->gradcheck_cases(rng);
}

/// That a wrong rule is found out, by these words, at the first example or at another.
void refuse(const char* name, Rule rule, const char* words, std::size_t example = 0) {
  CAPTURE(name);
  const StructureReport report = with_rule(name, rule, cases_of(name)[example]);
  CHECK(!report.ok);
  INFO(report);
  CHECK(report.where.find(words) != std::string::npos);
}

/// The structure of the last operation of a tape.
Structure last(const Tape<double>& tape) {
  return structure_of(tape, tape.nodes().back());
}

/// "in 0 axis 1 [0, 3) / 1 with [2, 5) / 1 of axis 1, 3 classes" for each link.
std::string listed(const Structure& structure) {
  std::ostringstream out;
  for (const Link& link : structure.links) {
    out << link.input << ':' << link.from.axis << " [" << link.from.begin << ' ' << link.from.end << ")/"
        << link.from.inner << " -> " << link.to.axis << " [" << link.to.begin << ' ' << link.to.end << ")/"
        << link.to.inner << " %" << link.classes << '\n';
  }
  return out.str();
}

}  // namespace

TEST_CASE("registry: every operation states its structure, which holds at all its cases") {
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    const bool pinned = pinned_operations.contains(op->name);
    CHECK((op->structure == nullptr) == pinned);
    Rng rng(5);
    for (const GradcheckCase& example : op->gradcheck_cases(rng)) {
      const StructureReport report = check_structure(*op, example);
      CHECK_MESSAGE(report.ok, report);
      CHECK(report.pinned == pinned);
    }
  }
}

TEST_CASE("structure: what the layouts state") {
  Tape<double> tape;
  const auto x = tape.input({2, 3, 2, 2});
  reshape(x, {2, -1});
  CHECK(listed(last(tape)) ==
        "0:0 [0 2)/1 -> 0 [0 2)/1 %2\n0:1 [0 3)/1 -> 1 [0 12)/4 %3\n0:2 [0 2)/1 -> 1 [0 12)/2 %2\n"
        "0:3 [0 2)/1 -> 1 [0 12)/1 %2\n");
  CHECK((last(tape).literal_axes == std::vector<Index>{0}));
  reshape(x, {-1, 2});
  CHECK(listed(last(tape)) ==
        "0:0 [0 2)/1 -> 0 [0 12)/6 %2\n0:1 [0 3)/1 -> 0 [0 12)/2 %3\n0:2 [0 2)/1 -> 0 [0 12)/1 %2\n"
        "0:3 [0 2)/1 -> 1 [0 2)/1 %2\n");
  reshape(tape.input({2, 12}), {-1, 3, 4});
  CHECK(listed(last(tape)) ==
        "0:0 [0 2)/1 -> 0 [0 2)/1 %2\n0:1 [0 12)/4 -> 1 [0 3)/1 %3\n0:1 [0 12)/1 -> 2 [0 4)/1 %4\n");
  CHECK((last(tape).literal_axes == std::vector<Index>{1, 2}));
  reshape(tape.input({2, 3, 4}), {2, 4, 3});  // rows stay rows; the rest has no order that axes know of
  CHECK(listed(last(tape)) == "0:0 [0 2)/1 -> 0 [0 2)/1 %2\n");
  reshape(tape.input({1, 5}), {5});
  CHECK(listed(last(tape)) == "0:1 [0 5)/1 -> 0 [0 5)/1 %5\n");
  reshape(tape.input({3, 0, 2}), {3, 2, 0});
  CHECK(listed(last(tape)) == "0:0 [0 3)/1 -> 0 [0 3)/1 %3\n");
  slice(tape.input({2, 6}), 1, 2, 5);
  CHECK(listed(last(tape)) == "0:0 [0 2)/1 -> 0 [0 2)/1 %2\n0:1 [2 5)/1 -> 1 [0 3)/1 %3\n");
  CHECK(!last(tape).reads(0, 1, 1));
  CHECK(last(tape).reads(0, 1, 4));
  CHECK(!last(tape).reads(0, 1, 5));
  CHECK(last(tape).is_literal(1));
  CHECK(!last(tape).is_literal(0));
  concat({tape.input({2, 3}), tape.input({2, 1})}, 1);
  CHECK(listed(last(tape)) ==
        "0:0 [0 2)/1 -> 0 [0 2)/1 %2\n0:1 [0 3)/1 -> 1 [0 3)/1 %3\n1:0 [0 2)/1 -> 0 [0 2)/1 %2\n"
        "1:1 [0 1)/1 -> 1 [3 4)/1 %1\n");
}

TEST_CASE("structure: what is repeated is not linked") {
  Tape<double> tape;
  const auto x = tape.input({3, 5});
  x* tape.input({3, 1});
  CHECK(listed(last(tape)) ==
        "0:0 [0 3)/1 -> 0 [0 3)/1 %3\n0:1 [0 5)/1 -> 1 [0 5)/1 %5\n1:0 [0 3)/1 -> 0 [0 3)/1 %3\n");
  x + tape.input({5});
  CHECK(listed(last(tape)) ==
        "0:0 [0 3)/1 -> 0 [0 3)/1 %3\n0:1 [0 5)/1 -> 1 [0 5)/1 %5\n1:0 [0 5)/1 -> 1 [0 5)/1 %5\n");
  hadamard(x, tape.input({3, 1}));
  CHECK(listed(last(tape)) ==
        "0:0 [0 3)/1 -> 0 [0 3)/1 %3\n0:1 [0 5)/1 -> 1 [0 5)/1 %5\n1:0 [0 3)/1 -> 0 [0 3)/1 %3\n");
}

TEST_CASE("structure: an affine, and what depends on settings and inputs") {
  Tape<double> tape;
  const auto x = tape.input({4, 3}), w = tape.input({5, 3}), b = tape.input({5});
  affine(x, w, b, Activation::relu);
  const Structure full = last(tape);
  CHECK(listed(full) ==
        "0:0 [0 4)/1 -> 0 [0 4)/1 %4\n1:0 [0 5)/1 -> 1 [0 5)/1 %5\n2:0 [0 5)/1 -> 1 [0 5)/1 %5\n");
  REQUIRE(full.contractions.size() == 1);
  CHECK(full.contractions[0].axis_a == 1);
  CHECK(full.contractions[0].input_b == 1);
  CHECK(full.contractions[0].axis_b == 1);
  CHECK(full.bias == 2);
  CHECK(full.zero_preserving == 0);
  affine(x, w, Activation::tanh);
  CHECK(last(tape).bias == 2);  // which it may be given
  CHECK(last(tape).zero_preserving == 0b11);
  affine(x, w, Activation::sigmoid);
  CHECK(last(tape).zero_preserving == 0);
  CHECK((clamp(x, -1, 1), last(tape).preserves_zero(0)));
  CHECK((clamp(x, 1, 2), !last(tape).preserves_zero(0)));
  CHECK((pow(x, 0.5), last(tape).preserves_zero(0)));
  CHECK((pow(x, 0.0), !last(tape).preserves_zero(0)));
  CHECK((x / x, last(tape).preserves_zero(0) && !last(tape).preserves_zero(1)));
  CHECK((dropout(x, 0.5), last(tape).random));
}

TEST_CASE("structure: which operations go entry by entry") {
  Tape<double> tape;
  const auto x = tape.input({4, 3});
  const auto elementwise = [&] { return is_elementwise(tape, tape.nodes().back()); };
  CHECK(!elementwise());  // a leaf
  CHECK((tanh(x), elementwise()));
  CHECK((x + tape.input({3}), elementwise()));
  CHECK((hadamard(x, tape.input({3})), elementwise()));
  CHECK((dropout(x, 0.5), elementwise()));
  CHECK((softmax(x), !elementwise()));
  CHECK((transpose(x), !elementwise()));
  CHECK((affine(x, x), !elementwise()));
  CHECK((sum(x), !elementwise()));
  CHECK_ERROR(structure_of(tape, tape.nodes()[0]), "[structure] a leaf of a tape");
  const Op<double> unknown(Record{.name = "unknown",
                                  .arity = 1,
                                  .shape = [](const Signature& s) { return s[0]; },
                                  .forward = [](const Forward<double>& f) { f.output().vector().setZero(); },
                                  .no_derivative = true});
  apply(unknown, {x});
  CHECK(last(tape).pinned);
  CHECK(!elementwise());
  CHECK(check_structure(unknown, {{numbers({2})}}).pinned);
}

TEST_CASE("structure: the attributes after a cut") {
  Tape<double> tape;
  const auto x = tape.input({2, 6});
  const auto cut = [&](const Kept& kept) {
    const Node<double>& node = tape.nodes().back();
    const Shape& shape = tape.nodes()[tape.inputs(node)[0]].shape;
    const Shape* const shapes[] = {&shape};
    std::ostringstream out;
    const Attributes attributes =
        node.op->cut_attributes(Signature{shapes, node.attributes}, node.shape, kept);
    for_attributes(*node.op, attributes, [&](std::string_view name, const AttributeValue& value) {
      out << name << '=' << value << ' ';
    });
    return out.str();
  };
  slice(x, 1, 2, 5);
  CHECK(cut({{{{{0, 1}, {0, 3, 4, 5}}}}, {{{0, 1}, {1, 2}}}}) == "axis=1 begin=1 end=3 ");
  CHECK(cut({{{{{0, 1}, {0, 1, 5}}}}, {{{0, 1}, {}}}}) == "axis=1 begin=2 end=2 ");
  reshape(x, {-1, 2, 3});
  CHECK(cut({{{{{0, 1}, {0, 2, 3, 5}}}}, {{{0, 1}, {0, 1}, {0, 2}}}}) == "dimensions=[-1, 2, 2] ");
  CHECK(cut({{{{{0, 1}, {}}}}, {{{0, 1}, {}, {0, 1, 2}}}}) == "dimensions=[2, 0, 3] ");
}

TEST_CASE("check_structure: finds a missing dependence") {
  // Rows of a product do not depend on their own columns alone, nor a softmax on its place alone.
  const Rule in_place = [](const Signature& s, const Shape& y, Structure& out) {
    for (Index k = 0; k < y.rank(); ++k) out.same(0, k, k, s[0][k]);
  };
  refuse("softmax", in_place, "depends on entry");
  refuse("transpose", in_place, "which are not there, or not as long");
  refuse(
      "transpose", [](const Signature&, const Shape&, Structure& out) { out.same(0, 0, 0, 2); },
      "depends on entry");
  refuse(
      "sum", [](const Signature&, const Shape&, Structure& out) { out.same(0, 0, 0, 2); },
      "which are not there");
  refuse(
      "sum", [](const Signature&, const Shape&, Structure& out) { out.same(0, 1, 0, 2); }, "depends on entry",
      1);
}

TEST_CASE("check_structure: finds wrong offsets and strides") {
  const auto flatten = [](Index inner_c, Index inner_h, Structure& out) {
    out.literal_axes = {0};
    out.same(0, 0, 0, 2);
    out.links.push_back({0, {1, 0, 3}, {1, 0, 12, inner_c}, 3});
    out.links.push_back({0, {2, 0, 2}, {1, 0, 12, inner_h}, 2});
  };
  static const auto right = flatten;
  CHECK(with_rule(
            "reshape", [](const Signature&, const Shape&, Structure& out) { right(4, 2, out); },
            cases_of("reshape")[2])
            .ok);
  refuse(
      "reshape", [](const Signature&, const Shape&, Structure& out) { right(4, 1, out); }, "depends on entry",
      2);
  refuse(
      "reshape", [](const Signature&, const Shape&, Structure& out) { right(1, 2, out); }, "depends on entry",
      2);
  refuse(
      "concat",
      [](const Signature& s, const Shape& y, Structure& out) {
        out.links.push_back({0, {0, 0, s[0][0]}, {0, 0, s[0][0]}, s[0][0]});
        out.links.push_back({1, {0, 0, s[1][0]}, {0, s[0][0] - 1, y[0] - 1}, s[1][0]});
      },
      "depends on entry");
  // An example whose slice is [1, 4) of the first axis.
  refuse(
      "slice",
      [](const Signature&, const Shape&, Structure& out) {
        out.links.push_back({0, {0, 1, 4}, {0, 0, 3}, 3});
      },
      "takes other attributes");
  refuse(
      "slice",
      [](const Signature&, const Shape&, Structure& out) {
        out.links.push_back({0, {0, 2, 5}, {0, 0, 3}, 3});
        out.literal_axes = {0};
      },
      "depends on entry");
}

TEST_CASE("check_structure: finds contractions and sums that are none") {
  const Rule rows = [](const Signature& s, const Shape&, Structure& out) { out.same(0, 0, 0, s[0][0]); };
  CHECK(with_rule("affine", rows, cases_of("affine")[0]).ok);
  refuse(
      "affine",
      [](const Signature& s, const Shape&, Structure& out) {
        out.same(0, 0, 0, s[0][0]);
        out.contract(0, 1, 1, 0);
      },
      "which are not there, or not as long");
  refuse(
      "matmul", [](const Signature&, const Shape&, Structure& out) { out.contract(0, 1, 1, 0); },
      "which are not there, or not as long", 1);
  // As long as the right ones: of square matrices, read transposed.
  const Record& product = *Op<double>::find("matmul");
  Attributes transposed = default_attributes(product);
  set_attribute(product, transposed, "transpose_b", true);
  const StructureReport crossed =
      with_rule("matmul", [](const Signature&, const Shape&, Structure& out) { out.contract(0, 1, 1, 0); },
                {{numbers({4, 4}), numbers({4, 4}, 2)}, transposed});
  CHECK(crossed.where.find("the result depends on what it is multiplied with") != std::string::npos);
  const Rule plain = [](const Signature& s, const Shape&, Structure& out) {
    out.reduce(0, s[0].rank() == 1 ? 0 : 1, Reduce::sum);
  };
  refuse("mean", plain, "cutting it changes the result", 1);
  refuse("logsumexp", plain, "cutting it changes the result", 1);
  refuse("softmax", plain, "cutting it changes the result");
  CHECK(with_rule("sum", plain, cases_of("sum")[1]).ok);
  CHECK(with_rule(
            "sum", [](const Signature&, const Shape&, Structure&) {}, cases_of("sum")[1])
            .ok);  // states little
  refuse(
      "add", [](const Signature&, const Shape&, Structure& out) { out.contract(0, 1, 1, 1); },
      "depends on what it is multiplied with");
}

TEST_CASE("check_structure: finds what follows no place") {
  // Each entry depends on its own place alone, and on which place that is.
  const Op<double> ramp(Record{
      .name = "ramp",
      .arity = 1,
      .shape = [](const Signature& s) { return s[0]; },
      .forward =
          [](const Forward<double>& f) {
            for (Index i = 0; i < f.output().size(); ++i)
              f.output()[i] = f.input(0)[i] * static_cast<double>(i + 1);
          },
      .no_derivative = true,
      .structure = [](const Signature& s, const Shape&, Structure& out) { out.same(0, 0, 0, s[0][0]); }});
  CHECK(check_structure(ramp, {{numbers({4})}})
            .where.find("permuting axis 0 of input 0, axis 0 of the output") == 0);
  // Each entry follows its place, and the number of places counts.
  const Op<double> share(Record{
      .name = "share",
      .arity = 1,
      .shape = [](const Signature& s) { return s[0]; },
      .forward =
          [](const Forward<double>& f) {
            f.output().vector() = f.input(0).vector() / static_cast<double>(f.output().size());
          },
      .no_derivative = true,
      .structure = [](const Signature& s, const Shape&, Structure& out) { out.same(0, 0, 0, s[0][0]); }});
  CHECK(check_structure(share, {{numbers({4})}}).where.find("cutting class 0 of") == 0);
}

TEST_CASE("check_structure: finds wrong zeros, biases, random numbers and entries") {
  const Rule zeros = [](const Signature& s, const Shape&, Structure& out) {
    for (Index i = 0; i < s.inputs(); ++i) out.preserve_zero(i);
  };
  refuse("exp", zeros, "is zero, and the result is not", 1);
  refuse("add", zeros, "is zero, and the result is not");
  refuse("affine", zeros, "is zero, and the result is not");
  CHECK(with_rule("mul", zeros, cases_of("mul")[0]).ok);
  refuse("concat", zeros, "is zero, and the result is not");
  const Rule wrong_bias = [](const Signature&, const Shape&, Structure& out) {
    out.contract(0, 1, 1, 1);
    out.add_bias(0, 1);
  };
  refuse("affine", wrong_bias, "input 0 is no bias");
  refuse(
      "dropout", [](const Signature&, const Shape&, Structure& out) { out.same(0, 0, 0, 5); },
      "not said to be random");
  refuse(
      "relu",
      [](const Signature& s, const Shape&, Structure& out) {
        out.same(0, 0, 0, s[0][0]);
        out.elementwise = true;
      },
      "said to be elementwise, and axis 1 of input 0 is not linked", 1);
}

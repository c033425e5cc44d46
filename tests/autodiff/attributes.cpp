#include <taper/autodiff/attributes.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <map>
#include <sstream>
#include <string>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/autodiff/difference.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/print.hpp>

#include "../check.hpp"

using namespace taper;

namespace {

using Record = OpRecord<double>;

enum class Padding { zero, edge };

struct WindowAttributes {
  Index width = 3;
  double decay = 0.5;
  bool causal = false;
  Padding padding = Padding::zero;
  const void* table = nullptr;
};

struct OtherAttributes {
  IndexList sizes;
};

constexpr std::string_view paddings[] = {"zero", "edge"};

/// Gives back its input, whatever the settings.
Record window(AttributeFields fields) {
  return {.name = "window",
          .arity = 1,
          .shape = [](const Signature& s) { return s[0]; },
          .forward = [](const Forward<double>& f) { f.output().vector() = f.input(0).vector(); },
          .no_derivative = true,
          .attributes = std::move(fields)};
}

AttributeFields window_fields() {
  return attribute_fields<WindowAttributes>({{"width", &WindowAttributes::width},
                                             {"decay", &WindowAttributes::decay},
                                             {"causal", &WindowAttributes::causal},
                                             {"padding", &WindowAttributes::padding, paddings},
                                             {"table", &WindowAttributes::table}});
}

std::string text(const AttributeValue& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

std::string listed(const Record& op, const Attributes& attributes) {
  std::ostringstream out;
  for_attributes(op, attributes, [&](std::string_view name, const AttributeValue& value) {
    out << name << '=' << value << ' ';
  });
  return out.str();
}

}  // namespace

TEST_CASE("attributes: read by name, set by name, in the order of the record") {
  const Record op = window(window_fields());
  Attributes settings = default_attributes(op);
  CHECK(listed(op, settings).find("width=3 decay=0.5 causal=false padding=zero table=") == 0);
  set_attribute(op, settings, "width", Index{5});
  set_attribute(op, settings, "decay", Index{2});  // a whole number is a number
  set_attribute(op, settings, "causal", true);
  set_attribute(op, settings, "padding", std::string_view("edge"));
  set_attribute(op, settings, "table", static_cast<const void*>(&op));
  const auto made = as<WindowAttributes>(settings);
  CHECK(made.width == 5);
  CHECK(made.decay == 2);
  CHECK(made.causal);
  CHECK((made.padding == Padding::edge));
  CHECK(made.table == &op);
}

TEST_CASE("attributes: unknown names, other types and unknown words are refused, and nothing changes") {
  const Record op = window(window_fields());
  Attributes settings = default_attributes(op);
  CHECK_ERROR(set_attribute(op, settings, "with", Index{5}),
              "[window] a setting 'with': expected width, decay, causal, padding, table");
  CHECK_ERROR(set_attribute(op, settings, "width", 2.5), "[window] width = 2.5: expected a whole number");
  CHECK_ERROR(set_attribute(op, settings, "width", true), "[window] width = true: expected a whole number");
  CHECK_ERROR(set_attribute(op, settings, "decay", std::string_view("much")),
              "decay = much: expected a number");
  CHECK_ERROR(set_attribute(op, settings, "causal", Index{1}), "causal = 1: expected true or false");
  CHECK_ERROR(set_attribute(op, settings, "padding", Index{1}), "padding = 1: expected zero, edge");
  CHECK_ERROR(set_attribute(op, settings, "padding", std::string_view("wrap")),
              "padding = wrap: expected zero, edge");
  CHECK_ERROR(set_attribute(op, settings, "table", IndexList{1, 2}), "table = [1, 2]: expected a pointer");
  Attributes other = OtherAttributes{}, none;
  CHECK_ERROR(set_attribute(op, other, "width", Index{5}), "[window] settings of another operation");
  CHECK_ERROR(set_attribute(op, none, "width", Index{5}), "[window] settings of another operation");
  CHECK_ERROR(set_attribute(window({}), none, "width", Index{5}), "a setting 'width': expected none");
  CHECK(op.attributes.same(settings, default_attributes(op)));
}

TEST_CASE("attributes: read as another struct, or recorded with another operation's, is an Error") {
  CHECK_ERROR(as<OtherAttributes>(WindowAttributes{}), "[attributes]", "read as another");
  CHECK_ERROR(as<OtherAttributes>(Attributes{}), "[attributes]", "read as another");
  const Op<double> op(window(window_fields()));
  Tape<double> tape;
  const auto x = tape.constant(1.0);
  CHECK(apply(op, {x}, WindowAttributes{}).item() == 1);
  CHECK_ERROR(apply(op, {x}, OtherAttributes{}), "[window] settings of another operation, or none");
  CHECK_ERROR(apply(op, {x}), "[window] settings of another operation, or none");
  CHECK_ERROR(apply(*Op<double>::find("add"), {x, x}, OtherAttributes{}), "[add] settings of another");
  CHECK(tape.nodes().size() == 2);
}

TEST_CASE("attributes: two fields of one name are refused with the record") {
  CHECK_ERROR(Op<double>{window(attribute_fields<WindowAttributes>(
                  {{"width", &WindowAttributes::width}, {"width", &WindowAttributes::decay}}))},
              "[window] a record with two settings 'width'");
}

TEST_CASE("attributes: printed with the fewest digits that give them back") {
  CHECK(text(Index{-7}) == "-7");
  CHECK(text(0.1) == "0.1");
  CHECK(text(0.1 + 0.2) == "0.30000000000000004");
  CHECK(text(1e-300) == "1e-300");
  CHECK(text(-std::numeric_limits<double>::infinity()) == "-inf");
  CHECK(text(IndexList{}) == "[]");
  CHECK(text(IndexList{2, -1}) == "[2, -1]");
  CHECK_ERROR((IndexList{1, 2, 3, 4, 5}), "5 numbers: expected at most 4");
  Tape<double> tape;
  Tape<float> floats;
  const auto x = tape.input({2, 6});
  slice(x, 1, 2, 5);
  reshape(x, {-1, 4});
  affine(x, x, Activation::relu);
  leaky_relu(floats.input({1}), 0.1f);
  std::ostringstream out;
  out << tape << floats;
  CHECK(out.str() ==
        "%0 = constant  2x6  input\n%1 = slice(%0, axis=1, begin=2, end=5)  2x3\n"
        "%2 = reshape(%0, dimensions=[-1, 4])  3x4\n%3 = affine(%0, %0, activation=relu)  2x2\n"
        "%0 = constant  1  input\n%1 = leaky_relu(%0, slope=0.1)  1\n");
}

TEST_CASE("attributes: the listed fields are compared, bit by bit") {
  const Record op = window(window_fields());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto same = [&](const WindowAttributes& a, const WindowAttributes& b) {
    return op.attributes.same(a, b);
  };
  CHECK(same({}, {}));
  CHECK(same({.decay = nan}, {.decay = nan}));
  CHECK(!same({.decay = 0.0}, {.decay = -0.0}));
  CHECK(!same({.width = 4}, {}));
  CHECK(!same({.causal = true}, {}));
  CHECK(!same({.padding = Padding::edge}, {}));
  CHECK(!same({.table = &op}, {}));
}

TEST_CASE("registry: the settings of every example can be taken apart and put together again by name") {
  std::map<std::string, int> seen;
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    Rng rng(1);
    for (const auto& example : op->gradcheck_cases(rng)) {
      Attributes copy = default_attributes(*op);
      for_attributes(*op, example.attributes, [&](std::string_view name, const AttributeValue& value) {
        ++seen[std::string(name)];
        set_attribute(*op, copy, name, value);
      });
      CHECK(op->attributes.same(copy, example.attributes));
      CHECK(op->attributes.fit(copy));
    }
    CHECK(op->attributes.fit(default_attributes(*Op<float>::find(op->name))));  // of both scalars the same
  }
  CHECK(seen.size() == 51);
}

TEST_CASE("attributes: what no function of the library records is refused where it is recorded") {
  Tape<double> tape;
  const auto x = tape.input({2, 6});
  const auto record = [&](const char* name,
                          std::initializer_list<std::pair<std::string_view, AttributeValue>> settings) {
    const Op<double>& op = *Op<double>::find(name);
    Attributes attributes = default_attributes(op);
    for (const auto& [setting, value] : settings) set_attribute(op, attributes, setting, value);
    return op.arity.includes(1) ? apply(op, {x}, attributes) : apply(op, {x, x}, attributes);
  };
  const Index far = Index{1} << 62;
  for (const Index axis : {Index{-1}, Index{2}, far}) {
    for (const char* name : {"sum", "mean", "max", "min", "logsumexp", "var"}) {
      CHECK_ERROR(record(name, {{"axes", IndexList{axis}}}), std::string("[") + name + "] axis",
                  "expected 0 <= axis < 2");
    }
    for (const char* name : {"softmax", "log_softmax", "slice", "concat"}) {
      CHECK_ERROR(record(name, {{"axis", axis}}), std::string("[") + name + "] axis",
                  "expected 0 <= axis < 2");
    }
    CHECK_ERROR(record("transpose", {{"first", axis}}), "[transpose] axis");
    CHECK_ERROR(record("transpose", {{"second", axis}}), "[transpose] axis");
  }
  CHECK_ERROR(record("transpose", {{"first", Index{1}}}), "[transpose] axes 1 and 0");
  CHECK_ERROR(record("sum", {{"axes", IndexList{1, 0}}}), "[sum] axes 1 and 0: expected neighbours");
  CHECK_ERROR(record("sum", {{"axes", IndexList{0, 0}}}), "[sum] axes 0 and 0: expected neighbours");
  CHECK_ERROR(record("expand", {{"dimensions", IndexList{2, far}}}), "[expand]");
  CHECK_ERROR(record("expand", {{"dimensions", IndexList{far, 2, 6}}}), "too many entries");
  CHECK_ERROR(record("layer_norm", {{"axes", far}}), "[layer_norm]");
  CHECK_ERROR(record("slice", {{"begin", -far}}), "[slice]");
  CHECK_ERROR(record("slice", {{"end", far}}), "[slice]");
  CHECK_ERROR(record("reshape", {{"dimensions", IndexList{-2}}}), "expected");
  CHECK_ERROR(record("reshape", {{"dimensions", IndexList{far, far, -1}}}), "[reshape] too many entries");
  CHECK_ERROR(record("reshape", {{"dimensions", IndexList{0, -1}}}), "[reshape]");
  CHECK_ERROR(record("clamp", {{"low", 1.0}}), "[clamp] bounds");
  CHECK_ERROR(record("dropout", {{"probability", 1.0}}), "[dropout] probability");
  CHECK_ERROR(record("huber_loss", {{"delta", Index{0}}}), "[huber_loss] delta");
  CHECK(tape.nodes().size() == 1);
}

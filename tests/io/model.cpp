#include <taper/io/model.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include <taper/data/file.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/load.hpp>
#include <taper/io/save.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/attention.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "../data/files.hpp"
#include "../nn/random_net.hpp"

using namespace taper;

namespace {

using JsonText = nlohmann::ordered_json;

/// What a model computes, in one mode.
template <class T>
std::vector<Tensor<T>> computed(const nn::Module<T>& model, const std::vector<Tensor<T>>& inputs, Mode mode) {
  Tape<T> tape(mode);
  std::vector<Var<T>> given;
  for (const Tensor<T>& x : inputs) given.push_back(tape.constant(x));
  std::vector<Var<T>> made = model.record(given);
  tape.replay(1);
  std::vector<Tensor<T>> result;
  for (const Var<T>& y : made) result.emplace_back(y.value());
  return result;
}

/// Whether two models compute the same bits in both modes, for several numbers of rows.
template <class T>
bool compute_the_same(const nn::Module<T>& a, const nn::Module<T>& b, const std::vector<Shape>& shapes) {
  for (const Index rows : {1, 2, 7}) {
    std::vector<Tensor<T>> inputs;
    for (const Shape& shape : shapes) inputs.push_back(normal_tensor<T>(shape.with(0, rows), 9));
    for (const Mode mode : {Mode::evaluation, Mode::training}) {
      const auto first = computed(a, inputs, mode), second = computed(b, inputs, mode);
      if (first.size() != second.size()) return false;
      for (std::size_t k = 0; k < first.size(); ++k) {
        if (!same_bits(first[k].view(), second[k].view())) return false;
      }
    }
  }
  return true;
}

/// All elements of parameters, factors and buffers, with what is held.
template <class T> std::string elements_of(const nn::Module<T>& model) {
  std::string bytes;
  const auto add = [&](const std::string& name, View<const T> value) {
    bytes += name + ' ' + value.shape().str() + ' ';
    bytes.append(reinterpret_cast<const char*>(value.data()),
                 static_cast<std::size_t>(value.size()) * sizeof(T));
  };
  model.for_parameters([&](const std::string& name, const nn::Parameter<T>& parameter) {
    parameter.for_leaves(name, [&](const std::string& path, const nn::Parameter<T>& leaf) {
      add(path, leaf.value());
      for (Index i = 0; i < leaf.shape().size(); ++i) bytes += leaf.mask().is_free(i) ? 'f' : 'h';
    });
  });
  model.for_buffers([&](const std::string& name, const nn::Buffer<T>& buffer) { add(name, buffer.value()); });
  return bytes;
}

/// The bytes of the file of a graph.
template <class T> std::string bytes_of_model(const nn::Graph<T>& graph) {
  const TempFile file("");
  io::save_model(graph, file.path());
  return data::read_bytes(file.path(), "test");
}

template <class T> nn::Graph<T> loaded_again(const nn::Graph<T>& graph) {
  return io::load_model<T>(io::Archive(bytes_of_model(graph), "file"));
}

JsonText header_of(const std::string& bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  return JsonText::parse(bytes.substr(8, length));
}

/// The same file with another architecture.
std::string with_architecture(const std::string& bytes, const std::string& text) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  JsonText header = header_of(bytes);
  header["__metadata__"][io::architecture_key] = text;
  const std::string written = header.dump();
  const std::uint64_t size = written.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + written + bytes.substr(8 + length);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != text.npos);
  return text.replace(at, from.size(), to);
}

/// A running mean, a constant in the code, dropout, factors of all kinds, masks, an input named like one.
struct AllSorts : nn::Layer<double> {
  nn::Buffer<double> running{Shape{4}};
  nn::Linear<double> in{4, 6}, middle{6, 6}, out{6, 2};
  nn::Parameter<double> input0{Shape{6}}, mixture{Shape{6}};
  AllSorts() {
    running = Tensor<double>({4}, {0.1, -0.2, 0.3, 1e-8}).view();
    std::ranges::fill(input0.value(), 0.5);
    for (double& p : mixture.value()) p = 1.0 / 6;
    mixture.parametrize(std::make_shared<nn::Simplex<double>>());
    in.weight.parametrize(
        std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs, 3, std::vector<double>{1, 0.1, 3, 1e-8}));
    middle.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::outputs));
    middle.weight.factors()[0].value()[3] = 0.25;
    out.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::elements, 2));
    out.weight.prune(Mask::frozen(out.weight.shape(), {1, 5}));
    in.bias->freeze(Mask::frozen(Shape{6}, {2}));
  }
  void visit(nn::Visitor<double>& v) const override {
    v("running", running), v("in", in), v("middle", middle), v("out", out);
    v("input0", input0), v("mixture", mixture);
  }
  Var<double> forward(Var<double> x) const override {
    Tape<double>& tape = x.tape();
    Var<double> centred = x - running.bind(tape);
    if (tape.training()) running.assign_later(tape, running.bind(tape) * 0.9 + mean(x, 0) * 0.1);
    centred = reshape(centred, {x.shape()[0], 2, 2});
    const Var<double> h = tanh(in(reshape(centred * 2.0, {-1, 4}))) * input0.bind(tape);
    const Var<double> mixed = leaky_relu(middle(h), 0.1) * mixture.bind(tape);
    const Var<double> y = clamp(mixed, -std::numeric_limits<double>::infinity(), 1e300);
    return out(tape.training() ? dropout(y, 0.5) : y);
  }
};

/// A small net as a graph.
nn::Graph<double> small_graph() {
  manual_seed(4);
  const nn::Sequential<double> net(nn::Linear<double>(3, 2), nn::LeakyReLU<double>(0.25),
                                   nn::Dropout<double>(0.5));
  return nn::Graph<double>::trace(net, {{1, 3}});
}

}  // namespace

TEST_CASE_TEMPLATE("save_model: 500 random networks compute the same bits again", T, float, double) {
  const TempFile file("");
  for (int round = 0; round < 250; ++round) {
    CAPTURE(round);
    const RandomNet<T> net = RandomNetBuilder<T>(static_cast<std::uint64_t>(round)).build();
    std::vector<Shape> shapes;
    for (const Index width : net.inputs) shapes.push_back({1, width});
    io::save_model(net, shapes, file.path());
    const nn::Graph<T> graph = io::load_model<T>(file.path());
    CHECK(compute_the_same<T>(graph, net, shapes));
    CHECK(elements_of(graph) == elements_of(net));
    CHECK(difference(graph, nn::Graph<T>::trace(net, shapes)).empty());
    if (round % 10 != 0) continue;
    // Also as numbers alone, and compared on the way.
    RandomNet<T> other = RandomNetBuilder<T>(static_cast<std::uint64_t>(round)).build();
    other.for_parameters([](const std::string&, nn::Parameter<T>& p) { std::ranges::fill(p.value(), T(2)); });
    CHECK(io::load(other, file.path()).same_architecture);
    CHECK(elements_of(other) == elements_of(net));
  }
}

TEST_CASE(
    "save_model: factors, masks, running statistics, constants and dropout, before and after training") {
  manual_seed(1);
  const AllSorts model;
  nn::Graph<double> traced = nn::Graph<double>::trace(model, {{1, 4}});
  const std::string bytes = bytes_of_model(traced);
  nn::Graph<double> graph = io::load_model<double>(io::Archive(bytes, "file"));
  CHECK(difference(graph, traced).empty());
  CHECK(elements_of(graph) == elements_of(traced));
  CHECK(compute_the_same<double>(graph, model, {{1, 4}}));
  CHECK(bytes_of_model(graph) == bytes);
  CHECK(io::scalar_of_model(io::Archive(bytes, "file")) == "F64");

  const data::Dataset<double> set{
      normal_tensor<double>({40, 4}, 3), normal_tensor<double>({40, 2}, 4), {}, {}};
  for (nn::Graph<double>* one : {&graph, &traced}) {
    manual_seed(5);
    train::fit(*one, set, nn::mse_loss, optim::Adam<double>(one->parameters(), {.lr = 1e-2}),
               {.epochs = 5, .batch_size = 16, .progress = train::Progress::quiet});
  }
  CHECK(elements_of(graph) == elements_of(traced));
  CHECK(bytes_of_model(graph) == bytes_of_model(traced));
  CHECK(bytes_of_model(graph) != bytes);
  // The penalty of the factors is that of their weights of groups.
  const auto& product =
      dynamic_cast<const nn::Hadamard<double>&>(*graph.parts().parameters[0].second.parametrization());
  CHECK(product.groups() == nn::Groups::inputs);
  CHECK(product.depth() == 3);
  CHECK(product.weight(3) == 1e-8);
}

TEST_CASE("save_model: every operation there is, with the settings of all its cases") {
  using Graph = nn::Graph<double>;
  using Kind = Graph::Value::Kind;
  int graphs = 0;
  for (const Op<double>* op : Op<double>::registry()) {
    CAPTURE(op->name);
    Rng rng(3);
    for (const GradcheckCase& sample : op->gradcheck_cases(rng)) {
      Graph::Parts parts;
      parts.inputs = {{1, 1}};
      Graph::Instruction instruction{op, {}, sample.attributes, "some.layer"};
      for (const Tensor<double>& input : sample.inputs) {
        const auto index = static_cast<Index>(parts.buffers.size());
        parts.buffers.emplace_back("b" + std::to_string(index), nn::Buffer<double>(input));
        instruction.inputs.push_back({Kind::buffer, index});
      }
      parts.evaluation.instructions.push_back(instruction);
      parts.evaluation.outputs = {{Kind::result, 0}, {Kind::input, 0}};
      parts.training = parts.evaluation;
      const Graph graph(std::move(parts)), again = loaded_again(graph);
      CHECK(difference(graph, again).empty());
      CHECK(compute_the_same<double>(graph, again, {{1, 1}}));
      ++graphs;
    }
  }
  CHECK(graphs > 60);
}

TEST_CASE_TEMPLATE("save_model: attention, to itself and to something else", T, float, double) {
  const TempFile file("");
  const std::string path = file.path().string();
  manual_seed(3);
  nn::Sequential<T> chain(nn::Linear(3, 8), nn::MultiheadAttention(8, 4, {.dropout = 0.2, .causal = true}));
  io::save_model(chain, {{1, 5, 3}}, path);
  CHECK(compute_the_same(chain, io::load_model<T>(path), {{1, 5, 3}}));
  const nn::MultiheadAttention<T> other(8, 2, {.kdim = 3});
  const std::vector<Shape> inputs{{1, 5, 8}, {1, 4, 3}, {1, 4, 8}, {1, 4}};
  io::save_model(other, inputs, path);
  CHECK(compute_the_same(other, io::load_model<T>(path), inputs));
  const io::Archive archive(path);
  CHECK(archive.contains("q_proj_weight"));
  CHECK(archive.contains("out_proj.bias"));
}

TEST_CASE("save_model: settings at the ends of what there is") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double low : {-infinity, -0.0, 5e-324, 0.1 + 0.2, -1e308, infinity}) {
    CAPTURE(low);
    struct Clamp : nn::Layer<double> {
      double low;
      explicit Clamp(double l) : low(l) {}
      Var<double> forward(Var<double> x) const override { return clamp(x, low, infinity); }
    };
    const auto graph = nn::Graph<double>::trace(Clamp(low), {{1, 3}});
    CHECK(difference(graph, loaded_again(graph)).empty());
    CHECK(compute_the_same<double>(graph, loaded_again(graph), {{1, 3}}));
  }
}

TEST_CASE("save_model: the tensors are those of save, and metadata may be added") {
  const nn::Graph<double> graph = small_graph();
  const TempFile plain(""), file("");
  io::save(graph, plain.path());
  io::save_model(graph, file.path(), {{"note", "from a test"}});
  const std::string numbers = data::read_bytes(plain.path(), "test"),
                    bytes = data::read_bytes(file.path(), "test");
  JsonText header = header_of(bytes), expected = header_of(numbers);
  CHECK(header["__metadata__"]["note"] == "from a test");
  CHECK(header["__metadata__"]["format"] == "taper");
  const JsonText architecture = JsonText::parse(header["__metadata__"]["taper.model"].get<std::string>());
  CHECK(architecture["version"] == 1);
  CHECK(architecture["scalar"] == "F64");
  CHECK(architecture["inputs"] == JsonText::parse(R"([{"name": "input0", "shape": [3]}])"));
  CHECK(architecture["evaluation"]["instructions"][1] ==
        JsonText::parse(
            R"({"operation": "leaky_relu", "inputs": ["%0"], "settings": {"slope": 0.25}, "layer": "1"})"));
  CHECK(architecture["training"]["outputs"] == JsonText::parse(R"(["%2"])"));
  header.erase("__metadata__"), expected.erase("__metadata__");
  CHECK(header == expected);
  // Metadata of another model's file do not bring its architecture along.
  const auto metadata = io::Archive(file.path()).metadata();
  CHECK_ERROR(io::save(nn::Linear<double>(3, 2), plain.path(), metadata),
              "[save] metadata with \"taper.model\": expected none");
  CHECK(data::read_bytes(plain.path(), "test") == numbers);
  io::save_model(nn::Linear<double>(3, 2), {{1, 3}}, file.path(), metadata);
  CHECK(io::load_model<double>(file.path()).parts().evaluation.instructions.size() == 1);
  CHECK(io::Archive(file.path()).metadata().at("note") == "from a test");
  CHECK(bytes.ends_with(numbers.substr(numbers.size() - 8 * 8)));
  // The same in training: said once.
  const nn::Linear<double> linear(3, 2);
  const std::string once = bytes_of_model(nn::Graph<double>::trace(linear, {{1, 3}}));
  CHECK(once.find(R"(\"training\":\"evaluation\")") != once.npos);
}

TEST_CASE("load_model: another scalar on request") {
  const RandomNet<float> net = RandomNetBuilder<float>(11).build();
  std::vector<Shape> shapes;
  for (const Index width : net.inputs) shapes.push_back({1, width});
  const TempFile file("");
  io::save_model(net, shapes, file.path());
  CHECK(io::scalar_of_model(io::Archive(file.path())) == "F32");
  CHECK_ERROR(io::load_model<double>(file.path()), "has a model of F32: expected F64, or `convert`");
  const auto wide = io::load_model<double>(file.path(), {.convert = true});
  std::vector<Tensor<double>> x;
  std::vector<Tensor<float>> narrow;
  for (const Shape& shape : shapes) {
    narrow.push_back(normal_tensor<float>(shape.with(0, 5)));
    x.emplace_back(narrow.back().shape());
    std::ranges::copy(narrow.back(), x.back().begin());
  }
  const auto exact = computed<double>(wide, x, Mode::evaluation);
  const auto rounded = computed<float>(net, narrow, Mode::evaluation);
  for (std::size_t k = 0; k < exact.size(); ++k) CHECK(apart(rounded[k].view(), exact[k].view()) < 1e-4);
}

TEST_CASE("save_model: what has no form in a file is refused, and the old file stays") {
  struct Odd : nn::Parametrization<double> {
    std::vector<std::string> factor_names() const override { return {"half"}; }
    std::vector<Tensor<double>> decompose(View<const double> value) const override {
      Tensor<double> half(value);
      for (double& entry : half) entry /= 2;
      return {half};
    }
    Var<double> compute(std::span<const Var<double>> f) const override { return f[0] * 2.0; }
  };
  struct Derived : nn::Hadamard<double> {
    using Hadamard::Hadamard;
  };
  const TempFile file("precious");
  nn::Linear<double> odd(3, 2), derived(3, 2), nested(3, 2);
  odd.weight.parametrize(std::make_shared<Odd>());
  derived.weight.parametrize(std::make_shared<Derived>(nn::Groups::inputs));
  nested.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs));
  nested.weight.factors()[0].parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs));
  CHECK_ERROR(io::save_model(odd, {{1, 3}}, file.path()), "[save] a parametrization of \"weight\"",
              "expected Hadamard or Simplex, or the parameter collapsed");
  CHECK_ERROR(io::save_model(derived, {{1, 3}}, file.path()), "[save] a parametrization of \"weight\"");
  CHECK_ERROR(io::save_model(nested, {{1, 3}}, file.path()), "\"weight\", whose factors have factors");

  struct Table {
    const void* table = nullptr;
  };
  const Op<double> lookup(OpRecord<double>{
      .name = "lookup",
      .arity = 1,
      .shape = [](const Signature& s) { return s[0]; },
      .forward = [](const Forward<double>& f) { std::ranges::copy(f.input(0), f.output().begin()); },
      .no_derivative = true,
      .attributes = attribute_fields<Table>({{"table", &Table::table}})});
  struct Looks : nn::Layer<double> {
    const Op<double>* op = nullptr;
    Var<double> forward(Var<double> x) const override { return apply(*op, {x}, Table{this}); }
  } looks;
  looks.op = &lookup;
  CHECK_ERROR(io::save_model(looks, {{1, 3}}, file.path()),
              "[save] the setting \"table\" of lookup, a pointer");

  struct Named : nn::Layer<double> {
    nn::Parameter<double> p{Shape{3}};
    std::string name;
    void visit(nn::Visitor<double>& v) const override { v(name, p); }
    Var<double> forward(Var<double> x) const override { return x * p.bind(x.tape()); }
  } named;
  named.name = "%0";
  CHECK_ERROR(io::save_model(named, {{1, 3}}, file.path()), "a part named \"%0\": expected no name");
  named.name = "caf\xe9";
  CHECK_ERROR(io::save_model(named, {{1, 3}}, file.path()), "UTF-8");
  CHECK(data::read_bytes(file.path(), "test") == "precious");

  // An operation of the program's own is known while it is there.
  const Op<double>* const own = Op<double>::find("lookup");
  CHECK(own == &lookup);
}

TEST_CASE("load_model: operations of a program's own, while their records are there") {
  const OpRecord<double> record{.name = "cubed",
                                .arity = 1,
                                .shape = [](const Signature& s) { return s[0]; },
                                .forward =
                                    [](const Forward<double>& f) {
                                      for (Index i = 0; i < f.output().size(); ++i)
                                        f.output()[i] = std::pow(f.input(0)[i], 3);
                                    },
                                .no_derivative = true};
  std::string bytes;
  {
    const Op<double> cubed(record);
    struct Cubes : nn::Layer<double> {
      const Op<double>* op = nullptr;
      Var<double> forward(Var<double> x) const override { return apply(*op, {x}); }
    } cubes;
    cubes.op = &cubed;
    const auto graph = nn::Graph<double>::trace(cubes, {{1, 2}});
    bytes = bytes_of_model(graph);
    CHECK(compute_the_same<double>(graph, io::load_model<double>(io::Archive(bytes, "file")), {{1, 2}}));
  }
  CHECK_ERROR(io::load_model<double>(io::Archive(bytes, "file")),
              "[load] file has a model of operations that are not known: \"cubed\": expected those of this");
}

TEST_CASE("load_model: an architecture of another version, of unknown operations, or damaged") {
  const nn::Graph<double> graph = small_graph();
  const std::string bytes = bytes_of_model(graph), good = io::architecture_of(graph);
  const auto load = [&](const std::string& text) {
    return io::load_model<double>(io::Archive(with_architecture(bytes, text), "file"));
  };
  CHECK(difference(load(good), graph).empty());
  struct Case {
    const char *from, *to;
    std::vector<std::string> words;
  };
  const std::vector<Case> cases{
      {R"("version":1)",
       R"("version":2)",
       {"[load] file has an architecture of version 2, which a later Taper has written: expected 1 at most"}},
      {R"("version":1)", R"("version":2,"anything":[[[{}]]])", {"of version 2, which a later Taper"}},
      {R"("version":1)", R"("version":0)", {"of version 0"}},
      {R"("version":1)", R"("version":"1")", {"whose version is no whole number in range"}},
      {R"("version":1)", R"("version":99999999999999999999)", {"whose version is no whole number"}},
      {R"("version":1)", R"("version":1e999)", {"that is no valid JSON"}},
      {R"("version":1,)", "", {R"(that lacks "version")"}},
      {R"("scalar":"F64")", R"("scalar":"F16")", {R"(with the scalar "F16")"}},
      {R"("scalar":"F64")", R"("scalar":"F32")", {"has a model of F32: expected F64"}},
      {R"("leaky_relu")",
       R"("soft_relu")",
       {R"(has a model of operations that are not known: "soft_relu": expected)"}},
      {R"("slope":0.25)",
       R"("slope":0.25,"steep":1)",
       {R"(has a model of settings that are not known: "steep of leaky_relu")"}},
      {R"("settings":{"slope":0.25},)", "", {R"(lacks the setting "slope" of leaky_relu)"}},
      {R"("slope":0.25)", R"("slope":"steep")", {"[leaky_relu] slope = steep: expected a number"}},
      {R"("slope":0.25)", R"("slope":[1])", {"slope = [1]: expected a number"}},
      {R"("slope":0.25)", R"("slope":[1,2,3,4,5])", {"5 numbers: expected at most 4"}},
      {R"("slope":0.25)", R"("slope":{})", {"a setting that is neither"}},
      {R"("slope":0.25)", R"("slope":null)", {"a setting that is neither"}},
      {R"("probability":0.5)", R"("probability":1.5)", {"that does not fit together, [dropout]"}},
      {R"("activation":"none")", R"("activation":"swish")", {"[affine] activation = swish"}},
      {R"("activation":"none")", R"("activation":0)", {"[affine] activation = 0"}},
      {R"("settings":{"slope":0.25})", R"("settings":[])", {"whose settings are no object"}},
      {R"("layer":"1")", R"("stage":"1")", {R"(that has "stage", which is not known)"}},
      {R"("inputs":["%0"])", R"("inputs":["%1"])", {R"(reads "%1" where there is no such value yet)"}},
      {R"("inputs":["%0"])", R"("inputs":["%-1"])", {R"(reads "%-1" where)"}},
      {R"("inputs":["%0"])", R"("inputs":[0])", {"whose values is no text"}},
      {R"("inputs":["%0"])", R"("inputs":"%0")", {"whose inputs are no list"}},
      {R"("inputs":["%0"])", R"("inputs":[])", {"leaky_relu without inputs"}},
      {R"("inputs":["%0"])", R"("inputs":["%0","%0"])", {"[leaky_relu] 2 inputs: expected 1 input"}},
      {R"("outputs":["%1"])", R"("outputs":["%9"])", {R"(reads "%9")"}},
      {R"("assignments":[])", R"("assignments":[["0.bias","%0"]])", {"an assignment to what is no buffer"}},
      {R"("assignments":[])", R"("assignments":[["%0"]])", {"whose assignments are no pairs"}},
      {R"("assignments":[])", R"("assignments":{})", {"whose assignments are no list"}},
      {R"("shape":[2,3])", R"("shape":[3,2])", {R"(has "0.weight" of shape 2x3: expected 3x2)"}},
      {R"("shape":[2,3])", R"("shape":[2,3,1,1,1])", {"a shape of too many dimensions"}},
      {R"("shape":[2,3])", R"("shape":[-2,3])", {"with a shape that cannot be"}},
      {R"("shape":[2,3])", R"("shape":[4611686018427387904,4])", {"with a shape that cannot be"}},
      {R"("shape":[2,3])", R"("shape":[2,3.5])", {"whose dimension is no whole number"}},
      {R"("shape":[3])", R"("shape":[4])", {"that does not fit together, [affine] input"}},
      {R"("shape":[3])", R"("shape":[1000000000])", {"that does not fit together, [affine] input"}},
      {R"("name":"input0")", R"("name":"0.bias")", {R"(with two parts named "0.bias")"}},
      {R"("name":"0.bias")", R"("name":"0.bia")", {R"(has no tensor "0.bia")"}},
      {R"({"name":"0.bias","shape":[2]})",
       R"({"name":"0.bias","shape":[2]},{"name":"0.bias","shape":[2]})",
       {R"(with two parts named "0.bias")"}},
      {R"("inputs":[{"name":"input0","shape":[3]}])", R"("inputs":[])", {"where there is no such value"}},
      {R"("training":)", R"("training":"the same","more":)", {R"(has "more", which is not known)"}},
      {R"("evaluation":{)", R"("evaluation":"evaluation","more":{)", {R"(has "more")"}},
      {R"({"version":1,)", R"([{"version":1,)", {"that is no JSON object"}},
      {R"({"version":1,)", R"({"version":1,"version":1,)", {R"(that has "version" twice in one object)"}},
      {R"("slope":0.25)", R"("slope":0.25,"slope":0.5)", {R"(that has "slope" twice in one object)"}},
      {R"("version":1,)", R"("version":1;)", {"that is no JSON from byte 13 on"}},
      {R"("layer":"1")", R"("layer":[[[[[[[[[[[[1]]]]]]]]]]]])", {"whose layer is no text"}},
  };
  for (const Case& damage : cases) {
    CAPTURE(damage.to);
    const std::string text = error_text([&] { load(replaced(good, damage.from, damage.to)); });
    CHECK(text.starts_with("[load] file has "));
    for (const std::string& words : damage.words) {
      INFO(words, " in ", text);
      CHECK(text.find(words) != text.npos);
    }
  }
  std::string percent = good;
  for (std::size_t at; (at = percent.find("input0")) != percent.npos;) percent.replace(at, 6, "%0");
  JsonText circle = JsonText::parse(good);
  circle["evaluation"] = circle["training"] = "evaluation";
  CHECK_ERROR(load(circle.dump()), "without an object that has \"instructions\"");
  CHECK_ERROR(load(percent), "with a part named \"%0\"");
  CHECK_ERROR(load(good + '\0'), "that is no JSON object");
  CHECK_ERROR(load("\xef\xbb\xbf" + good), "that is no JSON object");
  CHECK_ERROR(load(""), "that is no JSON object");
  CHECK_ERROR(load(std::string(1 << 20, '{')), "no JSON from byte 2 on");
  std::string deep = R"({"version":)";
  CHECK_ERROR(load(deep + std::string(1 << 20, '[')), "nested deeper than it can be");

  // Many unknown operations are named up to some.
  JsonText many = JsonText::parse(good);
  for (int k = 0; k < 1000; ++k) {
    many["training"]["instructions"].push_back(
        {{"operation", "new" + std::to_string(k)}, {"inputs", {"%0"}}, {"settings", {{"p", 1}}}});
  }
  const std::string text = error_text([&] { load(many.dump()); });
  CHECK(text.find("\"new0\", \"new1\"") != text.npos);
  CHECK(text.find("(1000 in all)") != text.npos);
  CHECK(text.size() < 500);
}

TEST_CASE("load_model: factors that cannot be, and tensors that are not there, take no memory") {
  manual_seed(1);
  nn::Linear<double> linear(3, 2);
  linear.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::outputs));
  const auto graph = nn::Graph<double>::trace(linear, {{1, 3}});
  const std::string bytes = bytes_of_model(graph), good = io::architecture_of(graph);
  const auto load = [&](const std::string& from, const std::string& to) {
    io::load_model<double>(io::Archive(with_architecture(bytes, replaced(good, from, to)), "file"));
  };
  load("\"depth\":2", "\"depth\":2");
  CHECK_ERROR(load("\"depth\":2", "\"depth\":3"), "has no tensor \"weight.v1\"");
  CHECK_ERROR(load("\"depth\":2", "\"depth\":1"), "factors of \"weight\" that cannot be, [factorize]");
  CHECK_ERROR(load("\"depth\":2", "\"depth\":1000000000"), "a product of 1000000000 factors");
  CHECK_ERROR(load("\"outputs\",\"depth\"", "\"inputs\",\"depth\""), "\"weight.v\" of shape 2x1: expected 3");
  CHECK_ERROR(load("\"outputs\",\"depth\"", "\"rows\",\"depth\""), "groups of \"rows\", which are not known");
  CHECK_ERROR(load("\"hadamard\"", "\"kronecker\""), "the parametrization \"kronecker\", which is not known");
  CHECK_ERROR(load("\"hadamard\"", "\"simplex\""), "which is not known");
  CHECK_ERROR(load("\"weights\":[]", "\"weights\":[1]"), "1 weights for a parameter 2x3");
  CHECK_ERROR(load("\"weights\":[]", "\"weights\":[1,-1]"), "a weight -1 of a group");
  CHECK_ERROR(load("\"weights\":[]", "\"weights\":[1,\"1\"]"), "whose weights are no numbers");
  CHECK_ERROR(load("\"shape\":[2,3]", "\"shape\":[1000000000000,0]"), "\"weight.u\" of shape 2x3");
  load("\"weights\":[]", "\"weights\":[1,2.5]");  // another function, which the file says
  // Without factors there is a tensor too many.
  const std::size_t at = good.find(",\"parametrization\"");
  CHECK_ERROR(load(good.substr(at, good.find("]}", at) + 2 - at), ""), "has no tensor \"weight\"");
}

TEST_CASE("load_model: whatever becomes of the text, it is a model or one Error") {
  const AllSorts model;
  const auto graph = nn::Graph<double>::trace(model, {{1, 4}});
  const std::string bytes = bytes_of_model(graph), good = io::architecture_of(graph);
  Rng rng(7);
  int loaded = 0, refused = 0;
  const auto attempt = [&](const std::string& text) {
    const io::Archive archive(with_architecture(bytes, text), "file");
    try {
      const nn::Graph<double> made = io::load_model<double>(archive);
      CHECK(io::architecture_of(made) == io::architecture_of(loaded_again(made)));
      ++loaded;
    } catch (const Error& error) {
      CHECK(std::string_view(error.what()).starts_with("[load] file has "));
      ++refused;
    }
  };
  for (std::size_t length = 0; length < good.size(); length += 97) attempt(good.substr(0, length));
  const std::string digits = "0123456789[]{},:\"%-.e";
  for (int round = 0; round < 100; ++round) {  // one digit becomes another
    std::string text = good;
    std::size_t at = 0;
    do at = static_cast<std::size_t>(rng.below(static_cast<Index>(text.size())));
    while (text[at] < '0' || text[at] > '9');
    text[at] = digits[static_cast<std::size_t>(rng.below(10))];
    attempt(text);
  }
  for (int round = 0; round < 400; ++round) {
    std::string text = good;
    for (Index k = 0, count = 1 + rng.below(3); k < count; ++k) {
      const auto at = static_cast<std::size_t>(rng.below(static_cast<Index>(text.size())));
      const char other = digits[static_cast<std::size_t>(rng.below(static_cast<Index>(digits.size())))];
      if (rng.below(3) == 0) {
        text.erase(at, 1 + static_cast<std::size_t>(rng.below(20)));
      } else {
        text[at] = other;
      }
    }
    attempt(text);
  }
  CHECK(loaded > 5);
  CHECK(refused > 300);
}

TEST_CASE("load: numbers of another architecture are refused, with the first difference") {
  manual_seed(3);
  const auto net = [](auto activation) {
    return nn::Sequential<double>(nn::Linear<double>(3, 4), activation, nn::Linear<double>(4, 1));
  };
  const TempFile file(""), numbers("");
  const auto relu = net(nn::ReLU<double>());
  io::save_model(relu, {{1, 3}}, file.path());
  io::save(relu, numbers.path());
  auto same = net(nn::ReLU<double>()), tanh = net(nn::Tanh<double>());
  CHECK(io::load(same, file.path()).same_architecture);
  const std::string before = elements_of(tanh);
  CHECK_ERROR(io::load(tanh, file.path()),
              "has %1 = relu(%0) where the model has %1 = tanh(%0): expected a model that computes the same");
  CHECK(elements_of(tanh) == before);
  CHECK_FALSE(io::load(tanh, file.path(), {.architecture = false}).same_architecture);
  CHECK(elements_of(tanh) == elements_of(relu));
  CHECK_FALSE(io::load(tanh, numbers.path()).same_architecture);  // as nothing is known
  CHECK_FALSE(io::load(tanh, file.path(), {.partial = true}).same_architecture);

  auto steep = net(nn::LeakyReLU<double>(0.5)), flat = net(nn::LeakyReLU<double>(0.25));
  io::save_model(steep, {{7, 3}}, file.path());
  CHECK_ERROR(io::load(flat, file.path()), "slope=0.5) where the model has %1 = leaky_relu(%0, slope=0.25)");
  // Names of the model's own, dropout in training and the scalar are no difference.
  struct Wrapped : nn::Layer<float> {
    nn::Sequential<float> body{nn::Linear<float>(3, 4), nn::LeakyReLU<float>(0.5f), nn::Dropout<float>(0.1),
                               nn::Linear<float>(4, 1)};
    void visit(nn::Visitor<float>& v) const override { v("body", body); }
    Var<float> forward(Var<float> x) const override { return body(x); }
  } wrapped;
  const io::LoadReport report =
      io::load(wrapped, file.path(), {.convert = true, .rename = {{"0.*", "body.0.*"}, {"2.*", "body.3.*"}}});
  CHECK(report.same_architecture);
  CHECK(report.converted.size() == 4);

  // A parameter that is called like an input is none.
  struct Named : nn::Layer<double> {
    bool is_square;
    nn::Parameter<double> scale{Shape{1, 3}};
    explicit Named(bool square) : is_square(square) {}
    void visit(nn::Visitor<double>& v) const override { v("input0", scale); }
    Var<double> forward(Var<double> x) const override { return x * (is_square ? x : scale.bind(x.tape())); }
  } scaled(false);
  io::save_model(Named(true), {{1, 3}}, file.path());
  CHECK_ERROR(io::load(scaled, file.path()),
              "has %0 = mul(%input0, %input0) where the model has %0 = mul(%input0, input0)");

  // Constants in the code are no tensors of the model, and are compared.
  struct Constants : nn::Layer<double> {
    double factor;
    nn::Buffer<double> running{Shape{3}};
    explicit Constants(double f) : factor(f) {}
    void visit(nn::Visitor<double>& v) const override { v("constant", running); }
    Var<double> forward(Var<double> x) const override {
      Tape<double>& tape = x.tape();
      if (tape.training()) running.assign_later(tape, running.bind(tape) * 0.5 + mean(x, 0) * 0.5);
      return (x - running.bind(tape)) * factor + tape.constant(Tensor<double>({3}, {1, factor, -0.0}));
    }
  } tenth(0.1), fifth(0.2);
  io::save_model(tenth, {{1, 3}}, file.path());
  CHECK(io::Archive(file.path()).contains("constant2"));
  Constants again(0.1);
  const io::LoadReport of_constants = io::load(again, file.path());
  CHECK(of_constants.same_architecture);
  CHECK(of_constants.surplus.empty());
  CHECK_ERROR(
      io::load(fifth, file.path()),
      "has %1 = mul(%0, constant scalar [0.1]) where the model has %1 = mul(%0, constant scalar [0.2])");
  CHECK_FALSE(io::load(fifth, file.path(), {.architecture = false}).same_architecture);
  CHECK(io::load(fifth, file.path(), {.partial = true}).surplus.empty());
  const auto table = [](double last) {  // of many elements
    struct Table : nn::Layer<double> {
      double last;
      explicit Table(double l) : last(l) {}
      Var<double> forward(Var<double> x) const override {
        Tensor<double> all({1, 100});
        all[99] = last;
        return x * x.tape().constant(all);
      }
    };
    return Table(last);
  };
  auto first = table(1), second = table(2);
  const TempFile of_table("");
  io::save_model(first, {{1, 100}}, of_table.path());
  CHECK(io::load(first, of_table.path(), {}).same_architecture);
  CHECK_ERROR(io::load(second, of_table.path()),
              "constant 1x100 [0, 0, 0, 0, 0, 0, 0, 0, ...] with the checksum ");
  struct Narrow : nn::Layer<float> {
    nn::Buffer<float> running{Shape{3}};
    void visit(nn::Visitor<float>& v) const override { v("constant", running); }
    Var<float> forward(Var<float> x) const override {
      Tape<float>& tape = x.tape();
      return (x - running.bind(tape)) * 0.1f + tape.constant(Tensor<float>({3}, {1, 0.1f, -0.0f}));
    }
  } narrow;
  CHECK(io::load(narrow, file.path(), {.convert = true}).same_architecture);
  // In a graph they are tensors.
  nn::Graph<double> graph = nn::Graph<double>::trace(fifth, {{1, 3}});
  CHECK(io::load(graph, file.path()).same_architecture);
  CHECK(elements_of(graph) == elements_of(nn::Graph<double>::trace(tenth, {{1, 3}})));

  // Factors of the same shapes that are tied in another way.
  nn::Linear<double> one(3, 2), other(3, 2);
  one.weight.parametrize(
      std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs, 2, std::vector<double>{1, 2, 3}));
  other.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs));
  io::save_model(one, {{1, 3}}, file.path());
  CHECK_ERROR(io::load(other, file.path()), "has factors of \"weight\" by", "[1.0,2.0,3.0]",
              "where the model has");
  // A graph with an instruction that nothing needs is still the same.
  nn::Graph<double>::Parts parts = nn::Graph<double>::trace(other, {{1, 3}}).parts();
  parts.evaluation.instructions.insert(parts.evaluation.instructions.begin(),
                                       parts.evaluation.instructions[0]);
  parts.evaluation.outputs[0].index = 1;
  const nn::Graph<double> idle(parts);
  io::save_model(idle, file.path());
  CHECK(io::load(other, file.path()).same_architecture);
  // A dense file, with factors in the model.
  io::save_model(nn::Linear<double>(3, 2), {{1, 3}}, file.path());
  CHECK(io::load(other, file.path()).same_architecture);

  // What cannot be traced cannot be compared, and is loaded by names and shapes.
  struct Picky : nn::Layer<double> {
    nn::Linear<double> fc{3, 2};
    void visit(nn::Visitor<double>& v) const override { v("weight", fc.weight), v("bias", *fc.bias); }
    Var<double> forward(Var<double> x) const override {
      if (x.shape()[0] != 8) throw Error("picky", "expected 8 rows");
      return fc.forward(x);
    }
  } picky;
  CHECK_FALSE(io::load(picky, file.path()).same_architecture);
  // An architecture that is damaged is no architecture.
  const std::string bytes = data::read_bytes(file.path(), "test");
  CHECK_ERROR(io::load(picky, io::Archive(with_architecture(bytes, "{}"), "file")),
              "has an architecture that lacks \"version\"");
  CHECK_FALSE(
      io::load(picky, io::Archive(with_architecture(bytes, R"({"version":2})"), "file")).same_architecture);
}

TEST_CASE("load_model: files without an architecture") {
  const TempFile file("");
  const nn::Linear<float> linear(3, 2);
  io::save(linear, file.path());
  CHECK_ERROR(io::load_model<float>(file.path()), "[load] " + file.path().string(),
              "does not say how its model computes: expected a file of save_model");
  CHECK_ERROR(io::load_model<float>("/nowhere/at/all"), "[load] /nowhere/at/all");
  const TempFile page("<html></html>");
  CHECK_ERROR(io::load_model<float>(page.path()), "is a page in HTML");
}

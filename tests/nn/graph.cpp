#include <taper/nn/graph.hpp>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/summary.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/certify.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "random_net.hpp"

using namespace taper;

namespace {

template <class T>
std::vector<Tensor<T>> outputs(const nn::Module<T>& model, const std::vector<Tensor<T>>& inputs, Mode mode,
                               std::uint64_t seed = 1) {
  Tape<T> tape(mode);
  std::vector<Var<T>> given;
  for (const Tensor<T>& x : inputs) given.push_back(tape.constant(x));
  std::vector<Var<T>> made = model.record(given);
  tape.replay(seed);
  std::vector<Tensor<T>> result;
  for (const Var<T>& y : made) result.emplace_back(y.value());
  return result;
}

template <class T> void check_same(const std::vector<Tensor<T>>& a, const std::vector<Tensor<T>>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) CHECK(same_bits(a[k].view(), b[k].view()));
}

/// A running mean, a constant in the code, a parameter that is factorized, and dropout.
struct Everything : nn::Layer<double> {
  nn::Buffer<double> running{Shape{4}};
  nn::Linear<double> in{4, 6}, out{6, 2};
  void visit(nn::Visitor<double>& v) const override { v("running", running), v("in", in), v("out", out); }
  Var<double> forward(Var<double> x) const override {
    Tape<double>& tape = x.tape();
    Var<double> centred = x - running.bind(tape);
    if (tape.training()) running.assign_later(tape, running.bind(tape) * 0.9 + mean(x, 0) * 0.1);
    centred = reshape(centred, {x.shape()[0], 2, 2});
    const Var<double> h = tanh(in(reshape(centred * 2.0, {-1, 4})));
    return out(tape.training() ? dropout(h, 0.5) : h);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("Graph: traces of 500 random networks compute the same bits for any number of rows", T,
                   float, double) {
  for (int round = 0; round < 250; ++round) {
    CAPTURE(round);
    RandomNet<T> net = RandomNetBuilder<T>(static_cast<std::uint64_t>(round)).build();
    std::vector<Shape> shapes;
    for (const Index width : net.inputs) shapes.push_back({1, width});
    nn::Graph<T> graph = nn::Graph<T>::trace(net, shapes);
    for (const Index rows : {1, 2, 7}) {
      std::vector<Tensor<T>> inputs;
      for (const Index width : net.inputs) inputs.push_back(normal_tensor<T>({rows, width}, 9));
      check_same(outputs<T>(graph, inputs, Mode::evaluation), outputs<T>(net, inputs, Mode::evaluation));
      check_same(outputs<T>(graph, inputs, Mode::training), outputs<T>(net, inputs, Mode::training));
    }
    CHECK(difference(graph, nn::Graph<T>::trace(graph, shapes)).empty());  // a trace of itself
    std::vector<std::string> names, traced;
    net.for_parameters([&](const std::string& name, const nn::Parameter<T>&) { names.push_back(name); });
    graph.for_parameters([&](const std::string& name, const nn::Parameter<T>&) { traced.push_back(name); });
    CHECK(names == traced);
  }
}

TEST_CASE("Graph: trains, with dropout and running statistics, to the bits of the model") {
  manual_seed(2);
  Everything model;
  sparsity::factorize(model, sparsity::Groups::inputs, "in.weight");
  nn::Graph<double> graph = nn::Graph<double>::trace(model, {{1, 4}});
  const data::Dataset<double> set{
      normal_tensor<double>({40, 4}, 3), normal_tensor<double>({40, 2}, 4), {}, {}};
  const auto train = [&](nn::Module<double>& what) {
    manual_seed(5);
    train::fit(what, set, nn::mse_loss,
               optim::Adam<double>(what.parameters(), {.lr = 1e-2, .weight_decay = 1e-2}),
               {.epochs = 6, .batch_size = 16, .progress = train::Progress::quiet});
    return train::predict(what, set.x);
  };
  const Tensor<double> expected = train(model), got = train(graph);
  CHECK(same_bits(expected.view(), got.view()));
  const auto& [name, running] = graph.parts().buffers[0];
  CHECK(name == "running");
  CHECK(same_bits(running.value(), std::as_const(model.running).value()));
  CHECK(running.value()[0] != 0);
  // Its weights are factorized like the model's: what reads them so works on.
  CHECK(sparsity::certify(graph, set, nn::mse_loss, 0.1).layers.size() == 1);
}

TEST_CASE("Graph: is shrunk like the model, constants in the code too") {
  struct Scaled : nn::Layer<double> {
    nn::Linear<double> in{3, 4}, out{4, 1};
    void visit(nn::Visitor<double>& v) const override { v("in", in), v("out", out); }
    Var<double> forward(Var<double> x) const override {
      const Var<double> scale = x.tape().constant(Tensor<double>({4}, {1, 2, 3, 4}));
      return out(tanh(in(x)) * scale);
    }
  } model;
  model.out.weight.value()[2] = 0;
  const auto x = normal_tensor<double>({20, 3});
  CHECK(sparsity::shrink(model, {.examples = x}).model.in.outputs() == 4);  // the constant stands in the code
  const nn::Graph<double> graph = nn::Graph<double>::trace(model, {{1, 3}});
  const auto [small, report] = sparsity::shrink(graph, {.examples = x});
  CHECK(report.widths_after == std::vector<Index>{3, 3, 1});
  CHECK(small.parts().buffers[0].first == "constant0");
  CHECK(small.parts().buffers[0].second.shape() == Shape{3});
  CHECK(report.max_abs_difference < 1e-14);
}

TEST_CASE("Graph: constants are told apart by their bits, and from buffers of the model") {
  struct Constants : nn::Layer<double> {
    nn::Buffer<double> running{Shape{2}};  // zero now
    nn::Parameter<double> other{Shape{2}};
    void visit(nn::Visitor<double>& v) const override { v("constant", running), v("constant1", other); }
    Var<double> forward(Var<double> x) const override {
      const auto constant = [&](double a, double b) {
        return x.tape().constant(Tensor<double>({2}, {a, b}));
      };
      x = x + running.bind(x.tape()) + constant(0, 0) + other.bind(x.tape());
      return max(x / constant(-0.0, 0), x * constant(std::nan(""), 1) + constant(0, 0));
    }
  } model;
  nn::Graph<double> graph = nn::Graph<double>::trace(model, {{1, 2}});
  std::vector<std::string> names;
  for (const auto& [name, buffer] : graph.parts().buffers) names.push_back(name);
  CHECK(names == std::vector<std::string>{"constant", "constant0", "constant2", "constant3"});
  const std::vector<Tensor<double>> x{Tensor<double>({1, 2}, {1, 2})};
  check_same(outputs<double>(graph, x, Mode::evaluation), outputs<double>(model, x, Mode::evaluation));
}

TEST_CASE("Graph: training that differs from evaluation in its outputs alone") {
  struct Swapped : nn::Module<double> {
    std::vector<Var<double>> record(std::span<const Var<double>> x) const override {
      const Var<double> a = relu(x[0]), b = tanh(a);
      return x[0].tape().training() ? std::vector{b, a} : std::vector{a, b};
    }
  };
  struct Direct : nn::Layer<double> {  // no instruction in either
    nn::Buffer<double> trained{Tensor<double>({1, 2}, {1, 2})}, evaluated{Tensor<double>({1, 2}, {3, 4})};
    void visit(nn::Visitor<double>& v) const override { v("trained", trained), v("evaluated", evaluated); }
    Var<double> forward(Var<double> x) const override {
      return (x.tape().training() ? trained : evaluated).bind(x.tape());
    }
  };
  const std::vector<Tensor<double>> x{normal_tensor<double>({4, 2}, 1)};
  const Swapped swapped;
  const Direct direct;
  for (const nn::Module<double>* model :
       std::initializer_list<const nn::Module<double>*>{&swapped, &direct}) {
    const auto graph = nn::Graph<double>::trace(*model, {{1, 2}});
    for (const Mode mode : {Mode::evaluation, Mode::training}) {
      check_same(outputs<double>(graph, x, mode), outputs<double>(*model, x, mode));
    }
    Tape<double> unstated;
    CHECK_ERROR(graph.record(std::vector{unstated.input({1, 2})}), "[tape] a recording without a mode");
  }
  // What is assigned and stated in both modes does not depend on the mode.
  struct Counts : nn::Layer<double> {
    nn::Buffer<double> count{Shape{}};
    void visit(nn::Visitor<double>& v) const override { v("count", count); }
    Var<double> forward(Var<double> y) const override {
      count.assign_later(y.tape(), count.bind(y.tape()) + 1.0);
      return relu(y);
    }
  };
  const auto counts = nn::Graph<double>::trace(Counts(), {{1, 2}});
  Tape<double> tape;
  counts(tape.constant(x[0]));
  tape.update_buffers();
  CHECK(counts.parts().buffers[0].second.value()[0] == 1);
}

TEST_CASE("Graph: empty buffers of several shapes, rows without columns") {
  struct Empty : nn::Layer<double> {
    nn::Buffer<double> none{Shape{0}}, wide{Shape{0, 3}};
    void visit(nn::Visitor<double>& v) const override { v("none", none), v("wide", wide); }
    Var<double> forward(Var<double> x) const override {
      const Var<double> product = matmul(x, wide.bind(x.tape()));
      return product + sum(none.bind(x.tape()));
    }
  } model;
  const auto graph = nn::Graph<double>::trace(model, {{1, 0}});
  CHECK(graph.parts().evaluation.instructions[0].inputs[1].index == 1);
  const std::vector<Tensor<double>> x{Tensor<double>({4, 0})};
  check_same(outputs<double>(graph, x, Mode::evaluation), outputs<double>(model, x, Mode::evaluation));
}

TEST_CASE("Graph: tracing draws no random numbers, also where it ends with an Error") {
  manual_seed(3);
  const nn::Sequential<double> net(nn::Linear<double>(3, 2), nn::Dropout<double>(0.5));
  const RandomState before = random_state();
  nn::Graph<double>::trace(net, {{1, 3}});
  CHECK(random_state() == before);
  CHECK_ERROR(nn::Graph<double>::trace(net, {{1, 4}}), "[affine]");
  CHECK(random_state() == before);
}

TEST_CASE("Graph: prints and compares") {
  const nn::Sequential<double> net(nn::Linear<double>(3, 2), nn::LeakyReLU<double>(0.25),
                                   nn::Dropout<double>(0.5));
  const auto graph = nn::Graph<double>::trace(net, {{1, 3}});
  std::ostringstream text;
  text << graph;
  CHECK(text.str() ==
        "input0  ?x3\n"
        "0.weight  parameter 2x3\n"
        "0.bias  parameter 2\n"
        "%0 = affine(input0, 0.weight, 0.bias, activation=none)  0\n"
        "%1 = leaky_relu(%0, slope=0.25)  1\n"
        "outputs %1\n"
        "training:\n"
        "%0 = affine(input0, 0.weight, 0.bias, activation=none)  0\n"
        "%1 = leaky_relu(%0, slope=0.25)  1\n"
        "%2 = dropout(%1, probability=0.5)  2\n"
        "outputs %2\n");
  const nn::Sequential<double> other(nn::Linear<double>(3, 2), nn::LeakyReLU<double>(0.5),
                                     nn::Dropout<double>(0.5));
  CHECK(difference(graph, nn::Graph<double>::trace(other, {{1, 3}})) ==
        "has %1 = leaky_relu(%0, slope=0.25)  1 where the other has %1 = leaky_relu(%0, slope=0.5)  1");
  CHECK(difference(graph, graph).empty());
  Tape<double> unstated;
  CHECK_ERROR(graph(unstated.input({1, 3})), "[tape] a recording without a mode");

  // A parameter that is called like an input.
  struct Named : nn::Layer<double> {
    bool is_square;
    nn::Parameter<double> scale{Shape{1, 3}};
    explicit Named(bool square) : is_square(square) {}
    void visit(nn::Visitor<double>& v) const override { v("input0", scale); }
    Var<double> forward(Var<double> x) const override { return x * (is_square ? x : scale.bind(x.tape())); }
  };
  const auto square = nn::Graph<double>::trace(Named(true), {{1, 3}}),
             scaled = nn::Graph<double>::trace(Named(false), {{1, 3}});
  CHECK(difference(square, scaled) ==
        "has %0 = mul(input0_, input0_) where the other has %0 = mul(input0_, input0)");
}

TEST_CASE("Graph: what it refuses") {
  using Graph = nn::Graph<double>;
  using Kind = Graph::Value::Kind;
  const nn::Linear<double> fc(3, 2);
  const auto graph = Graph::trace(fc, {{8, 3}});
  Tape<double> tape;
  CHECK_ERROR(graph(tape.input({2, 4})), "[graph] input 0, 2x4: expected rows like 1x3");
  CHECK_ERROR(graph.record({}), "[graph] 0 inputs: expected 1");
  Graph::Parts parts = graph.parts();
  parts.evaluation.outputs[0].index = 7;
  CHECK_ERROR(Graph(parts), "[graph] value 7 of 1");
  parts = graph.parts();
  parts.evaluation.instructions[0].inputs[0] = {Kind::result, 0};  // of itself
  CHECK_ERROR(Graph(parts), "[graph] value 0 of 0");
  parts = graph.parts();
  parts.training.instructions[0].inputs.clear();
  CHECK_ERROR(Graph(parts), "[graph] affine without inputs");
  parts = graph.parts();
  parts.inputs[0] = {1, 5};
  CHECK_ERROR(Graph(parts), "[affine]");
  parts = graph.parts();
  parts.training.instructions[0].inputs.resize(1);
  parts.training.instructions[0].path = "fc";
  CHECK_ERROR(Graph(parts), "[affine] 1 input: expected 2 to 3 inputs (layer fc)");
  parts = graph.parts();
  parts.training.instructions[0].attributes = {};
  CHECK_ERROR(Graph(parts), "[affine] settings of another operation, or none");
  parts = graph.parts();
  parts.buffers.emplace_back("running", nn::Buffer<double>(Shape{3}));
  parts.training.assignments.emplace_back(Graph::Value{Kind::buffer, 0}, Graph::Value{Kind::parameter, 1});
  CHECK_ERROR(Graph(parts), "[graph] a value 2 for buffer 'running': expected 3");
  parts.training.assignments[0].first = {Kind::parameter, 1};
  CHECK_ERROR(Graph(parts), "[graph] an assignment to what is no buffer");
  parts = graph.parts();
  parts.evaluation.instructions[0].op = nullptr;
  CHECK_ERROR(Graph(parts), "[graph] an instruction without an operation: expected one");
  parts = graph.parts();
  parts.inputs.clear();
  CHECK_ERROR(Graph(parts), "[graph] no inputs");
  parts = graph.parts();
  parts.parameters[1].first = "weight";
  CHECK_ERROR(Graph(parts), "[nn] two parts named 'weight'");

  struct Rows : nn::Layer<double> {
    int what;
    explicit Rows(int w) : what(w) {}
    Var<double> forward(Var<double> x) const override {
      const Index rows = x.shape()[0];
      if (what == 0) return x * x.tape().constant(static_cast<double>(rows));
      if (what == 1) return slice(x, 0, 0, rows);
      return rows > 4 ? tanh(x) : relu(x);
    }
  };
  CHECK_ERROR(Graph::trace(Rows(0), {{1, 3}}), "[graph] a constant scalar depends on the number of rows");
  CHECK_ERROR(Graph::trace(Rows(1), {{1, 3}}),
              "[graph] the setting 'end' of slice depends on the number of rows");
  CHECK_ERROR(Graph::trace(Rows(2), {{1, 3}}), "[graph] the operation relu depends on the number of rows");
  CHECK_ERROR(Graph::trace(fc, {Shape{}}), "[graph] an input scalar: expected rows");

  // As a constant, a factor that is used by itself would no longer be trained.
  struct Gated : nn::Layer<double> {
    nn::Linear<double> fc{3, 2};
    void visit(nn::Visitor<double>& v) const override { v("fc", fc); }
    Var<double> forward(Var<double> x) const override {
      return fc(x) * sum(fc.weight.factors()[1].bind(x.tape()));
    }
  } gated;
  gated.fc.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs));
  CHECK_ERROR(Graph::trace(gated, {{1, 3}}),
              "[graph] 'fc.weight.v' 3, which requires a gradient: expected parameters of the model");
}

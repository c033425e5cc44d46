// Groups of every axis, in files.

#include <algorithm>
#include <memory>
#include <string>

#include <taper/data/file.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/load.hpp>
#include <taper/io/model.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/losses.hpp>
#include <taper/sparsity/certify.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "../data/files.hpp"

using namespace taper;
using nn::Groups;

namespace {

/// A product with a weight of rank 4 that is read as 4 x 12.
struct TensorWeight : nn::Layer<double> {
  nn::Parameter<double> weight{Shape{4, 3, 2, 2}};

  TensorWeight() {
    const Tensor<double> values = normal_tensor<double>(weight.shape(), 3);
    std::copy(values.begin(), values.end(), weight.value().begin());
  }
  void visit(nn::Visitor<double>& v) const override { v("weight", weight); }
  Var<double> forward(Var<double> x) const override {
    return affine(x, reshape(weight.bind(x.tape()), {4, 12}));
  }
};

std::string architecture_text(const nn::Module<double>& model) {
  return io::architecture_of(nn::Graph<double>::trace(model, {{1, 12}}));
}

}  // namespace

TEST_CASE("save_model: groups of every axis, with their weights") {
  const TempFile file("");
  for (const Groups& groups :
       {Groups::elements, Groups::outputs, Groups::inputs, Groups::axis(2), Groups::axis(3)}) {
    CAPTURE(groups);
    TensorWeight model;
    std::vector<double> weights(static_cast<std::size_t>(groups.count(model.weight.shape())), 0.5);
    weights.back() = 3;
    sparsity::factorize(model, groups, {.depth = 2, .weights = weights});
    io::save_model(model, {{1, 12}}, file.path());
    CHECK(architecture_text(model).find("\"groups\":\"" + groups.str() + '"') != std::string::npos);

    nn::Graph<double> loaded = io::load_model<double>(file.path());
    const auto* const product =
        dynamic_cast<const nn::Hadamard<double>*>(loaded.parts().parameters.at(0).second.parametrization());
    REQUIRE(product != nullptr);
    CHECK(product->groups() == groups);
    CHECK(product->weight(0) == 0.5);
    CHECK(product->weight(static_cast<Index>(weights.size()) - 1) == 3);
    const data::Dataset<double> set{
        normal_tensor<double>({9, 12}, 1), normal_tensor<double>({9, 4}, 2), {}, {}};
    const auto before = sparsity::certify(model, set, nn::mse_loss, 0.1);
    const auto after = sparsity::certify(loaded, set, nn::mse_loss, 0.1);
    CHECK(before.objective() == after.objective());
    CHECK(before.worst() == after.worst());

    TensorWeight again;
    sparsity::factorize(again, groups, {.weights = weights});
    CHECK(io::load(again, file.path()).same_architecture);
    TensorWeight other;
    sparsity::factorize(other, groups);
    CHECK_ERROR(io::load(other, file.path()), "has factors of \"weight\" by", "3.0", "where the model has");
  }
}

TEST_CASE("load_model: groups along an axis that is not there") {
  nn::Linear<double> linear(3, 2);
  linear.weight.parametrize(std::make_shared<nn::Hadamard<double>>(Groups::outputs));
  const TempFile file("");
  io::save_model(linear, {{1, 3}}, file.path());
  std::string bytes = data::read_bytes(file.path(), "test");
  const std::string outputs = "\\\"groups\\\":\\\"outputs\\\"", axis = "\\\"groups\\\":\\\"axis 2\\\" ";
  REQUIRE(outputs.size() == axis.size());
  const std::size_t at = bytes.find(outputs);
  REQUIRE(at != std::string::npos);
  bytes.replace(at, axis.size(), axis);
  CHECK_ERROR(io::load_model<double>(io::Archive(bytes, "file")), "factors of \"weight\" that cannot be",
              "[groups] axis 2 of a parameter 2x3", "expected 3 axes or more");
}

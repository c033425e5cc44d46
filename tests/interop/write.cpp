// Writes files of models into a folder, and what other programs should find in them: read.py looks.

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/io/model.hpp>
#include <taper/io/save.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/train/evaluate.hpp>

using namespace taper;
using Json = nlohmann::ordered_json;

namespace {

/// The bytes of these elements in hexadecimal digits.
template <class T> std::string hex(View<const T> elements) {
  std::string text;
  for (const T element : elements) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &element, sizeof(T));
    for (const unsigned char byte : bytes) {
      for (const int digit : {byte >> 4, byte & 15}) text += "0123456789abcdef"[digit];
    }
  }
  return text;
}

Json described(const char* dtype, const Shape& shape, std::string bytes) {
  Json dimensions = Json::array();
  for (Index axis = 0; axis < shape.rank(); ++axis) dimensions.push_back(shape[axis]);
  return {{"dtype", dtype}, {"shape", dimensions}, {"bytes", std::move(bytes)}};
}

/// What should be in the file of a model.
template <class T> Json tensors_of(const nn::Module<T>& model) {
  const char* const dtype = sizeof(T) == 4 ? "float32" : "float64";
  Json tensors;
  model.for_parameters([&](const std::string& name, const nn::Parameter<T>& parameter) {
    parameter.for_leaves(name, [&](const std::string& path, const nn::Parameter<T>& leaf) {
      tensors[path] = described(dtype, leaf.shape(), hex<T>(leaf.value()));
      const Mask mask = leaf.mask();
      if (mask.all_free()) return;
      std::string free;
      for (Index i = 0; i < mask.size(); ++i) free += mask.is_free(i) ? "01" : "00";
      tensors[path + ".mask"] = described("bool", leaf.shape(), free);
    });
  });
  model.for_buffers([&](const std::string& name, const nn::Buffer<T>& buffer) {
    tensors[name] = described(dtype, buffer.shape(), hex<T>(buffer.value()));
  });
  return tensors;
}

/// Elements that are easily lost, factors, an empty tensor, a scalar, names that need escapes.
struct AllSorts : nn::Layer<double> {
  nn::Parameter<double> ends{Shape{1, 6}};
  nn::Linear<double> factorized{6, 2};
  nn::Buffer<double> empty{Shape{0, 3}}, scalar{Shape{}};
  AllSorts() {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double elements[] = {-0.0, 5e-324, -infinity, std::nan(""), 1e308, 0.1};
    std::copy(std::begin(elements), std::end(elements), ends.value().begin());
    factorized.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs, 3));
    factorized.weight.prune(Mask::frozen(Shape{2, 6}, {3, 9}));
    scalar.value()[0] = 1.0 / 3;
  }
  void visit(nn::Visitor<double>& v) const override {
    v("\"gr\xc3\xb6\xc3\x9f"
      "e\"\n",
      ends),
        v("fc", factorized), v("empty", empty), v("scalar", scalar);
  }
  Var<double> forward(Var<double> x) const override {
    return factorized(x * ends.bind(x.tape())) + scalar.bind(x.tape()) + sum(empty.bind(x.tape()));
  }
};

}  // namespace

int main(int, char** arguments) {
  const std::string folder = arguments[1];
  manual_seed(1);
  nn::Sequential<float> net(nn::Linear(3, 4), nn::LeakyReLU(0.25f), nn::Linear(4, 2));
  dynamic_cast<nn::Linear<float>&>(net[0]).weight.freeze(Mask::frozen(Shape{4, 3}, {0, 5, 11}));
  io::save_model(net, {{1, 3}}, folder + "/net.safetensors", {{"note", "with \"quotes\""}});
  const AllSorts sorts;
  io::save_model(sorts, {{1, 6}}, folder + "/sorts.safetensors");
  io::save(sorts, folder + "/numbers.safetensors");

  Tensor<float> x({5, 3});
  Rng rng(2);
  for (float& entry : x) entry = static_cast<float>(rng.normal());
  const Tensor<float> y = train::predict(net, x);
  Json expected;
  expected["net"] = tensors_of(net);
  expected["sorts"] = expected["numbers"] = tensors_of(sorts);
  expected["x"] = described("float32", x.shape(), hex<float>(x));
  expected["y"] = described("float32", y.shape(), hex<float>(y));
  std::ofstream(folder + "/expected.json") << expected;
}

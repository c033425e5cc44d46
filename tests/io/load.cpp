#include <taper/io/load.hpp>

#include <cstring>
#include <limits>
#include <sstream>

#include <taper/io/save.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/batch_norm.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "../data/files.hpp"

using namespace taper;
using io::Archive;
using Texts = std::vector<std::string>;
using Factorized = std::vector<std::pair<std::string, Texts>>;

namespace {

struct Stored {
  std::string name, dtype, shape, bytes;
};

/// A file with these tensors.
Archive file_of(const std::vector<Stored>& tensors) {
  std::string header, data;
  for (const Stored& tensor : tensors) {
    header += (header.empty() ? "{\"" : ",\"") + tensor.name + R"(":{"dtype":")" + tensor.dtype +
              R"(","shape":)" + tensor.shape + R"(,"data_offsets":[)" + std::to_string(data.size()) + ',' +
              std::to_string(data.size() + tensor.bytes.size()) + "]}";
    data += tensor.bytes;
  }
  header += header.empty() ? "{}" : "}";
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
  return Archive(bytes + header + data, "file");
}

template <class T> std::string bytes_of(std::initializer_list<T> elements) {
  return {reinterpret_cast<const char*>(std::data(elements)), elements.size() * sizeof(T)};
}

/// All values and masks of a model, as text.
template <class T> std::string text_of(nn::Module<T>& model) {
  std::ostringstream text;
  text.precision(std::numeric_limits<T>::max_digits10);
  model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
    parameter.for_leaves(name, [&](const std::string& path, nn::Parameter<T>& leaf) {
      text << path << ':';
      for (Index i = 0; i < leaf.shape().size(); ++i) {
        text << ' ' << leaf.value()[i] << (leaf.mask().is_free(i) ? "" : "#");
      }
      text << '\n';
    });
  });
  return text.str();
}

/// weight 1x2 and bias.
template <class T> nn::Linear<T> small_linear() {
  nn::Linear<T> model(2, 1);
  model.weight.value().vector() << 7, 8;
  model.bias->value()[0] = 9;
  return model;
}

const Stored weight{"weight", "F32", "[1,2]", bytes_of<float>({1, 2})};
const Stored bias{"bias", "F32", "[1]", bytes_of<float>({3})};

}  // namespace

TEST_CASE("load: what others wrote is converted when asked for") {
  const Archive mixed = file_of({{"weight", "F16", "[1,2]", std::string("\0\x3c\0\xc0", 4)},  // 1, -2
                                 {"bias", "F64", "[1]", bytes_of<double>({0.1})}});
  auto model = small_linear<float>();
  const std::string before = text_of(model);
  CHECK_ERROR(io::load(model, mixed), "[load] file has \"weight\" of dtype \"F16\": expected \"F32\"",
              "convert");
  CHECK(text_of(model) == before);
  const io::LoadReport report = io::load(model, mixed, {.convert = true});
  CHECK(report.loaded == Texts{"weight", "bias"});
  CHECK(report.converted == Texts{"weight", "bias"});
  CHECK(text_of(model) == "weight: 1 -2\nbias: 0.100000001\n");

  auto wide = small_linear<double>();
  CHECK(io::load(wide, mixed, {.convert = true}).converted == Texts{"weight"});
  CHECK(text_of(wide) == "weight: 1 -2\nbias: 0.10000000000000001\n");

  // The weight could be taken, the bias not: nothing has changed.
  const Archive huge = file_of({weight, {"bias", "F64", "[1]", bytes_of<double>({-1e39})}});
  model = small_linear<float>();
  CHECK_ERROR(io::load(model, huge, {.convert = true}), "[load] file has -1e+39 at position 0 of \"bias\"");
  CHECK_ERROR(io::load(model, file_of({weight, {"bias", "I32", "[1]", "1234"}}), {.convert = true}),
              "\"bias\" of dtype \"I32\": expected \"F32\"");
  CHECK(text_of(model) == before);
}

TEST_CASE("load: a part of it, and the report of the rest") {
  auto model = small_linear<float>();
  const Archive other = file_of({weight, {"head.bias", "F32", "[1]", bytes_of<float>({3})}});
  CHECK_ERROR(io::load(model, other),
              "[load] file lacks \"bias\" (1) and has \"head.bias\" (1): expected the tensors of the model");
  const io::LoadReport report = io::load(model, other, {.partial = true});
  CHECK(report.loaded == Texts{"weight"});
  CHECK(report.missing == Texts{"bias"});
  CHECK(report.surplus == Texts{"head.bias"});
  CHECK(text_of(model) == "weight: 1 2\nbias: 9\n");
  std::ostringstream text;
  text << report;
  CHECK(text.str() == "1 loaded, missing \"bias\", left over \"head.bias\"");

  // Shapes must agree all the same, and something must be there.
  const std::string before = text_of(model);
  CHECK_ERROR(io::load(model, file_of({{"weight", "F32", "[2,1]", weight.bytes}}), {.partial = true}),
              "file has \"weight\" of shape 2x1 instead of 1x2: expected the shapes of the model");
  CHECK_ERROR(
      io::load(model, file_of({{"w", "F32", "[1]", bias.bytes}}), {.partial = true}),
      "file has \"w\" (1) and the model \"weight\" (1x2), \"bias\" (1): expected a tensor that both have");
  CHECK(text_of(model) == before);
  CHECK(io::load(model, file_of(std::vector<Stored>{}), {.partial = true}).missing.size() ==
        2);  // a file of nothing has nothing
  CHECK(text_of(model) == before);
}

TEST_CASE("load: what differs is listed, the first of many") {
  struct Many : nn::Layer<float> {
    std::vector<nn::Parameter<float>> all;
    Var<float> forward(Var<float> x) const override { return x; }
    void visit(nn::Visitor<float>& v) const override {
      for (std::size_t i = 0; i < all.size(); ++i) v(std::to_string(i) + ".weight", all[i]);
    }
  };
  Many model;
  std::vector<Stored> tensors;
  for (int i = 0; i < 200; ++i) {
    model.all.emplace_back(Shape{1, 1});
    tensors.push_back({"layer" + std::to_string(i), "F32", "[1]", bias.bytes});
  }
  const std::string text = error_text([&] { io::load(model, file_of(tensors)); });
  CHECK(text.find("lacks \"0.weight\" (1x1), \"1.weight\" (1x1)") != std::string::npos);
  CHECK(text.find("... (200 in all) and has \"layer0\" (1)") != std::string::npos);
  CHECK(text.size() < 700);
  CHECK_ERROR(io::load(model, file_of({{"0.weight", "F32", "[1]", bias.bytes},
                                       {"0.bias", "F32", "[1]", bias.bytes}})),
              "(199 in all), has \"0.bias\" (1) and has \"0.weight\" of shape 1 instead of 1x1: expected the "
              "tensors");
}

TEST_CASE("load: names of the file become names of the model, and masks follow") {
  auto model = small_linear<float>();
  const Archive other = file_of({{"encoder.fc.w", "F32", "[1,2]", weight.bytes},
                                 {"encoder.fc.b", "F32", "[1]", bias.bytes},
                                 {"encoder.fc.w.mask", "BOOL", "[1,2]", std::string("\1\0", 2)}});
  const auto report = io::load(model, other, {.rename = {{"*.w", "weight"}, {"encoder.fc.b", "bias"}}});
  CHECK(report.loaded == Texts{"weight", "bias"});
  CHECK(text_of(model) == "weight: 1 2#\nbias: 3\n");

  model = small_linear<float>();
  const auto last = [](const std::string& name) {
    return name.ends_with("w") ? std::string("weight") : std::string("bias");
  };
  CHECK(io::load(model, other, {.rename = last}).surplus.empty());
  CHECK(text_of(model) == "weight: 1 2#\nbias: 3\n");
  const std::string before = text_of(model);
  CHECK_ERROR(io::load(model, other, {.rename = {{"encoder.*", "bias"}}}),
              "has \"encoder.fc.b\" and \"encoder.fc.w\", which are both renamed to \"bias\"");
  CHECK_ERROR(io::load(model, other, {.rename = {{"encoder.fc.w", "weight"}}}),
              "lacks \"bias\" (1) and has \"encoder.fc.b\" (1): expected");
  CHECK(text_of(model) == before);
}

TEST_CASE("load: PyTorch's count of batches is no part of a batch norm") {
  nn::Sequential<float> model(nn::BatchNorm1d(1, {.affine = false}));
  const Stored mean{"bn.running_mean", "F32", "[1]", bytes_of<float>({3})};
  const Stored var{"bn.running_var", "F32", "[1]", bytes_of<float>({4})};
  const Stored count{"bn.num_batches_tracked", "I64", "[]", bytes_of<std::int64_t>({7})};
  const Stored list{"bn.num_batches_tracked", "I64", "[1]", bytes_of<std::int64_t>({7})};
  const Stored elsewhere{"num_batches_tracked", "I64", "[]", bytes_of<std::int64_t>({7})};
  const io::LoadOptions renamed{.rename = {{"bn.*", "0.*"}}};
  const io::LoadReport report = io::load(model, file_of({mean, var, count}), renamed);
  CHECK(report.loaded == Texts{"0.running_mean", "0.running_var"});
  CHECK(report.surplus.empty());
  CHECK_ERROR(io::load(model, file_of({mean, var, list}), renamed), "has \"bn.num_batches_tracked\" (1)");
  CHECK_ERROR(io::load(model, file_of({mean, var, elsewhere}), renamed),
              "has \"num_batches_tracked\" (scalar)");
}

TEST_CASE("load: masks of the file are left out on request, and the model keeps its own") {
  const Archive masked = file_of({weight, bias, {"weight.mask", "BOOL", "[1,2]", std::string("\1\0", 2)}});
  auto model = small_linear<float>();
  model.weight.freeze(Mask::frozen({1, 2}, {0}));
  model.bias->freeze();
  const auto report = io::load(model, masked, {.masks = false});
  CHECK(report.surplus.empty());
  CHECK(text_of(model) == "weight: 1# 2\nbias: 3#\n");
  io::load(model, masked);
  CHECK(text_of(model) == "weight: 1 2#\nbias: 3\n");
  // One that is not a mask is not read as one.
  CHECK(io::load(model, file_of({weight, bias, {"weight.mask", "U8", "[1]", "x"}}), {.masks = false})
            .loaded.size() == 2);
}

TEST_CASE_TEMPLATE("load: a factorized parameter takes the tensor of the whole", T, float, double) {
  Rng rng(5);
  for (const sparsity::Groups groups :
       {sparsity::Groups::elements, sparsity::Groups::inputs, sparsity::Groups::outputs}) {
    for (const Index depth : {2, 3}) {
      CAPTURE(depth);
      nn::Sequential<T> dense(nn::Linear<T>(3, 4), nn::Tanh<T>(), nn::Linear<T>(4, 2)), model = dense;
      sparsity::factorize(model, groups, {.depth = depth});
      static_cast<nn::Linear<T>&>(model[0]).weight.factors()[1].freeze();
      dense.for_parameters([&](const std::string&, nn::Parameter<T>& parameter) {
        for (T& entry : parameter.value()) entry = static_cast<T>(rng.normal());
      });
      static_cast<nn::Linear<T>&>(dense[0]).weight.prune(
          Mask::frozen({4, 3}, [](Index i) { return i % 3 == 0 || i < 3; }));
      const TempFile place("");
      io::save(dense, place.path());
      const auto parameters = model.parameters();
      const io::LoadReport report = io::load(model, place.path());
      const Texts factors =
          depth == 2 ? Texts{"2.weight.u", "2.weight.v"} : Texts{"2.weight.u", "2.weight.v1", "2.weight.v2"};
      REQUIRE(report.factorized.size() == 2);
      CHECK(report.factorized[1] == std::pair(std::string("2.weight"), factors));
      CHECK(report.loaded.size() == 2 + 2 * factors.size());
      CHECK(report.missing.empty());
      CHECK(parameters.block() == model.parameters().block());
      CHECK(parameters.block()->version == 0);

      // The same function to the bit, and the same entries that can move.
      const auto weight_of = [](nn::Sequential<T>& net, Index layer) -> nn::Parameter<T>& {
        return static_cast<nn::Linear<T>&>(net[layer]).weight;
      };
      for (const Index layer : {0, 2}) {
        const Tensor<T> loaded = weight_of(model, layer).materialize(),
                        saved(weight_of(dense, layer).value());
        CHECK(std::memcmp(loaded.data(), saved.data(), sizeof(T) * static_cast<std::size_t>(saved.size())) ==
              0);
        CHECK(weight_of(model, layer).mask() == weight_of(dense, layer).mask());
      }
    }
  }
}

TEST_CASE("load: tensors that do not decompose, and factors that are there") {
  struct Mixture : nn::Layer<double> {
    nn::Parameter<double> shares{Shape{2}};
    Mixture() {
      shares.value().vector() << 0.5, 0.5;
      shares.parametrize(std::make_shared<nn::Simplex<double>>());
    }
    Var<double> forward(Var<double> x) const override { return x; }
    void visit(nn::Visitor<double>& v) const override { v("shares", shares); }
  };
  Mixture model;
  const std::string before = text_of(model);
  CHECK_ERROR(io::load(model, file_of({{"shares", "F64", "[2]", bytes_of<double>({1, 0})}})),
              "[load] file has \"shares\", which does not decompose",
              "[simplex] an entry 0: expected positive");
  CHECK_ERROR(io::load(model, file_of({{"shares", "F64", "[2]", bytes_of<double>({0.25, 0.75})},
                                       {"shares.mask", "BOOL", "[2]", std::string("\1\0", 2)}})),
              "[load] file has \"shares\"", "[freeze]", "expected all of them");
  CHECK_ERROR(io::load(model, file_of({{"shares", "F64", "[3]", bytes_of<double>({1, 2, 3})}})),
              "has \"shares\" of shape 3 instead of 2");
  CHECK(text_of(model) == before);
  const auto report =
      io::load(model, file_of({{"shares", "F32", "[2]", bytes_of<float>({0.25, 0.75})}}), {.convert = true});
  CHECK(report.factorized == Factorized{{"shares", {"shares.z"}}});
  CHECK(report.converted == Texts{"shares"});
  CHECK(model.shares.materialize()[1] == doctest::Approx(0.75));

  // With both, the factors count, and the tensor of the whole is surplus.
  const Archive both = file_of({{"shares", "F64", "[2]", bytes_of<double>({0.5, 0.5})},
                                {"shares.z", "F64", "[2]", bytes_of<double>({0, 0})}});
  CHECK_ERROR(io::load(model, both), "has \"shares\" (2): expected");
  CHECK(io::load(model, both, {.partial = true}).loaded == Texts{"shares.z"});
}

TEST_CASE("load: a factor that has factors") {
  const auto make = [] {
    nn::Linear<double> model(2, 2, false);
    sparsity::factorize(model, sparsity::Groups::inputs, {.depth = 2});
    model.weight.factors()[0].parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::elements));
    return model;
  };
  nn::Linear<double> model = make();
  const auto report = io::load(model, file_of({{"weight", "F64", "[2,2]", bytes_of<double>({1, 2, 3, 4})}}));
  CHECK(report.factorized == Factorized{{"weight", {"weight.u.u", "weight.u.v", "weight.v"}}});
  CHECK(text_of(model) == "weight.u.u: 1 2 3 4\nweight.u.v: 1 1 1 1\nweight.v: 1 1\n");
}

TEST_CASE("save: metadata of one's own are read again") {
  auto model = small_linear<float>();
  const TempFile place("");
  io::save(model, place.path(), {{"model", "{\"a\": 1}\n"}, {"", "\xc3\xa9"}});
  const Archive archive(place.path());
  CHECK(archive.metadata() ==
        std::map<std::string, std::string>{{"", "\xc3\xa9"}, {"format", "taper"}, {"model", "{\"a\": 1}\n"}});
  CHECK(io::load(model, archive).loaded.size() == 2);
  io::save(model, place.path(), {{"format", "pt"}});
  CHECK(Archive(place.path()).metadata() == std::map<std::string, std::string>{{"format", "pt"}});
  CHECK_ERROR(io::save(model, place.path(), {{"a", "\xff"}}), "[save]", "not UTF-8");
  CHECK_ERROR(io::save(model, place.path(), {{"a", std::string(100'000'000, 'x')}}), "[save]",
              "header has 1000");
  CHECK(Archive(place.path()).metadata().at("format") == "pt");
}

TEST_CASE_TEMPLATE("save and load: buffers, beside the parameters and without masks", T, float, double) {
  struct Centred : nn::Layer<T> {
    nn::Parameter<T> scale{Shape{2}};
    nn::Buffer<T> mean{Shape{2}}, empty{Shape{0}};
    void visit(nn::Visitor<T>& v) const override { v("mean", mean), v("scale", scale), v("empty", empty); }
    Var<T> forward(Var<T> x) const override { return x; }
  };
  Centred model, other;
  model.mean.value()[0] = 3;
  model.scale.value()[1] = 4;
  model.scale.freeze();
  const TempFile place("");
  const Centred& constant = model;
  io::save(constant, place.path());
  const Archive archive(place.path());
  CHECK(archive.tensors().size() == 4);
  CHECK(archive.contains("mean"));
  CHECK_FALSE(archive.contains("mean.mask"));
  const T* const elements = other.mean.value().data();
  CHECK(io::load(other, archive).loaded == Texts{"scale", "mean", "empty"});
  CHECK(other.mean.value()[0] == 3);
  CHECK(other.mean.value().data() == elements);
  CHECK(other.scale.value()[1] == 4);
  CHECK(other.scale.mask().all_frozen());

  // What looks like the mask of a buffer is none.
  const std::string& dtype = archive.tensor("mean").dtype;
  const std::string two(2 * sizeof(T), '\0');
  const std::vector<Stored> tensors{{"mean", dtype, "[2]", two},
                                    {"empty", dtype, "[0]", ""},
                                    {"scale", dtype, "[2]", two},
                                    {"mean.mask", "BOOL", "[2]", std::string(2, '\1')}};
  CHECK_ERROR(io::load(other, file_of(tensors)), "has \"mean.mask\" (2): expected");
  CHECK(other.mean.value()[0] == 3);
}

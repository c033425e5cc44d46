// Computes examples of all operations, values and gradients, in double and in float, and writes them into a
// folder, where operations.py compares them with PyTorch. Besides the examples of the registry, it computes
// those that stand there in cases.json.
//
// All numbers are doubles, little-endian, one after the other in a .bin file beside the JSON file, which says
// at which of them a tensor begins.

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/autodiff/tape.hpp>

#include "functions.hpp"

using namespace taper;
using Json = nlohmann::ordered_json;

namespace {

struct Case {
  std::string operation;
  Json label, settings;
  std::vector<Tensor<double>> inputs;
};

Json json_of(const AttributeValue& value) {
  const auto write = [](const auto& given) -> Json {
    using Given = std::decay_t<decltype(given)>;
    if constexpr (std::is_same_v<Given, const void*>) {
      throw Error("operations", "a pointer among the settings: expected what can be written to a file");
    } else if constexpr (std::is_same_v<Given, std::string_view>) {
      return std::string(given);
    } else if constexpr (std::is_same_v<Given, IndexList>) {
      return std::vector<Index>(given.begin(), given.end());
    } else {
      return given;
    }
  };
  return std::visit(write, value);
}

AttributeValue value_of(const Json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<Index>();
  if (json.is_string()) return std::string_view(json.get_ref<const std::string&>());
  if (json.is_array()) return IndexList(json.get<std::vector<Index>>());
  return json.get<double>();
}

/// The examples of the registry.
std::vector<Case> registered() {
  std::vector<Case> result;
  for (const Op<double>* op : Op<double>::registry()) {
    Rng rng(7);
    for (GradcheckCase& example : op->gradcheck_cases(rng)) {
      Json settings = Json::object();
      for_attributes(*op, example.attributes, [&](std::string_view name, const AttributeValue& value) {
        settings[std::string(name)] = json_of(value);
      });
      result.push_back({std::string(op->name), "registry", std::move(settings), std::move(example.inputs)});
    }
  }
  return result;
}

/// Those in the folder.
std::vector<Case> read(const std::string& folder) {
  std::ifstream text(folder + "/cases.json"), numbers(folder + "/cases.bin", std::ios::binary);
  std::vector<Case> result;
  for (const Json& one : Json::parse(text)) {
    Case& example = result.emplace_back(Case{one["operation"], one["label"], one["settings"], {}});
    for (const Json& input : one["inputs"]) {
      const auto dimensions = input["shape"].get<std::vector<Index>>();
      Tensor<double>& x =
          example.inputs.emplace_back(Shape(dimensions.data(), static_cast<Index>(dimensions.size())));
      numbers.seekg(input["at"].get<std::streamoff>() * 8);
      numbers.read(reinterpret_cast<char*>(x.data()), x.size() * 8);
    }
  }
  if (!numbers) throw Error("operations", "cases.bin: expected the numbers of all cases");
  return result;
}

class Answers {
 public:
  explicit Answers(const std::string& folder)
      : folder_(folder), numbers_(folder + "/answers.bin", std::ios::binary) {}
  ~Answers() { std::ofstream(folder_ + "/answers.json") << list_; }

  template <class T> void compute(const Case& example) {
    Json answer = {{"operation", example.operation},
                   {"label", example.label},
                   {"settings", example.settings},
                   {"dtype", sizeof(T) == 4 ? "float32" : "float64"}};
    try {
      compute<T>(example, answer);
    } catch (const Error& error) {
      answer["refused"] = error.what();
    }
    list_.push_back(std::move(answer));
  }

 private:
  template <class T> void compute(const Case& example, Json& answer) {
    const Op<T>* const op = Op<T>::find(example.operation);
    Tape<T> tape;
    std::vector<Var<T>> inputs;
    for (const Tensor<double>& given : example.inputs) {
      Tensor<T> x(given.shape());
      std::copy(given.begin(), given.end(), x.begin());
      const bool constant =
          op != nullptr && (op->no_derivative || op->constant(static_cast<Index>(inputs.size())));
      inputs.push_back(constant ? tape.constant(x) : tape.variable(x));
      answer["inputs"].push_back(written(View<const T>(x)));
    }
    Attributes settings = op != nullptr ? default_attributes(*op) : Attributes();
    for (const auto& [name, value] : example.settings.items()) {
      if (op != nullptr) set_attribute(*op, settings, name, value_of(value));
    }
    const std::span<const Var<T>> all(inputs);
    const Var<T> y =
        op != nullptr ? tape.record(*op, all, settings) : functions::call<T>(example.operation, all);
    answer["output"] = written(y.value());
    if (op != nullptr && op->no_derivative) return;
    Rng rng(3);
    Tensor<T> weights(y.shape());
    for (T& weight : weights) weight = static_cast<T>(rng.uniform(0.5, 1.5) * (rng.below(2) == 0 ? 1 : -1));
    tape.backward(y, weights);
    answer["weights"] = written(View<const T>(weights));
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool has = tape.nodes()[static_cast<std::size_t>(inputs[i].index())].requires_grad;
      answer["gradients"].push_back(has ? written(inputs[i].gradient()) : Json());
    }
  }

  template <class T> Json written(View<const T> x) {
    Json shape = Json::array();
    for (Index axis = 0; axis < x.shape().rank(); ++axis) shape.push_back(x.shape()[axis]);
    const Index at = at_;
    for (const T element : x) {
      const double number = static_cast<double>(element);
      numbers_.write(reinterpret_cast<const char*>(&number), 8);
      ++at_;
    }
    return {{"shape", shape}, {"at", at}};
  }

  std::string folder_;
  std::ofstream numbers_;
  Index at_ = 0;
  Json list_ = Json::array();
};

}  // namespace

int main(int, char** arguments) {
  const std::string folder = arguments[1];
  Answers answers(folder);
  for (const std::vector<Case>& cases : {registered(), read(folder)}) {
    for (const Case& example : cases) {
      answers.compute<double>(example);
      answers.compute<float>(example);
    }
  }
}

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include <taper/autodiff/tape.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/model.hpp>

#include "fuzz.hpp"

namespace {

using namespace taper;
using Json = nlohmann::ordered_json;

/// A file with this architecture, and tensors of many shapes: "w" 2x3, its factors "f.u" and "f.v", "b" 2,
/// a scalar "s", and "e", which is empty.
template <class T> io::Archive archive_of(const std::string& architecture) {
  Json header;
  header["__metadata__"][io::architecture_key] = architecture;
  std::size_t end = 0;
  const auto add = [&](const char* name, const std::vector<int>& shape) {
    std::size_t bytes = sizeof(T);
    for (const int dimension : shape) bytes *= static_cast<std::size_t>(dimension);
    const char* const dtype = sizeof(T) == 4 ? "F32" : "F64";
    header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  };
  add("w", {2, 3}), add("f.u", {2, 3}), add("f.v", {3}), add("b", {2}), add("s", {}), add("e", {0, 3});
  const std::string text = header.dump();
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(text.size() >> (8 * i));
  return io::Archive(file + text + std::string(end, '\x01'), "bytes");
}

/// Whether what is computed for one row stays small, by the shapes alone.
template <class T> bool is_small(const nn::Graph<T>& graph, const typename nn::Graph<T>::Program& program) {
  using Value = typename nn::Graph<T>::Value;
  constexpr Index most = 1 << 12;
  std::vector<Shape> results;
  const auto shape_of = [&](const Value& value) {
    const auto k = static_cast<std::size_t>(value.index);
    switch (value.kind) {
      case Value::Kind::input:
        return graph.parts().inputs[k];
      case Value::Kind::parameter:
        return graph.parts().parameters[k].second.shape();
      case Value::Kind::buffer:
        return graph.parts().buffers[k].second.shape();
      default:
        return results[k];
    }
  };
  for (const Shape& input : graph.parts().inputs) {
    if (input.size() > most) return false;
  }
  for (const auto& instruction : program.instructions) {
    std::vector<Shape> shapes;
    for (const Value& input : instruction.inputs) shapes.push_back(shape_of(input));
    std::vector<const Shape*> places;
    for (const Shape& shape : shapes) places.push_back(&shape);
    results.push_back(instruction.op->shape(Signature{places, instruction.attributes}));
    if (results.back().size() > most) return false;
  }
  return true;
}

/// What is loaded is written as it was read, and is computed or refused.
template <class T> void load(const std::string& text) {
  const nn::Graph<T> graph = io::load_model<T>(archive_of<T>(text));
  const std::string written = io::architecture_of(graph);
  const nn::Graph<T> again = io::load_model<T>(archive_of<T>(written));
  require(io::architecture_of(again) == written);
  require(difference(graph, again).empty());
  for (const Mode mode : {Mode::evaluation, Mode::training}) {
    const auto& program = mode == Mode::training ? graph.parts().training : graph.parts().evaluation;
    if (!is_small(graph, program)) continue;
    try {
      Tape<T> tape(mode);
      std::vector<Var<T>> inputs;
      for (const Shape& input : graph.parts().inputs) inputs.push_back(tape.input(input));
      const std::vector<Var<T>> outputs = graph.record(inputs);
      require(outputs.size() == program.outputs.size());
      tape.update_buffers();
    } catch (const Error&) {
    }
  }
}

}  // namespace

/// The bytes are an architecture. The first says of which scalar the file is.
TAPER_FUZZ {
  if (bytes.empty()) return;
  const std::string text(bytes.substr(1));
  try {
    archive_of<float>(text);
  } catch (const nlohmann::json::exception&) {
    return;  // not UTF-8
  }
  if (bytes[0] % 2 == 0) {
    load<float>(text);
  } else {
    load<double>(text);
  }
}

#include <taper/io/save.hpp>

#include <cstdint>
#include <vector>

#include <taper/instantiate.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/archive_writer.hpp>
#include <taper/io/dtype.hpp>
#include <taper/io/model_tensors.hpp>

namespace taper::io {

template <class T>
void write_model(const nn::Module<T>& model, const std::string& path,
                 std::map<std::string, std::string> metadata) {
  ArchiveWriter writer("save");
  std::vector<ModelTensor<const T>> masked;
  for (const ModelPart<const T>& part : parts_of<const T>(model)) {
    for (const ModelTensor<const T>& tensor : part.tensors) {
      writer.add(tensor.name, dtype_of<T>, tensor.value.shape(), tensor.value.data());
      if (tensor.is_masked()) masked.push_back(tensor);
    }
  }
  std::vector<std::vector<std::uint8_t>> masks;
  for (const ModelTensor<const T>& tensor : masked) {
    std::vector<std::uint8_t>& mask = masks.emplace_back(tensor.frozen, tensor.frozen + tensor.value.size());
    for (std::uint8_t& entry : mask) entry ^= 1;
    writer.add(mask_name(tensor.name), "BOOL", tensor.value.shape(), mask.data());
  }
  metadata.emplace("format", "taper");
  writer.write(path, metadata);
}

template <class T>
void save(const nn::Module<T>& model, const std::string& path,
          const std::map<std::string, std::string>& metadata) {
  if (metadata.contains(architecture_key)) {
    throw Error("save", "metadata with \"", architecture_key, "\": expected none, as save_model writes it");
  }
  write_model(model, path, metadata);
}

#define TAPER_INSTANTIATE(T)                                                                               \
  template void write_model(const nn::Module<T>&, const std::string&, std::map<std::string, std::string>); \
  template void save(const nn::Module<T>&, const std::string&, const std::map<std::string, std::string>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io

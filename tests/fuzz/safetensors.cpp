#include <cmath>
#include <string>

#include <taper/io/archive.hpp>
#include <taper/io/rename.hpp>

#include "fuzz.hpp"

namespace {

using taper::io::Archive;

/// What is read with conversion has the shape that the header says, and nothing finite becomes infinite.
template <class T> void read(const Archive& archive, const std::string& name) {
  const taper::io::StoredTensor& stored = archive.tensor(name);
  try {
    const taper::Tensor<T> tensor = archive.read<T>(name, {.convert = true});
    require(stored.has_shape(tensor.shape()));
    if (stored.dtype != "F64") return;
    const taper::Tensor<double> exact = archive.read<double>(name);
    for (taper::Index i = 0; i < tensor.size(); ++i) {
      require(std::isfinite(tensor[i]) == std::isfinite(exact[i]));
    }
  } catch (const taper::Error&) {
  }
}

}  // namespace

/// The length of the header is put in front here: it is seldom guessed. The first two bytes are that length.
TAPER_FUZZ {
  if (bytes.size() < 2) return;
  try {
    Archive(std::string(bytes), "bytes");  // as it is, perhaps of another format
  } catch (const taper::Error&) {
  }
  std::string file(8, '\0');
  file[0] = bytes[0], file[1] = bytes[1];
  const Archive archive(file.append(bytes.substr(2)), "bytes");
  std::size_t sum = 0;
  std::string first;
  for (const auto& [name, tensor] : archive.tensors()) {
    for (std::uint64_t i = 0; i < tensor.end - tensor.begin; ++i)
      sum += static_cast<unsigned char>(archive.data(tensor)[i]);
    try {
      archive.require(name, "F32", {2, 3});
    } catch (const taper::Error&) {
    }
    read<float>(archive, name);
    read<double>(archive, name);
    // Any names are patterns too.
    if (first.empty()) first = name;
    if (first.find('*') == first.npos) require(taper::io::Rename({{name, first}})(name) == first);
  }
  require(sum <= 255 * bytes.size());
}

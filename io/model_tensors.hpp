#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include <taper/nn/module.hpp>

namespace taper::io {

/// A tensor of a model as files have it: a parameter, a factor of one, or a buffer. T is const where the
/// model is.
template <class T> struct ModelTensor {
  using Byte = std::conditional_t<std::is_const_v<T>, const std::uint8_t, std::uint8_t>;

  std::string name;
  View<T> value;
  Byte* frozen = nullptr;  // for each element whether it is frozen, 1 or 0; null for a buffer
  std::uint64_t* mask_version = nullptr;

  bool is_masked() const {
    const auto size = static_cast<std::size_t>(value.size());
    return frozen != nullptr && size > 0 && std::memchr(frozen, 1, size) != nullptr;
  }
};

/// A parameter or buffer by its name, and what stands for it in files: itself, or its factors.
template <class T> struct ModelPart {
  std::string name;
  const nn::Parameter<std::remove_const_t<T>>* parameter;  // null for a buffer
  std::vector<ModelTensor<T>> tensors;
};

/// All that belongs in a file, in the order in which the model names it: first parameters, then buffers.
/// Nothing is laid out: a model is only looked at here.
template <class T, class Module> std::vector<ModelPart<T>> parts_of(Module& model) {
  using Plain = std::remove_const_t<T>;
  using Parameter = std::conditional_t<std::is_const_v<T>, const nn::Parameter<Plain>, nn::Parameter<Plain>>;
  using Buffer = std::conditional_t<std::is_const_v<T>, const nn::Buffer<Plain>, nn::Buffer<Plain>>;
  std::vector<ModelPart<T>> result;
  model.for_parameters([&](const std::string& name, Parameter& parameter) {
    ModelPart<T>& part = result.emplace_back();
    part.name = name;
    part.parameter = &parameter;
    parameter.for_leaves(name, [&](const std::string& path, Parameter& leaf) {
      Block<Plain>& block = *leaf.block();
      part.tensors.push_back({path, leaf.value(), block.frozen.data() + leaf.offset(), &block.mask_version});
    });
  });
  model.for_buffers([&](const std::string& name, Buffer& buffer) {
    result.push_back({name, nullptr, {{name, buffer.value()}}});
  });
  return result;
}

/// Writes what is in a model with these metadata: what `save` and `save_model` do.
template <class T>
void write_model(const nn::Module<T>& model, const std::string& path,
                 std::map<std::string, std::string> metadata);

/// The tensor that says which entries of another one are free, as BOOL.
inline std::string mask_name(const std::string& name) {
  return name + ".mask";
}

}  // namespace taper::io

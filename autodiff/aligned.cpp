#include <taper/autodiff/aligned.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <taper/autodiff/error.hpp>

namespace taper {
namespace {

constexpr std::size_t lazy_from = std::size_t{1} << 20;  // bytes

[[noreturn]] void throw_no_memory(std::size_t bytes) {
  throw Error("memory", bytes, " bytes for an array: expected as much memory to be free");
}

}  // namespace

AlignedMemory allocate_aligned(std::size_t bytes, bool zeros) {
  if (zeros && bytes >= lazy_from) {
    void* const piece = bytes > SIZE_MAX - alignment ? nullptr : std::calloc(bytes + alignment, 1);
    if (piece == nullptr) throw_no_memory(bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(piece);
    return {reinterpret_cast<void*>((address + alignment - 1) / alignment * alignment), piece};
  }
  void* const data = ::operator new(bytes, std::align_val_t(alignment), std::nothrow);
  if (data == nullptr) throw_no_memory(bytes);
  if (zeros) std::memset(data, 0, bytes);
  return {data, nullptr};
}

void release_aligned(AlignedMemory memory) {
  if (memory.piece != nullptr) {
    std::free(memory.piece);
  } else {
    ::operator delete(memory.data, std::align_val_t(alignment));
  }
}

}  // namespace taper

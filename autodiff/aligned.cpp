#include <taper/autodiff/aligned.hpp>

#include <taper/autodiff/error.hpp>

namespace taper {

void* allocate_aligned(std::size_t bytes) {
  try {
    return ::operator new(bytes, std::align_val_t(alignment));
  } catch (const std::bad_alloc&) {
    throw Error("memory", bytes, " bytes for an array: expected as much memory to be free");
  }
}

}  // namespace taper

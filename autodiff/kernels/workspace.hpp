#pragma once

#include <hwy/aligned_allocator.h>

#include <new>

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// What a kernel keeps in memory of its own.
enum class Use { left, right, transposed, plane, patches, gradient, attention };

/// One thread's memory for one use; it grows to the largest that was asked for and stays.
template <class T, Use use> T* workspace(Index count) {
  thread_local hwy::AlignedFreeUniquePtr<T[]> memory;
  thread_local Index size = 0;
  if (size < count) {
    size = 0;
    memory = hwy::AllocateAligned<T>(static_cast<std::size_t>(count));
    if (memory == nullptr) throw std::bad_alloc();
    size = count;
  }
  return memory.get();
}

}  // namespace taper::kernels

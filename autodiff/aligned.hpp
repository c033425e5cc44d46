#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace taper {

/// A cache line, and the width of the widest vector registers.
inline constexpr std::size_t alignment = 64;

/// `count` rounded up so that an array of that many T ends on a 64-byte boundary.
template <class T> constexpr std::size_t padded(std::size_t count) {
  constexpr std::size_t line = alignment / sizeof(T);
  return (count + line - 1) / line * line;
}

/// Memory on a 64-byte boundary, and the larger piece that it lies in, if any.
struct AlignedMemory {
  void* data = nullptr;
  void* piece = nullptr;
};

/// Memory for so many bytes, at least one, that is all zero or that is not set. Much of the former is taken
/// from pages that the system clears when they are first touched, so that what is never used costs nothing.
/// Throws Error when so much is not free.
AlignedMemory allocate_aligned(std::size_t bytes, bool zeros);
void release_aligned(AlignedMemory memory);

/// For memory that is not set.
struct Uninitialized {};

/// Owned, 64-byte-aligned memory for `size` elements, zero at first; padded to whole cache lines. Throws
/// Error when so much memory is not free.
template <class T> class AlignedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t size) : AlignedArray(size, true) {}
  AlignedArray(std::size_t size, Uninitialized) : AlignedArray(size, false) {}
  AlignedArray(const AlignedArray& other) : AlignedArray(other.size_, Uninitialized{}) {
    std::copy_n(other.data(), padded<T>(other.size_), data());
  }
  AlignedArray(AlignedArray&& other) noexcept
      : memory_(std::exchange(other.memory_, {})), size_(std::exchange(other.size_, 0)) {}
  AlignedArray& operator=(AlignedArray other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~AlignedArray() {
    if (memory_.data != nullptr) release_aligned(memory_);
  }

  T* data() { return static_cast<T*>(memory_.data); }
  const T* data() const { return static_cast<const T*>(memory_.data); }
  std::size_t size() const { return size_; }

 private:
  AlignedArray(std::size_t size, bool zeros) : size_(size) {
    if (size == 0) return;
    memory_ = allocate_aligned(padded<T>(size) * sizeof(T), zeros);
  }

  AlignedMemory memory_;
  std::size_t size_ = 0;
};

}  // namespace taper

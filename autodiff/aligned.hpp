#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
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
  void* data;
  void* piece;
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
      : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}
  AlignedArray& operator=(AlignedArray other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() { return memory_.get(); }
  const T* data() const { return memory_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Release {
    void* piece = nullptr;
    void operator()(T* memory) const { release_aligned({memory, piece}); }
  };

  AlignedArray(std::size_t size, bool zeros) : size_(size) {
    if (size == 0) return;
    const auto [data, piece] = allocate_aligned(padded<T>(size) * sizeof(T), zeros);
    memory_ = {static_cast<T*>(data), Release{piece}};
  }

  std::unique_ptr<T, Release> memory_;
  std::size_t size_ = 0;
};

}  // namespace taper

#pragma once

#include <cstddef>
#include <vector>

#include <taper/autodiff/aligned.hpp>

namespace taper {

/// Hands out 64-byte-aligned pieces of memory that live until the next reset. It grows by whole chunks that
/// never move, so pointers into it stay good, and a reset keeps the chunks: the same sequence of requests
/// allocates only the first time. Chunks double up to 64 MB; a request that is larger gets one of its own
/// size.
template <class T> class Arena {
 public:
  /// Memory for `count` elements, not cleared. Null when `count` is zero.
  T* take(std::size_t count) {
    if (count == 0) return nullptr;
    const std::size_t need = padded<T>(count);
    while (need > static_cast<std::size_t>(end_ - next_)) open_chunk(need);
    T* const piece = next_;
    next_ += need;
    return piece;
  }

  /// Takes everything back; the memory is kept for what comes next.
  void reset() {
    opened_ = 0;
    next_ = end_ = nullptr;
  }

  /// How many elements there is memory for.
  std::size_t capacity() const {
    std::size_t total = 0;
    for (const AlignedArray<T>& chunk : chunks_) total += chunk.size();
    return total;
  }

 private:
  /// Goes on to the next chunk, a new one of at least this size after the last.
  void open_chunk(std::size_t need) {
    if (opened_ == chunks_.size()) {
      chunks_.emplace_back(std::max(need, next_chunk_), Uninitialized{});
      next_chunk_ = std::min(2 * next_chunk_, largest_chunk);
    }
    AlignedArray<T>& chunk = chunks_[opened_++];
    next_ = chunk.data();
    end_ = next_ + chunk.size();
  }

  static constexpr std::size_t largest_chunk = std::size_t{64} * 1024 * 1024 / sizeof(T);
  std::vector<AlignedArray<T>> chunks_;
  std::size_t next_chunk_ = std::size_t{64} * 1024 / sizeof(T);  // how large, unless more is asked for
  std::size_t opened_ = 0;                                       // pieces come from the last of these
  T *next_ = nullptr, *end_ = nullptr;                           // what is left of it
};

}  // namespace taper

#pragma once

#include <algorithm>
#include <cstddef>
#include <memory_resource>

/// Inside of the exact solvers.
namespace taper::sparsity::exact {

/// Memory for arrays that live as long as it does, taken in one piece, and on Linux in large pages: a problem
/// of 100,000 columns has some twenty arrays, and to get as many small pages, cleared one by one, would take
/// longer than a pass over its design.
class Arena {
 public:
  /// For about so many bytes; more is taken where they do not suffice.
  explicit Arena(std::size_t bytes) : chunks_(std::max<std::size_t>(bytes, 1), &pages_) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::pmr::memory_resource* resource() { return &chunks_; }

 private:
  class LargePages : public std::pmr::memory_resource {
    void* do_allocate(std::size_t bytes, std::size_t alignment) override;
    void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
    bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
      return this == &other;
    }
  };

  LargePages pages_;
  std::pmr::monotonic_buffer_resource chunks_;
};

}  // namespace taper::sparsity::exact

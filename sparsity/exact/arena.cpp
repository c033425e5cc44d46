#include <algorithm>
#include <new>

#include <taper/sparsity/exact/arena.hpp>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace taper::sparsity::exact {
namespace {

constexpr std::size_t large_page = 1 << 21;

std::size_t alignment_of(std::size_t bytes, std::size_t asked) {
  return bytes < large_page ? asked : std::max(asked, large_page);
}

/// Whole pages, where they are large.
std::size_t rounded(std::size_t bytes) {
  return bytes < large_page ? bytes : (bytes + large_page - 1) / large_page * large_page;
}

}  // namespace

void* Arena::LargePages::do_allocate(std::size_t bytes, std::size_t alignment) {
  void* const memory = ::operator new(rounded(bytes), std::align_val_t(alignment_of(bytes, alignment)));
#ifdef __linux__
  // Advice: where it is not taken, nothing is lost.
  if (bytes >= large_page) ::madvise(memory, rounded(bytes), MADV_HUGEPAGE);
#endif
  return memory;
}

void Arena::LargePages::do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) {
  // Without the size, which clang before 19 takes only when it is asked to.
  ::operator delete(memory, std::align_val_t(alignment_of(bytes, alignment)));
}

}  // namespace taper::sparsity::exact

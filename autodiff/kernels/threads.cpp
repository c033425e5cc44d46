#include <omp.h>

#include <atomic>

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {
namespace {
std::atomic<int> limit{0};  // 0: not chosen, ask OpenMP
}  // namespace

int threads() {
  const int chosen = limit.load(std::memory_order_relaxed);
  return chosen > 0 ? chosen : omp_get_max_threads();
}

void set_threads(int count) {
  limit.store(std::max(count, 1), std::memory_order_relaxed);
}

}  // namespace taper::kernels

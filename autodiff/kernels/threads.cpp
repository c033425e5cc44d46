#include <omp.h>

#include <atomic>

#include <taper/autodiff/kernels/denormals.hpp>
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

void run_pieces(Index count, Index piece, void (*call)(const void* context, Index begin, Index end),
                const void* context, Share share) {
  const Index pieces = (count + piece - 1) / piece;
  const auto run = [&](Index k) { call(context, k * piece, std::min((k + 1) * piece, count)); };
  const unsigned mode = float_mode();  // every thread computes as the caller does
#pragma omp parallel num_threads(threads())
  {
    const unsigned before = float_mode();
    set_float_mode(mode);
    if (share == Share::even) {
#pragma omp for schedule(static)
      for (Index k = 0; k < pieces; ++k) run(k);
    } else {
#pragma omp for schedule(dynamic)
      for (Index k = 0; k < pieces; ++k) run(k);
    }
    set_float_mode(before);
  }
}

}  // namespace taper::kernels

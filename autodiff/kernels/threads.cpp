#include <omp.h>

#include <atomic>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include <taper/autodiff/kernels/denormals.hpp>
#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {
namespace {
std::atomic<int> limit{0};  // 0: not chosen, ask OpenMP

/// How many of `count` threads, the caller among them, the system starts at the same time.
int started(int count) {
  std::vector<std::thread> others;
  std::mutex all_here;
  {
    const std::lock_guard<std::mutex> wait(all_here);
    try {
      while (static_cast<int>(others.size()) + 1 < count) {
        others.emplace_back([&] {
          // A thread's first allocation reserves address space, some 64 MB with glibc, which must count here.
          void* volatile first = std::malloc(1);
          std::free(first);
          const std::lock_guard<std::mutex> leave(all_here);
        });
      }
    } catch (const std::exception&) {  // no more threads, or no memory for them
    }
  }
  for (std::thread& other : others) other.join();
  return static_cast<int>(others.size()) + 1;
}

/// `count`, or fewer where the system does not start so many: OpenMP would end the process. Each number is
/// tried once; where one is too large, half of what was started leaves room for everything else.
int startable(int count) {
  static std::atomic<int> known{1}, most{std::numeric_limits<int>::max()};
  count = std::min(count, most.load(std::memory_order_relaxed));
  if (count <= known.load(std::memory_order_relaxed)) return count;
  const int found = started(count);
  if (found < count) {
    count = std::max(1, found / 2);
    most.store(count, std::memory_order_relaxed);
  }
  known.store(count, std::memory_order_relaxed);
  return count;
}

/// The first exception of several threads. One that left a parallel region would end the process.
class FirstException {
 public:
  explicit operator bool() const { return caught_.load(std::memory_order_relaxed); }
  /// To be called where an exception is handled.
  void keep() {
    if (!caught_.exchange(true)) exception_ = std::current_exception();
  }
  /// To be called when the threads are done.
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::atomic<bool> caught_{false};
  std::exception_ptr exception_;
};

}  // namespace

int threads() {
  const int chosen = limit.load(std::memory_order_relaxed);
  return chosen > 0 ? chosen : omp_get_max_threads();
}

void set_threads(int count) {
  limit.store(std::max(count, 1), std::memory_order_relaxed);
}

void run_pieces(Index count, Index piece, void (*call)(const void* context, Index begin, Index end),
                const void* context, Schedule schedule) {
  const Index pieces = (count + piece - 1) / piece;
  FirstException exception;
  const auto run = [&](Index k) {
    if (exception) return;
    try {
      call(context, k * piece, std::min((k + 1) * piece, count));
    } catch (...) {
      exception.keep();
    }
  };
  const unsigned mode = float_mode();  // every thread computes as the caller does
#pragma omp parallel num_threads(startable(threads()))
  {
    const unsigned before = float_mode();
    set_float_mode(mode);
    if (schedule == Schedule::fixed) {
#pragma omp for schedule(static)
      for (Index k = 0; k < pieces; ++k) run(k);
    } else {
#pragma omp for schedule(dynamic)
      for (Index k = 0; k < pieces; ++k) run(k);
    }
    set_float_mode(before);
  }
  exception.rethrow();
}

}  // namespace taper::kernels

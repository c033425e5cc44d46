#include <taper/autodiff/kernels/threads.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <new>
#include <stdexcept>
#include <string>

using taper::kernels::for_pieces;
using taper::kernels::Index;
using taper::kernels::Schedule;

namespace {

struct Threads {
  explicit Threads(int count) { taper::kernels::set_threads(count); }
  ~Threads() { taper::kernels::set_threads(before); }
  int before = taper::kernels::threads();
};

}  // namespace

TEST_CASE("threads: an exception in any piece, of any thread, arrives at the caller") {
  for (const int count : {1, 2, 3}) {
    const Threads threads(count);
    for (const Schedule schedule : {Schedule::fixed, Schedule::dynamic}) {
      for (Index bad = 0; bad < 10; ++bad) {
        CAPTURE(bad);
        const auto run = [&](Index begin, Index) {
          if (begin == bad) throw std::runtime_error("piece " + std::to_string(begin));
        };
        CHECK_THROWS_WITH_AS(for_pieces(10, 1, run, 0, schedule), ("piece " + std::to_string(bad)).c_str(),
                             std::runtime_error);
      }
      CHECK_THROWS_AS(for_pieces(
                          1000, 1, [](Index, Index) { throw std::bad_alloc(); }, 0, schedule),
                      std::bad_alloc);
      std::atomic<Index> sum{0};  // the threads are as good as before
      for_pieces(
          1000, 7, [&](Index begin, Index end) { sum += end - begin; }, 0, schedule);
      CHECK(sum == 1000);
    }
  }
}

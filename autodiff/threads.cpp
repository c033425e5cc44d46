#include <taper/autodiff/threads.hpp>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/kernels/threads.hpp>

namespace taper {

void set_threads(int count) {
  if (count < 1) throw Error("set_threads", count, " threads: expected 1 or more");
  kernels::set_threads(count);
}

int threads() {
  return kernels::threads();
}

}  // namespace taper

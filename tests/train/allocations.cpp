// Counts what the program allocates, by operator new and (with glibc) by malloc and its relatives, which
// Eigen calls, and lets some of it fail. Sanitizers bring their own allocators: with them there is nothing to
// count.
#include "../sanitized.hpp"

#ifndef TAPER_SANITIZED

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <new>
#include <string_view>
#include <thread>
#include <vector>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/attention.hpp>
#include <taper/nn/layers/conv.hpp>
#include <taper/nn/layers/flatten.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/pool.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

namespace {

std::atomic<long> allocations{0};
std::atomic<long> until_failure{0};             // the operator new that this counts down to 0 fails
std::atomic<std::size_t> largest{PTRDIFF_MAX};  // more at once is not to be had

void count_down(std::size_t size) {
  ++allocations;
  if (size > largest || (until_failure > 0 && --until_failure == 0)) throw std::bad_alloc();
}

void* allocate(std::size_t size) {
  count_down(size);
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* allocate(std::size_t size, std::align_val_t alignment) {
  count_down(size);
  const auto unit = static_cast<std::size_t>(alignment);
  void* const memory = std::aligned_alloc(unit, (size / unit + 1) * unit);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// The other variants are defined by these.
void* operator new(std::size_t size) {
  return allocate(size);
}
void* operator new[](std::size_t size) {
  return allocate(size);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, alignment);
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate(size, alignment);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

#ifdef __GLIBC__
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) noexcept {
  ++allocations;
  return size > largest ? nullptr : __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
  ++allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
}
#endif

using namespace taper;

namespace {

/// How often `run` allocates.
template <class Run> long count(const Run& run) {
  const long before = allocations;
  run();
  return allocations - before;
}

nn::Sequential<float> dropout_network() {
  nn::Sequential<float> net(nn::Linear(20, 48), nn::ReLU(), nn::Dropout(0.1), nn::Linear(48, 1));
  sparsity::factorize(net, sparsity::Groups::inputs);
  return net;
}

/// One thread at most while it lives: the threads' own memory is not ours.
struct OneThread {
  OneThread() { set_threads(1); }
  ~OneThread() { set_threads(before); }
  int before = threads();
};

void none_on_one_and_two_threads(const std::function<void()>& step) {
  const int before = threads();
  for (const int count_of_threads : {1, 2}) {
    set_threads(count_of_threads);
    for (int i = 0; i < 20; ++i) step();  // until each thread has its memory
    for (int i = 0; i < 5; ++i) CHECK(count(step) == 0);
  }
  set_threads(before);
}

}  // namespace

TEST_CASE("allocations: the counter counts") {
  CHECK(count([] { ::operator delete(::operator new(100)); }) > 0);
  CHECK(count([] { Tensor<float>({100, 100}); }) > 0);
}

TEST_CASE("allocations: none in a replayed step of a factorized network") {
  const OneThread one;
  auto net = dropout_network();
  optim::Adam<float> adam(net.parameters(), {.weight_decay = 1e-3});
  const auto x = normal_tensor<float>({64, 20}), y = normal_tensor<float>({64, 1});
  Tape<float> tape(Mode::training);
  const auto input = tape.input({64, 20}), target = tape.input({64, 1});
  const auto loss = mse_loss(net(input), target);
  const auto step = [&] {
    input.assign(x);
    target.assign(y);
    tape.replay();
    tape.backward(loss);
    adam.step();
  };
  step();
  for (int i = 0; i < 5; ++i) CHECK(count(step) == 0);
}

TEST_CASE(
    "allocations: none in a replayed step of attention and products of batches, on one thread and on two") {
  nn::Sequential<float> net(nn::Linear(6, 8), nn::MultiheadAttention(8, 4, {.dropout = 0.1, .causal = true}));
  optim::Adam<float> adam(net.parameters());
  Tape<float> tape(Mode::training);
  const auto y = net(tape.constant(normal_tensor<float>({40, 70, 6})));
  const auto loss = sum(square(matmul(y, permute(y, {0, 2, 1}))));
  const auto step = [&] {
    tape.value_and_gradient(loss);
    adam.step();
  };
  none_on_one_and_two_threads(step);
}

TEST_CASE("allocations: none in a replayed step of convolutions and poolings, on one thread and on two") {
  nn::Sequential<float> net(nn::Conv2d(2, 6, 3, {.padding = 1, .activation = Activation::tanh}),
                            nn::MaxPool2d(2),
                            nn::Conv2d(6, 6, 3, {.padding = 1, .groups = 6, .activation = Activation::relu}),
                            nn::AvgPool2d(2), nn::Conv2d(6, 8, 1, {.stride = 2}), nn::Flatten());
  optim::Adam<float> adam(net.parameters());
  Tape<float> tape(Mode::training);
  const auto loss = sum(square(net(tape.constant(normal_tensor<float>({40, 2, 32, 32})))));
  const auto step = [&] {
    tape.value_and_gradient(loss);
    adam.step();
  };
  none_on_one_and_two_threads(step);
}

TEST_CASE("allocations: none in a step that records again, from the third on") {
  const OneThread one;
  auto net = dropout_network();
  optim::Adam<float> adam(net.parameters(), {.weight_decay = 1e-3});
  const auto x = normal_tensor<float>({64, 20}), y = normal_tensor<float>({64, 1});
  Tape<float> tape(Mode::training);
  const auto step = [&] {
    tape.clear();
    tape.backward(mse_loss(net(tape.constant(x)), tape.constant(y)));
    adam.step();
  };
  step();
  step();
  for (int i = 0; i < 5; ++i) CHECK(count(step) == 0);
}

TEST_CASE("allocations: none in the steps of a deep product with weights of its groups") {
  const OneThread one;
  nn::Sequential<float> net(nn::Linear(20, 48), nn::ReLU(), nn::Linear(48, 1));
  sparsity::factorize(net, sparsity::Groups::inputs,
                      {.depth = 4, .weights = sparsity::GroupWeights::sqrt_size});
  optim::Adam<float> adam(net.parameters(), {.weight_decay = 1e-3});
  const auto x = normal_tensor<float>({64, 20}), y = normal_tensor<float>({64, 1});
  Tape<float> tape(Mode::training);
  const auto step = [&] {
    tape.clear();
    tape.backward(mse_loss(net(tape.constant(x)), tape.constant(y)));
    adam.step();
  };
  step();
  step();
  for (int i = 0; i < 5; ++i) CHECK(count(step) == 0);
}

TEST_CASE("allocations: none when passes store and add up in turns, and gradients are not kept") {
  Tape<float> tape(Mode::training);
  const auto x = tape.variable(Tensor<float>({1000}));
  const auto y = sum(relu(tanh(x)));
  tape.keep_gradients(false);
  const auto round = [&] {
    tape.backward(y);
    tape.backward(y, Accumulate::yes);
  };
  round();
  const long before = allocations;
  for (int i = 0; i < 200; ++i) round();
  CHECK(allocations == before);
}

TEST_CASE("allocations: fit allocates the same for 3 epochs and for 30") {
  const OneThread one;
  const data::Dataset<float> set{normal_tensor<float>({100, 20}), normal_tensor<float>({100, 1}), {}, {}};
  const auto train = [&](Index epochs) {
    auto net = dropout_network();
    train::fit(net, set, nn::mse_loss, optim::Adam(net.parameters()),
               {.epochs = epochs, .batch_size = 32, .progress = train::Progress::quiet});
  };
  train(1);  // what is made once per thread
  CHECK(count([&] { train(3); }) == count([&] { train(30); }));
}

TEST_CASE("allocations: fit allocates the same for few batches and for many, with a remainder") {
  const OneThread one;
  const auto train = [&](const data::Dataset<float>& set) {
    auto net = dropout_network();
    optim::Adam<float> adam(net.parameters(), {.weight_decay = 1e-3});
    return count([&] {
      train::fit(net, set, nn::mse_loss, adam,
                 {.epochs = 2, .batch_size = 32, .progress = train::Progress::quiet});
    });
  };
  const auto rows = [](Index n) {
    return data::Dataset<float>{normal_tensor<float>({n, 20}), normal_tensor<float>({n, 1}), {}, {}};
  };
  const auto few = rows(50), many = rows(1010);
  train(few);
  CHECK(train(few) == train(many));
}

TEST_CASE("memory: whichever allocation of a training fails, it is an exception") {
  const OneThread one;
  const data::Dataset<float> set{normal_tensor<float>({20, 20}), normal_tensor<float>({20, 1}), {}, {}};
  const auto work = [&] {
    auto net = dropout_network();
    train::fit(net, set, nn::mse_loss, optim::Adam(net.parameters()),
               {.epochs = 2, .batch_size = 8, .progress = train::Progress::quiet});
    sparsity::shrink(net, {.examples = set.x});
  };
  work();
  long failures = 0;
  for (long number = 1;; ++number) {
    bool out_of_memory = false;
    until_failure = number;
    try {
      work();
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    } catch (const Error& error) {
      out_of_memory = std::string_view(error.what()).starts_with("[memory] ");
    }
    const bool failed = until_failure == 0;
    until_failure = 0;
    CHECK(out_of_memory == failed);
    if (!failed) break;
    ++failures;
  }
  CHECK(failures > 100);
}

TEST_CASE("memory: epochs that may never come take none") {
  const data::Dataset<float> set{normal_tensor<float>({20, 20}), normal_tensor<float>({20, 1}), {}, {}};
  auto net = dropout_network();
  const auto stop = [](const train::Epoch&) { return false; };
  largest = 1'000'000;
  const auto history =
      train::fit(net, set, nn::mse_loss, optim::Adam(net.parameters()),
                 {.epochs = 1'000'000'000, .callbacks = {stop}, .progress = train::Progress::quiet});
  largest = PTRDIFF_MAX;
  CHECK(history.epochs.size() == 1);
}

TEST_CASE("memory: a tensor too large is an error that says how large") {
  largest = 100000;
  const std::string text = error_text([] { Tensor<double>({100, 1000}); });
  largest = PTRDIFF_MAX;
  CHECK(text == "[memory] 800000 bytes for an array: expected as much memory to be free");
}

#ifdef __GLIBC__
TEST_CASE("memory: a worker that finds none for its part of a product is an exception of the caller") {
  const std::vector<float> a(300 * 300, 1), b(300 * 300, 2);
  std::vector<float> c(300 * 300);
  const auto multiply = [&](int count) {
    kernels::set_threads(count);
    kernels::gemm<float>(300, 300, 300, {a.data(), 300, 1}, {b.data(), 300, 1}, c.data(), 300, false);
  };
  const int before = threads();
  bool failed = false;
  // A thread of our own has workers of its own, which have nothing yet.
  std::thread([&] {
    multiply(1);
    largest = 8192;                                           // enough for OpenMP
    for (int trial = 0; trial < 10000 && !failed; ++trial) {  // the worker may come too late for a part
      try {
        multiply(2);
      } catch (const std::bad_alloc&) {
        failed = true;
      }
    }
    largest = PTRDIFF_MAX;
    CHECK(failed);
    multiply(2);
  }).join();
  kernels::set_threads(before);
  CHECK(std::ranges::count(c, 600.0f) == 300 * 300);
}
#endif

#endif

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <taper/autodiff/error.hpp>
#include <taper/data/quote.hpp>

/// Ends the program where a result is not what was promised, whatever the build.
inline void require(bool promised) {
  if (!promised) __builtin_trap();
}

/// Begins a target: what follows is a block that reads `bytes`. It may throw Error, whose text can be shown,
/// and nothing else.
#define TAPER_FUZZ                                                                    \
  static void read_bytes_of_fuzzer(std::string_view bytes);                           \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    try {                                                                             \
      read_bytes_of_fuzzer({reinterpret_cast<const char*>(data), size});              \
    } catch (const taper::Error& error) {                                             \
      require(taper::data::valid_utf8(error.what()) == error.what());                 \
    }                                                                                 \
    return 0;                                                                         \
  }                                                                                   \
  static void read_bytes_of_fuzzer([[maybe_unused]] std::string_view bytes)

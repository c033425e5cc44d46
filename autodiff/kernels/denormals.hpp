#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace taper::kernels {

/// The floating-point mode of this thread.
#if defined(__SSE2__)
inline unsigned float_mode() {
  return _mm_getcsr();
}
inline void set_float_mode(unsigned mode) {
  _mm_setcsr(mode);
}
inline constexpr unsigned flush_bits = 0x8040;  // flush results to zero, read denormals as zero
#elif defined(__aarch64__)
inline unsigned float_mode() {
  return static_cast<unsigned>(__builtin_aarch64_get_fpcr());
}
inline void set_float_mode(unsigned mode) {
  __builtin_aarch64_set_fpcr(mode);
}
inline constexpr unsigned flush_bits = 1u << 24;
#else
inline unsigned float_mode() {
  return 0;
}
inline void set_float_mode(unsigned) {}
inline constexpr unsigned flush_bits = 0;
#endif

/// While it lives, numbers too small to be normal count as zero. Factors that decay pass through that range,
/// where the processor is up to a hundred times slower, and nothing there can matter.
class FlushDenormals {
 public:
  FlushDenormals() : before_(float_mode()) { set_float_mode(before_ | flush_bits); }
  ~FlushDenormals() { set_float_mode(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned before_;
};

}  // namespace taper::kernels

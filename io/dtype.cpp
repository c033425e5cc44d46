#include <taper/io/dtype.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <taper/instantiate.hpp>

namespace taper::io {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied from the file as they are");

template <class Stored> Stored stored_at(const char* from, Index i) {
  Stored element;
  std::memcpy(&element, from + i * static_cast<Index>(sizeof(Stored)), sizeof(Stored));
  return element;
}

/// One sign, 5 bits of exponent with bias 15, 10 of fraction.
float from_half(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16, exponent = bits >> 10 & 0x1fu,
                      fraction = bits & 0x3ffu;
  // Zero and the subnormal ones, fraction * 2^-24, are exact as products; the others have the same fraction
  // and an exponent with bias 127, which is all ones for infinity and NaN in both.
  const auto small = std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24f);
  const std::uint32_t large = (exponent == 0x1f ? 0xffu : exponent + 112) << 23 | fraction << 13;
  return std::bit_cast<float>(sign | (exponent == 0 ? small : large));
}

/// The upper half of a float.
float from_bfloat(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

}  // namespace

std::size_t bytes_of(std::string_view dtype) {
  return dtype == "F64" ? 8 : dtype == "F32" ? 4 : is_floating(dtype) ? 2 : dtype == "BOOL" ? 1 : 0;
}

bool is_floating(std::string_view dtype) {
  return dtype == "F16" || dtype == "BF16" || dtype == "F32" || dtype == "F64";
}

template <class T> Index find_overflow(std::string_view dtype, const char* from, Index count) {
  if (bytes_of(dtype) <= sizeof(T)) return count;
  for (Index i = 0; i < count; ++i) {
    const auto element = stored_at<double>(from, i);
    if (std::isfinite(element) && std::isinf(static_cast<T>(element))) return i;
  }
  return count;
}

template <class T> void convert(std::string_view dtype, const char* from, Index count, T* to) {
  if (dtype == dtype_of<T>) {
    if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
  } else if (dtype == "F16") {
    for (Index i = 0; i < count; ++i) to[i] = from_half(stored_at<std::uint16_t>(from, i));
  } else if (dtype == "BF16") {
    for (Index i = 0; i < count; ++i) to[i] = from_bfloat(stored_at<std::uint16_t>(from, i));
  } else if (dtype == "F32") {
    for (Index i = 0; i < count; ++i) to[i] = static_cast<T>(stored_at<float>(from, i));
  } else {
    for (Index i = 0; i < count; ++i) to[i] = static_cast<T>(stored_at<double>(from, i));
  }
}

#define TAPER_INSTANTIATE(T)                                             \
  template Index find_overflow<T>(std::string_view, const char*, Index); \
  template void convert(std::string_view, const char*, Index, T*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io

#include <taper/data/checksum.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

#include <taper/instantiate.hpp>

namespace taper::data {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read as they are in memory");

/// The finalizer of SplitMix64, a permutation in which every bit changes half of the others (Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", 2014).
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

std::uint64_t add(std::uint64_t sum, std::uint64_t word) {
  return mix(sum + 0x9e3779b97f4a7c15u) ^ mix(word + 0x9e3779b97f4a7c15u * (sum | 1));
}

}  // namespace

std::uint64_t checksum(std::string_view bytes, std::uint64_t before) {
  std::uint64_t sum = add(before, bytes.size());
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, std::min(sizeof word, bytes.size() - i));
    sum = add(sum, word);
  }
  return sum;
}

template <class T> std::uint64_t checksum(std::span<const View<const T>> columns) {
  std::uint64_t sum = columns.size();
  for (const View<const T>& column : columns) {
    sum = add(sum, static_cast<std::uint64_t>(column.shape().rank()));
    for (Index axis = 0; axis < column.shape().rank(); ++axis) {
      sum = add(sum, static_cast<std::uint64_t>(column.shape()[axis]));
    }
    const auto size = static_cast<std::size_t>(column.size()) * sizeof(T);
    sum = checksum(std::string_view(reinterpret_cast<const char*>(column.data()), size), sum);
  }
  return sum;
}

#define TAPER_INSTANTIATE(T) template std::uint64_t checksum(std::span<const View<const T>>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::data

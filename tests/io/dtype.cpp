#include <taper/io/dtype.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "../check.hpp"

using namespace taper;

namespace {

/// The bytes of these elements, behind one more byte, so that they are not aligned.
template <class Stored> std::string bytes_of_all(const std::vector<Stored>& elements) {
  std::string bytes(1 + elements.size() * sizeof(Stored), 'x');
  if (!elements.empty()) std::memcpy(bytes.data() + 1, elements.data(), bytes.size() - 1);
  return bytes;
}

template <class T, class Stored> std::vector<T> read_as(const char* dtype, const std::vector<Stored>& from) {
  std::vector<T> to(from.size());
  io::convert(dtype, bytes_of_all(from).data() + 1, static_cast<Index>(from.size()), to.data());
  return to;
}

template <class T> T half(std::uint16_t bits) {
  return read_as<T>("F16", std::vector<std::uint16_t>{bits})[0];
}

template <class T> T bfloat(std::uint16_t bits) {
  return read_as<T>("BF16", std::vector<std::uint16_t>{bits})[0];
}

float single(double element) {
  return read_as<float>("F64", std::vector<double>{element})[0];
}

/// What a number of so many bits of exponent and fraction means, from its definition.
double by_definition(std::uint16_t bits, int exponent_bits, int fraction_bits) {
  const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1),
            bias = (1 << (exponent_bits - 1)) - 1;
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

bool same(double a, double b) {
  return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

}  // namespace

TEST_CASE_TEMPLATE("convert: halves written by hand", T, float, double) {
  CHECK(half<T>(0x3c00) == 1);
  CHECK(half<T>(0xc000) == -2);
  CHECK(half<T>(0x3555) == T(0x1.554p-2));   // nearly 1/3
  CHECK(half<T>(0x7bff) == 65504);           // the largest
  CHECK(half<T>(0x0400) == T(0x1p-14));      // the smallest normal one
  CHECK(half<T>(0x03ff) == T(0x1.ff8p-15));  // the largest subnormal one
  CHECK(half<T>(0x0001) == T(0x1p-24));      // the smallest
  CHECK(half<T>(0x8001) == T(-0x1p-24));
  CHECK(same(half<T>(0x0000), 0.0));
  CHECK(same(half<T>(0x8000), -0.0));
  CHECK(half<T>(0x7c00) == std::numeric_limits<T>::infinity());
  CHECK(half<T>(0xfc00) == -std::numeric_limits<T>::infinity());
  CHECK(std::isnan(half<T>(0x7c01)));
  CHECK(std::isnan(half<T>(0xfe00)));
}

TEST_CASE_TEMPLATE("convert: bfloats written by hand", T, float, double) {
  CHECK(bfloat<T>(0x3f80) == 1);
  CHECK(bfloat<T>(0xc000) == -2);
  CHECK(bfloat<T>(0x4049) == T(3.140625));
  CHECK(bfloat<T>(0x7f7f) == T(0x1.fep127));  // the largest
  CHECK(bfloat<T>(0x0080) == T(0x1p-126));    // the smallest normal one
  CHECK(bfloat<T>(0x0001) == T(0x1p-133));    // the smallest
  CHECK(same(bfloat<T>(0x8000), -0.0));
  CHECK(bfloat<T>(0x7f80) == std::numeric_limits<T>::infinity());
  CHECK(std::isnan(bfloat<T>(0xff81)));
}

TEST_CASE_TEMPLATE("convert: all 65,536 halves and bfloats, against their definition", T, float, double) {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto stored = static_cast<std::uint16_t>(bits);
    wrong += !same(half<T>(stored), by_definition(stored, 5, 10));
    wrong += !same(bfloat<T>(stored), by_definition(stored, 8, 7));
  }
  CHECK(wrong == 0);
}

TEST_CASE("convert: F64 to float rounds to the nearest, and to even between two") {
  CHECK(single(1 + 0x1p-24) == 1);                       // between 1 and the next
  CHECK(single(1 + 0x1.8p-23) == 1 + 0x1p-22f);          // between the next and the one after it
  CHECK(single(1 + 0x1p-24 + 0x1p-52) == 1 + 0x1p-23f);  // a little more than between
  CHECK(single(0.1) == 0x1.99999ap-4f);
  CHECK(single(0x1p-150) == 0);  // between 0 and the smallest
  CHECK(single(0x1.8p-149) == 0x1p-148f);
  CHECK(single(0x1.0000000000001p-150) == 0x1p-149f);
  CHECK(same(single(-1e-300), -0.0));
  CHECK(single(std::numeric_limits<double>::infinity()) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(single(std::numeric_limits<double>::quiet_NaN())));
  CHECK(read_as<double>("F32", std::vector<float>{0.1f, 0x1p-149f}) ==
        std::vector<double>{0x1.99999ap-4, 0x1p-149});
}

TEST_CASE("convert: the same dtype keeps every bit, signalling NaNs too; nothing is nothing") {
  const std::vector<std::uint32_t> bits{0x7fa12345, 0x80000000, 1};
  const std::vector<float> read = read_as<float>("F32", bits);
  CHECK(std::memcmp(read.data(), bits.data(), 12) == 0);
  CHECK(read_as<double>("F16", std::vector<std::uint16_t>{}).empty());
  io::convert<float>("F32", nullptr, 0, nullptr);
}

TEST_CASE("find_overflow: what rounds to infinity and was none") {
  constexpr double largest = 0x1.fffffep127;
  const auto at = [](const std::vector<double>& elements) {
    const std::string bytes = bytes_of_all(elements);
    return io::find_overflow<float>("F64", bytes.data() + 1, static_cast<Index>(elements.size()));
  };
  CHECK(at({largest, -largest, 0x1.fffffefffffffp127, 0, -INFINITY, INFINITY, NAN}) == 7);
  CHECK(at({0, 0x1.ffffffp127}) == 1);  // between the largest and the power of two beyond it
  CHECK(at({0, 0, -1e300, 1e300}) == 2);
  CHECK(at({}) == 0);
  const std::string half(2, '\xff');
  CHECK(io::find_overflow<double>("F64", bytes_of_all(std::vector<double>{1e300}).data() + 1, 1) == 1);
  CHECK(io::find_overflow<float>("BF16", half.data(), 1) == 1);
}

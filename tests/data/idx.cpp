#include <taper/data/idx.hpp>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"
#include "files.hpp"
#include "limited_memory.hpp"

using namespace taper::data;
using taper::Index;
using taper::Shape;
using taper::Tensor;

namespace {

/// The bytes of a number, the most significant one first.
std::string big_endian_bytes(std::uint64_t value, int count) {
  std::string text;
  for (int k = count - 1; k >= 0; --k) text += static_cast<char>(value >> (8 * k));
  return text;
}

std::string idx_header(unsigned char type, std::initializer_list<std::uint64_t> dimensions) {
  std::string text{'\0', '\0', static_cast<char>(type), static_cast<char>(dimensions.size())};
  for (const std::uint64_t dimension : dimensions) text += big_endian_bytes(dimension, 4);
  return text;
}

const std::string two_images =
    idx_header(8, {2, 2, 3}) + std::string("\0\xff\x33\x66\x99\xcc\1\2\3\4\5\6", 12);
const std::string two_labels = idx_header(8, {2}) + "\7\3";

template <class T> std::vector<T> elements(const Tensor<T>& tensor) {
  return {tensor.begin(), tensor.end()};
}

}  // namespace

TEST_CASE_TEMPLATE("parse_idx: elements of all types", T, float, double) {
  const Tensor<T> bytes = parse_idx<T>(two_images);
  CHECK(bytes.shape() == Shape{2, 2, 3});
  CHECK(elements(bytes) == std::vector<T>{0, 255, 51, 102, 153, 204, 1, 2, 3, 4, 5, 6});
  CHECK(elements(parse_idx<T>(idx_header(9, {2}) + "\x80\x7f")) == std::vector<T>{-128, 127});
  CHECK(elements(parse_idx<T>(idx_header(0x0b, {2}) + std::string("\x80\0\1\2", 4))) ==
        std::vector<T>{-32768, 258});
  CHECK(elements(parse_idx<T>(idx_header(0x0c, {2}) + std::string("\xff\xff\xff\xfe\0\1\0\0", 8))) ==
        std::vector<T>{-2, 65536});
  CHECK(elements(parse_idx<T>(idx_header(0x0d, {1}) + big_endian_bytes(0xbfc00000, 4))) ==
        std::vector<T>{-1.5});
  CHECK(elements(parse_idx<T>(idx_header(0x0e, {1}) + big_endian_bytes(0x4002000000000000, 8))) ==
        std::vector<T>{2.25});
  CHECK(parse_idx<T>(idx_header(8, {}) + "\5").shape() == Shape{});
  CHECK(parse_idx<T>(idx_header(8, {0, 28, 28})).shape() == Shape{0, 28, 28});
  CHECK(parse_idx<T>(idx_header(0x0e, {1, 1, 1, 1}) + big_endian_bytes(0x7ff0000000000000, 8))[0] ==
        std::numeric_limits<T>::infinity());
}

TEST_CASE("parse_idx: a number that is too large for float") {
  const std::string large =
      idx_header(0x0e, {2}) + std::string(8, '\0') + big_endian_bytes(0x7fe0000000000000, 8);
  CHECK(std::isfinite(parse_idx<double>(large)[1]));
  CHECK_ERROR(parse_idx<float>(large, "f"), "[read_idx] f, element 1: 8.98847e+307 times 1 is too large");
}

TEST_CASE("parse_idx: every kind of damage is named") {
  const auto parse = [](const std::string& bytes) { return parse_idx<float>(bytes, "f"); };
  CHECK_ERROR(parse(""), "[read_idx] f has 0 bytes: expected at least the 4 that an IDX file begins with");
  CHECK_ERROR(parse(std::string(3, '\0')), "has 3 bytes");
  CHECK_ERROR(parse(std::string("\1\0\10\1", 4) + two_images),
              "begins with 01 00 08 01: expected an IDX file");
  CHECK_ERROR(parse(std::string("\0\1\10\1", 4) + two_images), "begins with 00 01 08 01");
  for (const char type : std::string("\0\7\n\17\x88", 5)) {
    CHECK_ERROR(parse(idx_header(static_cast<unsigned char>(type), {1}) + std::string(8, '\0')),
                "expected an IDX file");
  }
  CHECK_ERROR(parse("<!DOCTYPE html>"), "begins with 3c 21 44 4f");
  CHECK_ERROR(parse(gzip(two_images)), "begins with 1f 8b 08");  // parse_idx takes what is unpacked
  CHECK_ERROR(parse(idx_header(8, {1, 1, 1, 1, 1}) + "\1"), "f has 5 dimensions: expected at most 4");
  CHECK_ERROR(parse(two_images.substr(0, 15)),
              "f has 15 bytes: expected 16 before the elements of 3 dimensions");
  CHECK_ERROR(parse(two_images.substr(0, 4)), "f has 4 bytes: expected 16");
  CHECK_ERROR(parse(two_images.substr(0, two_images.size() - 1)),
              "f has 11 bytes of elements: expected 12 for 2x2x3 of 1 each");
  CHECK_ERROR(parse(two_images + "\1"), "f has 13 bytes of elements: expected 12");
  CHECK_ERROR(parse(idx_header(0x0e, {2}) + std::string(9, '\0')), "has 9 bytes of elements: expected 16");
  // What could exhaust the memory or overflow, from a few bytes.
  CHECK_ERROR(parse(idx_header(8, {0xffffffff})), "has 0 bytes of elements: expected 4294967295");
  CHECK_ERROR(parse(idx_header(0x0e, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff})),
              "product is too large: expected 0 bytes");
  CHECK_ERROR(parse(idx_header(8, {0x80000000, 0x80000000, 4})), "product is too large");
}

TEST_CASE("parse_idx: without memory") {
  const std::size_t size = std::size_t{40} << 20;
  const std::string bytes = idx_header(8, {size}) + std::string(size, '\1');
  const std::string problem = error_within(std::size_t{64} << 20, [&] { parse_idx<double>(bytes, "f"); });
  if (!problem.empty()) CHECK(problem.find("expected as much memory to be free") != std::string::npos);
}

TEST_CASE("read_idx: plain and packed files") {
  const TempFile plain(two_images), packed(gzip(two_images));
  CHECK(elements(read_idx<float>(plain.path())) == elements(parse_idx<float>(two_images)));
  CHECK(elements(read_idx<float>(packed.path())) == elements(parse_idx<float>(two_images)));
  CHECK_ERROR(read_idx<float>("/nowhere/at-all"), "[read_idx] /nowhere/at-all: no such file");
  CHECK_ERROR(read_idx<float>("/"), "is a directory");
  const TempFile cut(gzip(two_images).substr(0, 20));
  CHECK_ERROR(read_idx<float>(cut.path()), "[read_idx] ", cut.path().string());
}

TEST_CASE_TEMPLATE("read_idx_images: images and labels, scaled, the first ones", T, float, double) {
  const TempFile images(gzip(two_images)), labels(two_labels);
  const Dataset<T> set = read_idx_images<T>(images.path(), labels.path());
  CHECK(set.x.shape() == Shape{2, 1, 2, 3});
  CHECK(set.y.shape() == Shape{2, 1});
  CHECK(set.x[1] == 1);
  CHECK(set.x[2] == doctest::Approx(0.2));
  CHECK(elements(set.y) == std::vector<T>{7, 3});
  const Dataset<T> one = read_idx_images<T>(images.path(), labels.path(), {.scale = 2, .limit = 1});
  CHECK(one.x.shape() == Shape{1, 1, 2, 3});
  CHECK(elements(one.x) == std::vector<T>{0, 510, 102, 204, 306, 408});
  CHECK(elements(one.y) == std::vector<T>{7});
  CHECK(read_idx_images<T>(images.path(), labels.path(), {.limit = 100}).rows() == 2);
  const TempFile channels(idx_header(8, {2, 2, 1, 3}) + std::string(12, '\1'));
  CHECK(read_idx_images<T>(channels.path(), labels.path()).x.shape() == Shape{2, 2, 1, 3});
}

TEST_CASE("read_idx_images: files that do not fit each other") {
  const TempFile images(two_images), labels(two_labels);
  const auto error = [](const TempFile& x, const TempFile& y, const IdxOptions& options = {}) {
    return error_text([&] { read_idx_images<float>(x.path(), y.path(), options); });
  };
  const auto mentions = [](const std::string& text, const std::string& words) {
    CAPTURE(text);
    CHECK(text.starts_with("[read_idx] "));
    CHECK(text.find(words) != std::string::npos);
  };
  mentions(error(labels, labels), " holds 2: expected images, n x rows x columns");
  mentions(error(images, images), " holds 2x2x3: expected n labels");
  const TempFile three(idx_header(8, {3}) + "\1\2\3");
  mentions(error(images, three), " holds 2 images and ");
  mentions(error(images, three), " 3 labels: expected as many");
  const TempFile none(idx_header(8, {0, 2, 3})), no_labels(idx_header(8, {0}));
  mentions(error(none, no_labels), " holds 0x2x3: expected at least one image");
  const TempFile flat(idx_header(8, {2, 0, 3}));
  mentions(error(flat, labels), "expected at least one image");
  const TempFile negative(idx_header(9, {2}) + "\1\xff"),
      half(idx_header(0x0d, {2}) + big_endian_bytes(0x3f000000, 4) + std::string(4, '\0'));
  mentions(error(images, negative), ", element 1 is -1: expected labels, which are whole numbers from 0 on");
  mentions(error(images, half), ", element 0 is 0.5");
  const TempFile not_finite(idx_header(0x0d, {2, 1, 1}) + big_endian_bytes(0x7fc00000, 4) +
                            std::string(4, '\0'));
  mentions(error(not_finite, labels), "has elements that are not finite");
  mentions(error(images, labels, {.scale = std::nan("")}), "a scale of nan: expected a finite number");
  mentions(error(images, labels, {.scale = 1e300}), " is too large: expected a number that a float holds");
  mentions(error(images, labels, {.limit = -1}), "-1 images at most: expected 0 or more");
}

TEST_CASE("parse_idx: damaged bytes give a tensor or an Error, nothing else") {
  taper::Rng rng(5);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = two_images.substr(0, static_cast<std::size_t>(rng.below(29)));
    for (Index k = rng.below(4); k > 0 && !bytes.empty(); --k) {
      bytes[static_cast<std::size_t>(rng.below(static_cast<Index>(bytes.size())))] =
          static_cast<char>(rng.below(2) == 0 ? rng.below(16) : rng.below(256));
    }
    try {
      const Tensor<float> read = parse_idx<float>(bytes);
      REQUIRE(read.size() <= static_cast<Index>(bytes.size()));
    } catch (const taper::Error& error) {
      REQUIRE(std::string(error.what()).starts_with("[read_idx] "));
    }
  }
}

TEST_CASE("read_idx_images: MNIST") {
  const auto train = real_data("mnist/train-images-idx3-ubyte.gz");
  if (train.empty()) return;
  const auto read = [&](const char* images, const char* labels, Index limit) {
    return read_idx_images<float>(train.parent_path() / images, train.parent_path() / labels,
                                  {.limit = limit});
  };
  const auto counts = [](const Dataset<float>& set) {
    std::vector<Index> result;
    for (int digit = 0; digit < 10; ++digit) {
      result.push_back(std::ranges::count(set.y, static_cast<float>(digit)));
    }
    return result;
  };
  const auto all = read("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", 0);
  CHECK(all.x.shape() == Shape{60000, 1, 28, 28});
  CHECK(counts(all) == std::vector<Index>{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949});
  CHECK(all.x.vector().maxCoeff() == 1);
  CHECK(all.x.vector().minCoeff() == 0);
  CHECK(all.x.vector().cast<double>().mean() == doctest::Approx(0.1306605).epsilon(1e-5));
  const auto test = read("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", 0);
  CHECK(test.x.shape() == Shape{10000, 1, 28, 28});
  CHECK(counts(test) == std::vector<Index>{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009});
}

#include <taper/data/idx.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/file.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {
namespace {

constexpr const char* idx_reader = "read_idx";

enum class Type : unsigned char {
  unsigned_byte = 0x08,
  signed_byte = 0x09,
  int16 = 0x0b,
  int32 = 0x0c,
  float32 = 0x0d,
  float64 = 0x0e
};

/// The bytes of an element; 0 for a type that there is not.
Index bytes_of(Type type) {
  switch (type) {
    case Type::unsigned_byte:
    case Type::signed_byte:
      return 1;
    case Type::int16:
      return 2;
    case Type::int32:
    case Type::float32:
      return 4;
    case Type::float64:
      return 8;
  }
  return 0;
}

/// A number of so many bytes, the most significant one first.
template <class Unsigned> Unsigned big_endian(const char* bytes) {
  Unsigned value = 0;
  for (std::size_t k = 0; k < sizeof(Unsigned); ++k) {
    value = static_cast<Unsigned>(value << 8 | static_cast<unsigned char>(bytes[k]));
  }
  return value;
}

/// An array as it stands in the bytes of a file.
struct Stored {
  Type type{};
  Shape shape;
  std::string_view elements;
};

std::string hexadecimal(std::string_view bytes) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    if (!text.empty()) text += ' ';
    text += digits[value / 16], text += digits[value % 16];
  }
  return text;
}

Stored parse(std::string_view bytes, std::string_view source) {
  constexpr std::size_t magic = 4, size_of_dimension = 4;
  if (bytes.size() < magic) {
    throw Error(idx_reader, source, " has ", bytes.size(), " bytes: expected at least the ", magic,
                " that an IDX file begins with");
  }
  Stored stored;
  stored.type = static_cast<Type>(bytes[2]);
  if (bytes[0] != 0 || bytes[1] != 0 || bytes_of(stored.type) == 0) {
    throw Error(idx_reader, source, " begins with ", hexadecimal(bytes.substr(0, magic)),
                ": expected an IDX file, 00 00, a type from 08 to 0e, and the number of dimensions");
  }
  const std::size_t rank = static_cast<unsigned char>(bytes[3]);
  if (rank > static_cast<std::size_t>(Shape::max_rank)) {
    throw Error(idx_reader, source, " has ", rank, " dimensions: expected at most ", Shape::max_rank);
  }
  const std::size_t header = magic + rank * size_of_dimension;
  if (bytes.size() < header) {
    throw Error(idx_reader, source, " has ", bytes.size(), " bytes: expected ", header,
                " before the elements of ", rank, " dimensions");
  }
  stored.elements = bytes.substr(header);
  std::array<Index, Shape::max_rank> dimensions{};
  for (std::size_t axis = 0; axis < rank; ++axis) {
    dimensions[axis] = big_endian<std::uint32_t>(bytes.data() + magic + axis * size_of_dimension);
  }
  try {
    stored.shape = Shape(dimensions.data(), static_cast<Index>(rank));
  } catch (const Error&) {
    throw Error(idx_reader, source, " has dimensions whose product is too large: expected ",
                stored.elements.size(), " bytes of elements");
  }
  // No product of bytes overflows: Shape has room for the widest scalar.
  const auto expected = static_cast<std::size_t>(stored.shape.size() * bytes_of(stored.type));
  if (stored.elements.size() != expected) {
    throw Error(idx_reader, source, " has ", stored.elements.size(), " bytes of elements: expected ",
                expected, " for ", stored.shape, " of ", bytes_of(stored.type), " each");
  }
  return stored;
}

/// The first elements of an array, each as `number` reads it and times a scale.
template <std::size_t size, class T, class Number>
void convert(const Stored& from, double scale, Tensor<T>& to, std::string_view source, const Number& number) {
  const char* bytes = from.elements.data();
  for (Index i = 0; i < to.size(); ++i, bytes += size) {
    const auto value = static_cast<double>(number(bytes));
    to[i] = static_cast<T>(scale * value);
    if (!std::isfinite(to[i]) && std::isfinite(value)) {
      throw Error(idx_reader, source, ", element ", i, ": ", value, " times ", scale,
                  " is too large: expected a number that a ", sizeof(T) == 4 ? "float" : "double", " holds");
    }
  }
}

template <class T> void convert(const Stored& from, double scale, Tensor<T>& to, std::string_view source) {
  switch (from.type) {
    case Type::unsigned_byte:
      return convert<1>(from, scale, to, source, [](const char* at) { return big_endian<std::uint8_t>(at); });
    case Type::signed_byte:
      return convert<1>(from, scale, to, source,
                        [](const char* at) { return static_cast<std::int8_t>(*at); });
    case Type::int16:
      return convert<2>(from, scale, to, source, [](const char* at) {
        return static_cast<std::int16_t>(big_endian<std::uint16_t>(at));
      });
    case Type::int32:
      return convert<4>(from, scale, to, source, [](const char* at) {
        return static_cast<std::int32_t>(big_endian<std::uint32_t>(at));
      });
    case Type::float32:
      return convert<4>(from, scale, to, source,
                        [](const char* at) { return std::bit_cast<float>(big_endian<std::uint32_t>(at)); });
    case Type::float64:
      return convert<8>(from, scale, to, source,
                        [](const char* at) { return std::bit_cast<double>(big_endian<std::uint64_t>(at)); });
  }
}

template <class T> Tensor<T> images_of(const Stored& stored, Index n, double scale, std::string_view source) {
  const Shape& shape = stored.shape;
  Tensor<T> x(shape.rank() == 3 ? Shape{n, 1, shape[1], shape[2]} : shape.with(0, n));
  convert(stored, scale, x, source);
  if (!std::ranges::all_of(x, [](T value) { return std::isfinite(value); })) {
    throw Error(idx_reader, source, " has elements that are not finite: expected finite numbers");
  }
  return x;
}

template <class T> Tensor<T> labels_of(const Stored& stored, Index n, std::string_view source) {
  Tensor<T> y(Shape{n, 1});
  convert(stored, 1, y, source);
  for (Index i = 0; i < n; ++i) {
    if (y[i] >= 0 && y[i] == std::floor(y[i]) && std::isfinite(y[i])) continue;
    throw Error(idx_reader, source, ", element ", i, " is ", y[i],
                ": expected labels, which are whole numbers from 0 on");
  }
  return y;
}

}  // namespace

template <class T> Tensor<T> parse_idx(std::string_view bytes, std::string_view source) {
  const Stored stored = parse(bytes, source);
  Tensor<T> result(stored.shape);
  convert(stored, 1, result, source);
  return result;
}

template <class T> Tensor<T> read_idx(const std::string& path) {
  return parse_idx<T>(read_file(path, idx_reader), path);
}

template <class T>
Dataset<T> read_idx_images(const std::string& images, const std::string& labels, const IdxOptions& options) {
  if (!std::isfinite(options.scale)) {
    throw Error(idx_reader, "a scale of ", options.scale, ": expected a finite number");
  }
  if (options.limit < 0) throw Error(idx_reader, options.limit, " images at most: expected 0 or more");
  const std::string label_bytes = read_file(labels, idx_reader), image_bytes = read_file(images, idx_reader);
  const Stored y = parse(label_bytes, labels), x = parse(image_bytes, images);
  if (x.shape.rank() < 3) {
    throw Error(idx_reader, images, " holds ", x.shape,
                ": expected images, n x rows x columns or n x channels x rows x columns");
  }
  if (y.shape.rank() != 1) throw Error(idx_reader, labels, " holds ", y.shape, ": expected n labels");
  if (x.shape[0] != y.shape[0]) {
    throw Error(idx_reader, images, " holds ", x.shape[0], " images and ", labels, ' ', y.shape[0],
                " labels: expected as many");
  }
  if (x.shape.size() == 0)
    throw Error(idx_reader, images, " holds ", x.shape, ": expected at least one image");
  const Index n = options.limit == 0 ? x.shape[0] : std::min(options.limit, x.shape[0]);
  return {images_of<T>(x, n, options.scale, images), labels_of<T>(y, n, labels), {}, "label"};
}

#define TAPER_INSTANTIATE(T)                                        \
  template Tensor<T> parse_idx(std::string_view, std::string_view); \
  template Tensor<T> read_idx(const std::string&);                  \
  template Dataset<T> read_idx_images(const std::string&, const std::string&, const IdxOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::data

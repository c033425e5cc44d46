#include <taper/data/file.hpp>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>

#include <taper/autodiff/error.hpp>
#include <taper/data/within_memory.hpp>

namespace taper::data {
namespace {

constexpr std::string_view gzip_magic = "\x1f\x8b";

/// zlib's state for unpacking gzip, released at the end of its scope.
class Inflater {
 public:
  Inflater() {
    constexpr int gzip_only = 16;
    if (inflateInit2(&stream, MAX_WBITS + gzip_only) != Z_OK) throw std::bad_alloc();
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream); }

  z_stream stream{};
};

std::string inflate_all(std::string_view packed, const std::string& name, const char* where) {
  const std::uint64_t most =
      std::max<std::uint64_t>(most_unpacked_small, most_unpacked_ratio * packed.size());
  Inflater inflater;
  z_stream& stream = inflater.stream;
  std::string text;
  std::array<char, 1 << 16> piece;
  while (true) {
    // zlib counts in 32 bits, so the packed bytes are handed over in portions.
    constexpr std::size_t portion = std::size_t{1} << 30;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream.avail_in = static_cast<uInt>(std::min(packed.size(), portion));
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    const uInt offered = stream.avail_in;
    const int status = inflate(&stream, Z_NO_FLUSH);
    packed.remove_prefix(offered - stream.avail_in);
    const std::size_t count = piece.size() - stream.avail_out;
    if (count > most - text.size()) {
      throw Error(where, name, ": the gzip data unpacks to more than ", most, " bytes: expected at most ",
                  most_unpacked_ratio, " times its own, or ", most_unpacked_small,
                  " (or a file that is unpacked)");
    }
    text.append(piece.data(), count);

    if (status == Z_STREAM_END) {
      if (packed.find_first_not_of('\0') == std::string_view::npos) return text;
      if (!packed.starts_with(gzip_magic)) {
        throw Error(where, name, ": ", packed.size(), " bytes after the gzip data that are not gzip");
      }
      inflateReset(&stream);
    } else if (status == Z_BUF_ERROR) {
      throw Error(where, name, ": the gzip data is cut short, after ", text.size(), " unpacked bytes");
    } else if (status == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (status != Z_OK) {
      throw Error(where, name, ": the gzip data is damaged after ", text.size(), " unpacked bytes (",
                  stream.msg != nullptr ? stream.msg : "not gzip", ")");
    }
  }
}

}  // namespace

std::string gunzip(std::string_view packed, const std::string& source, const char* where) {
  return within_memory([&] { return inflate_all(packed, source, where); }, source, where);
}

// Only regular files are read: a pipe could make the reader wait for ever.
void require_regular(const std::string& path, const char* where) {
  std::error_code problem;
  const auto type = std::filesystem::status(path, problem).type();
  if (type == std::filesystem::file_type::not_found) throw Error(where, path, ": no such file");
  if (type == std::filesystem::file_type::none) throw Error(where, path, ": ", problem.message());
  if (type == std::filesystem::file_type::directory) {
    throw Error(where, path, " is a directory: expected a file");
  }
  if (type != std::filesystem::file_type::regular) {
    throw Error(where, path, " is a device, pipe or socket: expected a regular file");
  }
}

std::string read_bytes(const std::string& path, const char* where) {
  require_regular(path, where);
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rb"), close);
  if (!file) throw Error(where, path, " cannot be opened: ", std::strerror(errno));
  std::error_code problem;
  const auto size = std::filesystem::file_size(path, problem);
  if (problem) throw Error(where, path, ": ", problem.message());
  std::string bytes =
      within_memory([&] { return std::string(static_cast<std::size_t>(size), '\0'); }, path, where);
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file.get()));
  if (std::ferror(file.get()) != 0) throw Error(where, path, " cannot be read: ", std::strerror(errno));
  return bytes;
}

std::string read_file(const std::string& path, const char* where) {
  std::string bytes = read_bytes(path, where);
  return bytes.starts_with(gzip_magic) ? gunzip(bytes, path, where) : bytes;
}

std::string read_standard_input(const char* where) {
  const char* const source = "standard input";
  std::string bytes = within_memory(
      [&] {
        std::string all, piece(std::size_t{1} << 16, '\0');
        while (const std::size_t count = std::fread(piece.data(), 1, piece.size(), stdin)) {
          all.append(piece.data(), count);
        }
        return all;
      },
      source, where);
  if (std::ferror(stdin) != 0) throw Error(where, source, " cannot be read: ", std::strerror(errno));
  return bytes.starts_with(gzip_magic) ? gunzip(bytes, source, where) : bytes;
}

}  // namespace taper::data

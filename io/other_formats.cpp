#include <taper/io/other_formats.hpp>

#include <algorithm>
#include <array>

#include <taper/data/quote.hpp>

namespace taper::io {
namespace {

struct Format {
  std::string_view begins_with, is;
};

using namespace std::string_view_literals;

constexpr std::array binary{
    Format{"PK\3\4"sv, "a zip archive, as torch.save (.pt, .pth) and numpy.savez (.npz) write it"sv},
    Format{"\x1f\x8b"sv, "compressed with gzip"sv},
    Format{"\x80\2"sv, "a pickle of Python"sv},
    Format{"\x80\3"sv, "a pickle of Python"sv},
    Format{"\x80\4"sv, "a pickle of Python"sv},
    Format{"\x80\5"sv, "a pickle of Python"sv},
    Format{"\x93NUMPY"sv, "an array of NumPy (.npy)"sv},
    Format{"\x89HDF"sv, "an HDF5 file, as Keras writes it (.h5)"sv},
    Format{"GGUF"sv, "a GGUF file"sv},
};

// In lower case.
constexpr std::array text{
    Format{"<!doctype html"sv, "a page in HTML, not the file that it leads to"sv},
    Format{"<html"sv, "a page in HTML, not the file that it leads to"sv},
    Format{"<?xml"sv, "an XML text"sv},
    Format{"version https://git-lfs"sv, "a pointer of Git LFS, not the file itself (see git lfs pull)"sv},
    Format{"/annex/objects/"sv, "a pointer of git-annex, not the file itself (see git annex get)"sv},
    Format{"{"sv, "a JSON text"sv},
};

bool is_printable(char c) {
  return (c >= ' ' && c <= '~') || c == '\n' || c == '\r' || c == '\t';
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// A message of protocol buffers that begins with the version of the format, a small number, and the name of
// the program that wrote it: fields 1 and 2 of an ONNX ModelProto.
bool is_onnx(std::string_view bytes) {
  return bytes.size() > 4 && bytes[0] == '\x08' && bytes[1] > 0 && bytes[1] < 32 && bytes[2] == '\x12' &&
         is_printable(bytes[4]);
}

}  // namespace

std::string describe_other_format(std::string_view bytes) {
  for (const Format& format : binary) {
    if (bytes.starts_with(format.begins_with)) return std::string(format.is);
  }
  if (is_onnx(bytes)) return "an ONNX model";

  if (bytes.starts_with("\xef\xbb\xbf")) bytes.remove_prefix(3);
  const std::size_t blank = bytes.find_first_not_of(" \t\r\n");
  if (blank == bytes.npos) return "";
  std::string begin(bytes.substr(blank, 64));
  const bool is_text = std::ranges::all_of(begin, is_printable);
  const std::string shown = begin.substr(0, begin.find_first_of("\r\n"));
  std::ranges::transform(begin, begin.begin(), lower);
  for (const Format& format : text) {
    if (begin.starts_with(format.begins_with)) return std::string(format.is);
  }
  return is_text ? "a text that begins with " + data::quote(shown) : "";
}

}  // namespace taper::io

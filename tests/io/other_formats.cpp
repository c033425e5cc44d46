#include <taper/io/other_formats.hpp>

#include <taper/io/archive.hpp>

#include "../check.hpp"
#include "../data/files.hpp"

using namespace taper;
using namespace std::string_literals;

namespace {

std::string refusal(const std::string& bytes) {
  return error_text([&] { io::Archive(bytes, "model"); });
}

}  // namespace

TEST_CASE("Archive: a file of another format is told by its first bytes") {
  const auto is = [](const std::string& bytes, const std::string& what) {
    CAPTURE(bytes);
    CHECK(refusal(bytes) == "[load] model is " + what + ": expected a safetensors file");
  };
  const std::string page = "a page in HTML, not the file that it leads to";
  is("<!DOCTYPE html>\n<html lang=\"en\"><head>", page);
  is("\n  <!doctype HTML PUBLIC \"-//W3C//DTD", page);
  is("\xef\xbb\xbf<html>\n<body>\xc3\xa9</body>", page);
  is("<?xml version=\"1.0\"?><Error>", "an XML text");
  is("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12\n",
     "a pointer of Git LFS, not the file itself (see git lfs pull)");
  is("/annex/objects/SHA256E-s12--4d7a21.safetensors\n",
     "a pointer of git-annex, not the file itself (see git annex get)");
  is("PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl"s,
     "a zip archive, as torch.save (.pt, .pth) and numpy.savez (.npz) write it");
  is("\x80\x02}q\0X\x06\0\0\0weight"s, "a pickle of Python");
  is("\x80\x04\x95\x20\0\0\0\0\0\0\0}\x94"s, "a pickle of Python");
  is("\x80\x02\x8a\nl\xfc\x9c\x46\xf9\x20j\xa8P\x19.", "a pickle of Python");
  is(gzip("anything at all"), "compressed with gzip");
  // With a length of the header that fits, as gzip without a time has it.
  is("\x1f\x8b\x08\0\0\0\0\0\0\x03"s + std::string(600'000, 'x'), "compressed with gzip");
  is("\x93NUMPY\x01\0v\0{'descr': '<f4'}"s, "an array of NumPy (.npy)");
  is("\x89HDF\r\n\x1a\n\0\0\0\0"s, "an HDF5 file, as Keras writes it (.h5)");
  is("GGUF\x03\0\0\0\0\0\0\0"s, "a GGUF file");
  is("\x08\x08\x12\x07pytorch\x1a", "an ONNX model");
  is("{\"weight\": [1, 2]}", "a JSON text");
  is("Entry not found\nsorry", "a text that begins with \"Entry not found\"");
}

TEST_CASE("Archive: what looks like none of them, or is a damaged safetensors file, is not guessed at") {
  CHECK(io::describe_other_format("").empty());
  CHECK(io::describe_other_format(" \n").empty());
  CHECK(io::describe_other_format(std::string(16, '\0')).empty());
  CHECK(io::describe_other_format("\x08\x08\x12").empty());
  // A header of 640 bytes that is cut short begins like a pickle.
  const std::string cut = "\x80\x02\0\0\0\0\0\0{\"weight\":"s;
  CHECK(refusal(cut).find("expected a header of 640") != std::string::npos);
  CHECK(refusal("<htm").find("has 4 bytes") != std::string::npos);
  // And one that is whole, but begins with a blank, is read.
  CHECK(io::Archive("\x80\x02\0\0\0\0\0\0 {}"s + std::string(637, ' '), "model").tensors().empty());
}

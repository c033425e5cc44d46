#include <taper/io/archive.hpp>

#include <string>

#include <taper/io/safetensors.hpp>
#include <taper/nn/layers/linear.hpp>

#include "../check.hpp"
#include "../data/files.hpp"

using namespace taper;
using io::Archive;

namespace {

/// A file with this header, its length in front of it, and these bytes behind it.
std::string file(const std::string& header, const std::string& data = "") {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
  return bytes + header + data;
}

Archive read(const std::string& header, const std::string& data = "") {
  return Archive(file(header, data), "it");
}

}  // namespace

TEST_CASE("Archive: names, dtypes, shapes and places of tensors, in any order") {
  const Archive archive =
      read(R"( { "b": {"data_offsets":[8,10], "shape":[], "dtype":"F16", "more":[1,"x"]},)"
           R"("__metadata__":{"dtype":"x","shape":"y"}, "empty":{)"
           R"("dtype":"F32","shape":[0,7],"data_offsets":[8,8]},)"
           "\n\t\"\\u00e9\":{\"shape\":[2,1],\"dtype\":\"F32\",\"data_offsets\":[0,8]}} \r\n",
           "0123456789");
  REQUIRE(archive.tensors().size() == 3);
  const io::StoredTensor& b = archive.tensors().at("b");
  CHECK(b.dtype == "F16");
  CHECK(b.shape.empty());
  CHECK(std::string(archive.data(b), 2) == "89");
  CHECK(archive.tensors().at("\xc3\xa9").shape == std::vector<std::uint64_t>{2, 1});
  CHECK(archive.tensors().at("empty").begin == 8);
  CHECK(&archive.require("b", "F16", {}, 2) == &b);
  CHECK(read("{}").tensors().empty());
}

TEST_CASE("Archive: what the format's own reader refuses around the header") {
  const std::string good = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  CHECK(read(good, "x").tensors().size() == 1);
  CHECK_ERROR(read("\xef\xbb\xbf" + good, "x"), "it has a header that is no JSON from byte 1 on");
  CHECK_ERROR(read(good + '\0', "x"), "no JSON from byte 54 on");
  CHECK_ERROR(read(good + std::string("\0junk", 5), "x"), "no JSON from byte 54 on");
  CHECK_ERROR(read(good + "junk", "x"), "no JSON from byte 54 on");
  CHECK_ERROR(read(good + ' ' + good, "x"), "no JSON from byte 55 on");
  CHECK_ERROR(read(good + "//", "x"), "no JSON");
  const std::string long_header = good + std::string(io::most_header_bytes + 1 - good.size(), ' ');
  CHECK_ERROR(read(long_header, "x"), "header of 100000001 bytes: expected at most 100000000");
  CHECK(read(long_header.substr(0, long_header.size() - 1), "x").tensors().size() == 1);
}

TEST_CASE("Archive: values where others belong") {
  for (const char* entry :
       {"7", "null", "\"text\"", "[]", R"({"dtype":"U8","shape":[[1]],"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":[{}],"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":{},"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":7,"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":[true],"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":["1"],"data_offsets":[0,1]})"}) {
    CAPTURE(entry);
    CHECK_ERROR(read(std::string("{\"a\":") + entry + "}", "x"), "\"a\" without a valid shape");
  }
  CHECK_ERROR(read(R"({"a":{"dtype":["U8"],"shape":[1],"data_offsets":[0,1]}})", "x"),
              "\"a\" without a dtype");
  CHECK_ERROR(read(R"({"a":{"x":[[]],"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"),
              "nested deeper");
  CHECK_ERROR(read("{\"a\":{\"x\":" + std::string(1'000'000, '[')), "nested deeper");
  CHECK_ERROR(read(R"({"__metadata__":{"x":{}}})"), "__metadata__");
  CHECK_ERROR(read(R"({"__metadata__":["x"]})"), "__metadata__");
  CHECK_ERROR(read(R"({"__metadata__":{"x":"1","x":"2"}})"), "\"x\" twice");
}

TEST_CASE("Archive: a shape of a million dimensions is not printed whole") {
  std::string shape = "1";
  for (int i = 1; i < 1'000'000; ++i) shape += ",1";
  const Archive archive =
      read("{\"a\":{\"dtype\":\"U8\",\"shape\":[" + shape + "],\"data_offsets\":[0,1]}}", "x");
  CHECK(error_text([&] { archive.require("a", "U8", {1}, 1); }) ==
        "[load] it has \"a\" of shape 1x1x1x1x1x1x1x1x... (1000000 dimensions): expected 1");
}

// Quadratic work would take an hour.
TEST_CASE("Archive: half a million tensors, and saving and loading of 20,000") {
  std::string header;
  for (int i = 0; i < 500'000; ++i) {
    header += (i == 0 ? "{\"" : ",\"") + std::to_string(i) +
              R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  }
  CHECK(read(header + '}').tensors().size() == 500'000);

  struct Many : nn::Layer<float> {
    std::vector<nn::Parameter<float>> all;
    Many() {
      for (int i = 0; i < 20'000; ++i) all.emplace_back(Shape{1});
    }
    Var<float> forward(Var<float> x) const override { return x; }
    void visit(nn::Visitor<float>& m) const override {
      for (std::size_t i = 0; i < all.size(); ++i) m(std::to_string(i).c_str(), all[i]);
    }
  };
  Many model, other;
  model.all.back().value()[0] = 7;
  const TempFile place("");
  io::save(model, place.path());
  io::load(other, place.path());
  CHECK(other.all.back().value()[0] == 7);
}

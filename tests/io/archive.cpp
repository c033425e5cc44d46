#include <taper/io/archive.hpp>

#include <string>

#include <taper/io/load.hpp>
#include <taper/io/save.hpp>
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
  CHECK(&archive.require("b", "F16", {}) == &b);
  CHECK(read("{}").tensors().empty());
}

TEST_CASE("Archive: metadata are texts by name") {
  CHECK(read("{}").metadata().empty());
  const Archive archive =
      read(R"({"__metadata__":{"format":"pt","model":"{\"type\": \"Linear\"}","":"\u00e9","shape":"x"},"a":)"
           R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
           "x");
  CHECK(archive.metadata() ==
        std::map<std::string, std::string>{
            {"", "\xc3\xa9"}, {"format", "pt"}, {"model", "{\"type\": \"Linear\"}"}, {"shape", "x"}});
  CHECK(archive.tensors().size() == 1);
}

TEST_CASE("Archive: single tensors are read, with conversion when asked for") {
  const std::string data = std::string("\0\0\x80\x3f\0\0\0\xc0", 8) +            // 1, -2 as F32
                           std::string("\x9a\x99\x99\x99\x99\x99\xb9\x3f", 8) +  // 0.1 as F64
                           std::string("\0\x3c\x01\0", 4) +                      // 1, 2^-24 as F16
                           std::string("\xc0\x3f", 2) + std::string(4, '\1');    // 1.5 as BF16, and bytes
  const Archive archive = read(R"({"single":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                               R"("double":{"dtype":"F64","shape":[],"data_offsets":[8,16]},)"
                               R"("half":{"dtype":"F16","shape":[1,1,2],"data_offsets":[16,20]},)"
                               R"("bfloat":{"dtype":"BF16","shape":[1],"data_offsets":[20,22]},)"
                               R"("bytes":{"dtype":"U8","shape":[4],"data_offsets":[22,26]},)"
                               R"("high":{"dtype":"F32","shape":[1,1,1,1,0],"data_offsets":[26,26]},)"
                               R"("empty":{"dtype":"F16","shape":[3,0],"data_offsets":[26,26]}})",
                               data);
  const Tensor<float> single = archive.read<float>("single");
  CHECK(single.shape() == Shape{2, 1});
  CHECK(single[0] == 1);
  CHECK(single[1] == -2);
  CHECK(archive.read<double>("double")[0] == 0.1);
  CHECK(archive.read<double>("double").shape() == Shape{});
  CHECK(archive.read<float>("double", {.convert = true})[0] == 0.1f);
  CHECK(archive.read<double>("single", {.convert = true})[1] == -2);
  CHECK(archive.read<float>("half", {.convert = true}).shape() == Shape{1, 1, 2});
  CHECK(archive.read<double>("half", {.convert = true})[1] == 0x1p-24);
  CHECK(archive.read<float>("bfloat", {.convert = true})[0] == 1.5f);
  CHECK(archive.read<float>("empty", {.convert = true}).size() == 0);
  CHECK(archive.contains("half"));

  CHECK_ERROR(archive.read<float>("half"), "[load] it has \"half\" of dtype \"F16\": expected \"F32\", or ",
              "convert");
  CHECK_ERROR(archive.read<double>("single"), "\"single\" of dtype \"F32\": expected \"F64\"");
  CHECK_ERROR(archive.read<float>("bytes", {.convert = true}), "\"bytes\" of dtype \"U8\": expected \"F32\"");
  CHECK_ERROR(archive.read<float>("high"), "\"high\" of shape 1x1x1x1x0: expected at most 4 dimensions");
  CHECK_ERROR(archive.read<float>("other"), "no tensor \"other\": expected one of \"bfloat\", \"bytes\"");
  CHECK_FALSE(archive.contains("other"));
  CHECK_ERROR(read("{}").read<float>("other"), "no tensor \"other\"", "this one has none");
}

TEST_CASE("Archive: elements beyond what the type holds, and shapes that do not go with the bytes") {
  const std::string huge = std::string(8, '\0') + std::string("\0\0\0\0\0\0\xf0\x7e", 8);  // 0, 2^1008
  const auto entry = [](const std::string& shape, const std::string& dtype = "F64") {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,16]}})";
  };
  CHECK(read(entry("[2]"), huge).read<double>("a")[1] == 0x1p1008);
  CHECK_ERROR(read(entry("[2]"), huge).read<float>("a", {.convert = true}),
              "has 2.74306e+303 at position 1 of \"a\": expected what fits F32");
  CHECK_ERROR(read(entry("[3]"), huge).read<double>("a"),
              "16 bytes of \"a\": expected 24 for F64 of shape 3");
  CHECK_ERROR(read(entry("[3]", "F16"), huge).read<double>("a", {.convert = true}), "expected 6 for F16");
  // Too large for any memory, or for counting.
  CHECK_ERROR(read(entry("[1000000000,100000000]"), huge).read<double>("a"), "expected 800000000000000000");
  CHECK_ERROR(read(entry("[18446744073709551615]"), huge).read<double>("a"), "[");
  CHECK_ERROR(read(entry("[4611686018427387904,4611686018427387904]"), huge).read<double>("a"), "[");
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
  CHECK(error_text([&] { archive.require("a", "BOOL", {1}); }) ==
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

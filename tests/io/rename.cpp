#include <taper/io/rename.hpp>

#include "../check.hpp"

using taper::io::Rename;

TEST_CASE("Rename: nothing, a function, patterns") {
  CHECK(Rename()("0.weight") == "0.weight");
  const Rename upper([](const std::string& name) { return "model." + name; });
  CHECK(upper("0.weight") == "model.0.weight");

  const Rename rename = {{"encoder.*", "*"}, {"fc.*", "2.*"}, {"*.gamma", "*.weight"}, {"bias", "0.bias"}};
  CHECK(rename("encoder.0.weight") == "0.weight");
  CHECK(rename("encoder.fc.gamma") == "fc.gamma");  // the first pattern counts
  CHECK(rename("fc.bias") == "2.bias");
  CHECK(rename("norm.gamma") == "norm.weight");
  CHECK(rename("bias") == "0.bias");
  CHECK(rename("bias2") == "bias2");
  CHECK(rename("my.fc.bias") == "my.fc.bias");
  CHECK(rename("") == "");
}

TEST_CASE("Rename: several stars, each for as little as can be but the last") {
  const Rename rename = {{"layers.*.attn.*", "*.*"}, {"a*b*c", "*-*"}, {"**", "only *"}};
  CHECK(rename("layers.3.attn.q.weight") == "3.q.weight");
  CHECK(rename("layers..attn.") == ".");
  CHECK(rename("abbc") == "-b");
  CHECK(rename("axbbcc") == "x-bc");
  CHECK(rename("abab") == "only ");
  CHECK(Rename({{"*.attn.*", "*"}})("0.attn.q") == "0");
  CHECK(Rename({{"aa*aa", "*"}})("aaa") == "aaa");  // what matches is not used twice
}

TEST_CASE("Rename: a star that stands for nothing that was matched") {
  CHECK_ERROR(Rename({{"a.*", "*.*"}}), "[rename] \"a.*\" to \"*.*\"", "no more stars");
  CHECK_ERROR(Rename({{"a", "*"}}), "[rename]");
}

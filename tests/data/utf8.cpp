#include <taper/data/utf8.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace taper::data;

TEST_CASE("characters: of one to four bytes count once") {
  CHECK(characters("") == 0);
  CHECK(characters("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == 4);
  CHECK_FALSE(continues_character('a'));
  CHECK_FALSE(continues_character('\xe2'));
  CHECK(continues_character('\x82'));
}

TEST_CASE("valid_utf8: characters stay, every other byte is replaced") {
  const std::string good = "a\x01\xc3\xa9\xe2\x82\xac\xed\x9f\xbf\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf";
  CHECK(valid_utf8(good) == good);
  CHECK(valid_utf8("") == "");
  const std::string bad = "\xef\xbf\xbd";
  CHECK(valid_utf8("caf\xe9") == "caf" + bad);
  CHECK(valid_utf8("\xe9t\xe9") == bad + "t" + bad);
  for (const char* two : {"\xc0\xaf", "\xc3\xc3", "\xe2\x82", "\xff\xfe", "\x80\xbf"})
    CHECK(valid_utf8(two) == bad + bad);
  for (const char* three : {"\xe0\x9f\xbf", "\xed\xa0\x80"}) CHECK(valid_utf8(three) == bad + bad + bad);
  for (const char* four : {"\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80"}) {
    CHECK(valid_utf8(four) == bad + bad + bad + bad);
  }
}

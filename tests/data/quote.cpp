#include <taper/data/quote.hpp>

#include <string>
#include <vector>

#include "../check.hpp"

using namespace taper::data;

TEST_CASE("quote: short texts stay, control characters are escaped") {
  CHECK(quote("") == "\"\"");
  CHECK(quote("total_rooms") == "\"total_rooms\"");
  CHECK(quote("a\nb\x7f") == "\"a\\x0ab\\x7f\"");
  CHECK(quote(std::string_view("\0", 1)) == "\"\\x00\"");
}

TEST_CASE("quote: long texts are cut, but not within a character") {
  CHECK(quote(std::string(40, 'x')) == "\"" + std::string(40, 'x') + "\"");
  CHECK(quote(std::string(41, 'x')) == "\"" + std::string(40, 'x') + "...\"");
  std::string euros;
  for (int k = 0; k < 20; ++k) euros += "\xe2\x82\xac";  // 3 bytes each
  CHECK(quote(euros) == "\"" + euros.substr(0, 39) + "...\"");
  CHECK(quote(std::string(100, '\x80')).size() >= 37);
}

TEST_CASE("quote_some: the first few, and how many there are") {
  CHECK(quote_some(std::vector<std::string>{}).empty());
  CHECK(quote_some(std::vector<std::string>{"a", "b"}) == "\"a\", \"b\"");
  const std::string many = quote_some(std::vector<std::string>(501, "V"));
  CHECK(many.ends_with("\"V\", ... (501 in all)"));
  CHECK(many.size() < 100);
}

TEST_CASE("valid_utf8: characters stay, every other byte is replaced") {
  using taper::data::valid_utf8;
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
  CHECK(taper::data::quote("caf\xe9") == "\"caf" + bad + "\"");
}

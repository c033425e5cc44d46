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
  CHECK(quote("caf\xe9") == "\"caf\xef\xbf\xbd\"");
}

TEST_CASE("quote_some: the first few, and how many there are") {
  CHECK(quote_some(std::vector<std::string>{}).empty());
  CHECK(quote_some(std::vector<std::string>{"a", "b"}) == "\"a\", \"b\"");
  const std::string many = quote_some(std::vector<std::string>(501, "V"));
  CHECK(many.ends_with("\"V\", ... (501 in all)"));
  CHECK(many.size() < 100);
}

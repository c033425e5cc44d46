#include <taper/data/date.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace taper::data;

TEST_CASE("parse_date: days since 1970, as other libraries count them") {
  struct Case {
    const char* text;
    double days;
  };
  // Python: (date(...) - date(1970, 1, 1)).days
  for (const Case& known :
       {Case{"1970-01-01", 0}, Case{"2024-02-29", 19782}, Case{"2024/02/29", 19782},
        Case{"29.02.2024", 19782}, Case{"1.3.2024", 19783}, Case{"1969-12-31", -1},
        Case{"0001-01-01", -719162}, Case{"9999-12-31", 2932896}, Case{"2000-01-01T12:00", 10957.5},
        Case{"2000-01-01 6:00:00", 10957.25}, Case{"2000-01-01T00:00:00.5Z", 10957 + 0.5 / 86400},
        Case{"2000-01-01  18:00:00Z", 10957.75}}) {
    double days = -1;
    INFO(known.text);
    CHECK(parse_date(known.text, days));
    CHECK(days == doctest::Approx(known.days).epsilon(1e-12));
  }
}

TEST_CASE("parse_date: what is no date") {
  for (const char* text : {"",
                           "2023-02-29",
                           "2024-13-01",
                           "2024-00-10",
                           "2024-01-32",
                           "24-01-01",
                           "2024-01",
                           "02/03/2024",
                           "2024-01-01x",
                           "2024-01-01T",
                           "2024-01-01 ",
                           "2024-01-01T24:00",
                           "2024-01-01T12:60",
                           "2024-01-01T12:00:61",
                           "2024-01/01",
                           "0000-01-01",
                           "2024-01-01T12:00:00.",
                           "20240101",
                           "1.2",
                           "-2024-01-01",
                           "2024-01-01T12"}) {
    double days;
    INFO(text);
    CHECK_FALSE(parse_date(text, days));
  }
}

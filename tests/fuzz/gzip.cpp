#include <algorithm>
#include <string>

#include <taper/data/file.hpp>

#include "fuzz.hpp"

TAPER_FUZZ {
  const std::string text = taper::data::gunzip(bytes, "bytes", "fuzz");
  require(text.size() <=
          std::max(taper::data::most_unpacked_small, taper::data::most_unpacked_ratio * bytes.size()));
}

#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "run.hpp"

/// Tables that the program taper is given, and what it makes of them.
namespace programs {

inline void write_table(const std::string& path, const std::string& all) {
  std::ofstream(path, std::ios::binary) << all;
}

/// Passengers of a ship: categories, dates, missing cells, semicolons and decimal commas. Who is alive
/// depends on sex and fare.
inline std::string passengers(int rows, std::uint64_t seed, bool commas = true) {
  taper::Rng rng(seed);
  std::ostringstream all;
  const char between = commas ? ';' : ',';
  all << "age" << between << "sex" << between << "fare" << between << "port" << between << "boarded"
      << between << "ship" << between << "alive\n";
  const auto number = [&](double value) {
    std::ostringstream text;
    text << value;
    std::string word = text.str();
    if (commas) std::ranges::replace(word, '.', ',');
    return word;
  };
  for (int i = 0; i < rows; ++i) {
    const bool male = rng.uniform() < 0.6;
    const double fare = 50 * rng.uniform(), age = 20 + 10 * rng.normal();
    const bool alive = (male ? -2 : 2) + (fare - 25) / 10 + rng.normal() > 0;
    all << (rng.uniform() < 0.2 ? "" : number(age)) << between << (male ? "male" : "female") << between
        << number(fare) << between << (rng.uniform() < 0.1 ? "" : std::string(1, "SCQ"[rng.below(3)]))
        << between << "1912-04-" << 10 + rng.below(5) << between << "Titanic" << between
        << (alive ? "yes" : "no") << '\n';
  }
  return all.str();
}

/// y = 3 a - 2 b, bent, among columns that mean nothing.
inline std::string bent(int rows, std::uint64_t seed, double scale = 1) {
  taper::Rng rng(seed);
  std::ostringstream all;
  all.precision(17);
  all << "a,b,noise,y\n";
  for (int i = 0; i < rows; ++i) {
    const double a = rng.normal(), b = rng.normal(), c = rng.normal();
    all << a << ',' << scale * b << ',' << c << ',' << scale * (std::abs(3 * a) - 2 * b + 0.1 * rng.normal())
        << '\n';
  }
  return all.str();
}

inline Json fit(const std::string& arguments) {
  const Run result = run("taper", "fit " + arguments + " --quiet --json -");
  INFO(arguments, ": ", result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.empty());
  return Json::parse(result.out);
}

inline std::vector<std::string> lines_of(const std::string& all) {
  std::vector<std::string> lines;
  std::istringstream in(all);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace programs

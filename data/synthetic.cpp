#include <taper/data/synthetic.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {
namespace {

/// Generous, and small enough that sums of a few such numbers cannot overflow.
constexpr Index most_rows = 1'000'000'000;

/// Throws unless `value` is in [low, high]; NaN is in no range.
template <class Number>
void check_option(const char* where, const char* name, Number value, Number low, Number high) {
  if (value >= low && value <= high) return;
  throw Error(where, name, " ", value, ": expected ", low, " to ", high);
}

/// 0, 1, ..., size - 1 in random order.
std::vector<Index> permutation(Index size, Rng& rng) {
  std::vector<Index> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), Index{0});
  rng.shuffle(order.begin(), order.end());
  return order;
}

/// A rows x columns matrix with entries uniform in [low, high).
Tensor<double> uniform(const Shape& shape, double low, double high, Rng& rng) {
  Tensor<double> result(shape);
  for (double& entry : result) entry = rng.uniform(low, high);
  return result;
}

/// to = matrix * from, on plain arrays.
void multiply(const Tensor<double>& matrix, const double* from, double* to) {
  const Index columns = matrix.shape()[1];
  for (Index i = 0; i < matrix.shape()[0]; ++i) {
    to[i] = std::inner_product(from, from + columns, matrix.data() + i * columns, 0.0);
  }
}

void check_options(const MadelonOptions& options) {
  const char* where = "make_madelon";
  check_option(where, "informative", options.informative, Index{1}, Index{16});
  check_option(where, "rows", options.rows, Index{1} << options.informative, most_rows);
  check_option(where, "combinations", options.combinations, Index{0}, most_rows);
  check_option(where, "probes", options.probes, Index{0}, most_rows);
  check_option(where, "separation", options.separation, 0.0, 1e6);
  check_option(where, "noise", options.noise, 0.0, 1e6);
  check_option(where, "flipped", options.flipped, 0.0, 1.0);
}

}  // namespace

template <class T> Madelon<T> make_madelon(const MadelonOptions& options) {
  check_options(options);
  const Index n = options.rows;
  const Index k = options.informative;
  const Index useful = k + options.combinations;
  const Index d = useful + options.probes;
  const Index clusters = Index{1} << k;

  Rng rng(options.seed);
  const std::vector<Index> vertex_of_cluster = permutation(clusters, rng);
  const std::vector<Index> place_of_row = permutation(n, rng);
  const std::vector<Index> place_of_column = permutation(d, rng);
  const Tensor<double> b = uniform({options.combinations, k}, -1, 1, rng);
  const Tensor<double> shift = uniform({d}, -options.separation, options.separation, rng);
  const Tensor<double> scale = uniform({d}, 1, 100, rng);

  Dataset<T> data{Tensor<T>(Shape{n, d}), Tensor<T>(Shape{n, 1}), {}, "class"};
  Tensor<double> g(Shape{k});
  Tensor<double> row(Shape{d});  // informative columns, combinations, probes
  for (Index cluster = 0; cluster < clusters; ++cluster) {
    const Index vertex = vertex_of_cluster[static_cast<std::size_t>(cluster)];
    const Tensor<double> a = uniform({k, k}, -1, 1, rng);
    // Every cluster takes each 2^k-th row, and the classes take turns: both come out even.
    for (Index i = cluster; i < n; i += clusters) {
      for (double& entry : g) entry = rng.normal();
      multiply(a, g.data(), row.data());
      for (Index j = 0; j < k; ++j)
        row[j] += ((vertex >> j) & 1) != 0 ? options.separation : -options.separation;
      multiply(b, row.data(), row.data() + k);
      for (Index j = useful; j < d; ++j) row[j] = rng.normal();

      const Index place = place_of_row[static_cast<std::size_t>(i)];
      for (Index j = 0; j < d; ++j) {
        const double entry = (row[j] + shift[j]) * scale[j] + options.noise * rng.normal();
        data.x[place * d + place_of_column[static_cast<std::size_t>(j)]] = static_cast<T>(entry);
      }
      data.y[place] = static_cast<T>(cluster % 2 == 0 ? 1 : -1);
    }
  }

  const auto flips = std::llround(options.flipped * static_cast<double>(n));
  const std::vector<Index> order = permutation(n, rng);
  for (auto place = order.begin(); place != order.begin() + flips; ++place) data.y[*place] = -data.y[*place];

  for (Index j = 0; j < d; ++j) data.features.push_back("V" + std::to_string(j + 1));
  const auto first = place_of_column.begin();
  Madelon<T> result{std::move(data), {first, first + k}, {first + k, first + useful}};
  std::ranges::sort(result.informative);
  std::ranges::sort(result.combinations);
  return result;
}

namespace {

// Degrees of latitude and longitude are treated alike: at this scale of invention the difference is none.
struct Place {
  double longitude, latitude;
};

constexpr Place north_centre{-122.3, 37.7};
constexpr Place south_centre{-118.2, 33.9};

/// The coast, from north to south.
constexpr std::array<Place, 5> coast{
    {{-124.2, 41.95}, {-122.5, 37.7}, {-120.6, 34.5}, {-118.5, 33.95}, {-117.15, 32.54}}};

double distance(Place a, Place b) {
  return std::hypot(a.longitude - b.longitude, a.latitude - b.latitude);
}

/// Distance from the coast eastwards, along a line of equal latitude.
double distance_from_coast(Place place) {
  std::size_t k = 1;
  while (k + 1 < coast.size() && coast[k].latitude > place.latitude) ++k;
  const Place north = coast[k - 1];
  const Place south = coast[k];
  const double part = (place.latitude - north.latitude) / (south.latitude - north.latitude);
  return place.longitude - std::lerp(north.longitude, south.longitude, part);
}

/// 1 in the nearer one of the centres, falling to 0 within a degree or so.
double centrality(Place place) {
  const double nearest = std::min(distance(place, north_centre), distance(place, south_centre));
  return std::exp(-2 * nearest * nearest);
}

double clamped_round(double value, double low, double high) {
  return std::clamp(std::round(value), low, high);
}

/// Half of the people live around the southern centre, three tenths around the northern one, the others
/// anywhere; most of them near the coast.
Place draw_place(Rng& rng) {
  const double where = rng.uniform();
  const bool elsewhere = where >= 0.8;
  const double centre = (where < 0.5 ? south_centre : north_centre).latitude;
  const double latitude = elsewhere ? rng.uniform(32.54, 41.95) : centre + 0.25 * rng.normal();
  const double inland = -(elsewhere ? 1.2 : 0.45) * std::log1p(-rng.uniform());  // exponential, by its mean
  Place place{0, clamped_round(100 * latitude, 3254, 4195) / 100};
  place.longitude = clamped_round(100 * (inland - distance_from_coast(place)), -12435, -11431) / 100;
  return place;
}

struct District {
  Place place;
  double age, income, households, rooms, bedrooms, population;
};

District draw_district(Rng& rng) {
  District district;
  district.place = draw_place(rng);
  const double central = centrality(district.place);
  district.age = clamped_round(25 + 8 * central + 12.5 * rng.normal(), 1, 52);
  district.income = std::clamp(std::exp(1.22 + 0.06 * central + 0.46 * rng.normal()), 0.4999, 15.0001);
  const double wealth = std::log(district.income / 3.5);
  // Old districts are small ones. All the other counts follow the households.
  district.households = clamped_round(std::exp(6.5 - 0.018 * district.age + 0.68 * rng.normal()), 1, 6082);
  const auto count = [&](double per_household, double spread, double low, double high) {
    return clamped_round(district.households * per_household * std::exp(spread * rng.normal()), low, high);
  };
  district.rooms = count(5.2 * std::exp(0.25 * wealth), 0.18, 2, 37937);
  district.bedrooms = count(1.05, 0.1, 1, district.rooms);
  district.population = count(2.85, 0.25, 3, 35682);
  return district;
}

/// The target before noise and cap, as a logarithm: it depends on x alone.
double log_value(const District& district) {
  const double wealth = std::log(district.income / 3.5);
  const double seaside = std::exp(-2 * std::max(0.0, distance_from_coast(district.place)));
  const double central = centrality(district.place);
  const double age = (district.age - 25) / 25;
  const double rooms = std::log(district.rooms / district.households / 5.2);
  const double crowd = std::log(district.population / district.households / 2.85);
  return std::log(110000) + 0.65 * wealth + 0.12 * wealth * std::abs(wealth) + 0.5 * seaside +
         (0.4 + 0.1 * wealth) * central + 0.08 * age * age + 0.2 * std::tanh(rooms) - 0.45 * crowd;
}

}  // namespace

template <class T> Dataset<T> make_housing(const HousingOptions& options) {
  check_option("make_housing", "rows", options.rows, Index{1}, most_rows);
  check_option("make_housing", "noise", options.noise, 0.0, 10.0);
  Dataset<T> data{Tensor<T>(Shape{options.rows, 8}),
                  Tensor<T>(Shape{options.rows, 1}),
                  {"longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms",
                   "population", "households", "median_income"},
                  "median_house_value"};
  Rng rng(options.seed);
  T* x = data.x.data();
  for (T& y : data.y) {
    const District district = draw_district(rng);
    for (const double entry :
         {district.place.longitude, district.place.latitude, district.age, district.rooms, district.bedrooms,
          district.population, district.households, district.income}) {
      *x++ = static_cast<T>(entry);
    }
    const double value = std::exp(log_value(district) + options.noise * rng.normal());
    y = static_cast<T>(clamped_round(value, 14999, 500001));
  }
  return data;
}

namespace {

/// Rounded to that many units, as the laboratory writes it down.
double written(double value, double unit, double low, double high) {
  return std::clamp(std::round(value / unit) * unit, low, high);
}

/// The ten columns of one patient. Each is a mean and a spread times a number of about unit variance, which
/// is in part what the columns before it have.
std::array<double, 10> draw_patient(Rng& rng) {
  const double age = written(48.5 + 13.1 * rng.normal(), 1, 19, 79);
  const double sex = rng.uniform() < 0.53 ? 1 : 2;
  const double old = (age - 48.5) / 13.1;
  const double second = 2 * sex - 3;  // -1 or 1
  const double bmi =
      written(26.1 * std::exp(0.165 * (0.2 * old + 0.08 * second + 0.97 * rng.normal())), 0.1, 18, 42.2);
  const double heavy = (bmi - 26.4) / 4.4;
  const double bp =
      written(94.6 + 13.8 * (0.26 * old + 0.18 * second + 0.34 * heavy + 0.85 * rng.normal()), 1, 62, 133);
  const double hdl =
      written(48.3 * std::exp(0.25 * (-0.33 * heavy - 0.36 * second + 0.85 * rng.normal())), 1, 22, 99);
  const double ldl =
      written(115 + 30 * (0.19 * old + 0.11 * second + 0.2 * heavy + 0.94 * rng.normal()), 0.2, 41.6, 242.4);
  const double more = 0.12 * old + 0.28 * heavy + 0.2 * (bp - 94.6) / 13.8 + 0.24 * (ldl - 115) / 30 -
                      0.26 * (hdl - 49.8) / 12.9;
  const double fat = written(4.64 + 0.52 * (more + 0.74 * rng.normal()), 1e-4, 3.2581, 6.107);
  const double cholesterol = written(ldl + hdl + std::exp(fat) / 5 + 4 * rng.normal(), 1, 97, 301);
  const double glucose =
      written(91.3 + 11.5 * (0.16 * old + 0.1 * second + 0.17 * heavy + 0.17 * (bp - 94.6) / 13.8 +
                             0.26 * (fat - 4.64) / 0.52 + 0.8 * rng.normal()),
              1, 58, 124);
  return {age, sex, bmi, bp, cholesterol, ldl, hdl, written(cholesterol / hdl, 0.01, 0, 14), fat, glucose};
}

}  // namespace

template <class T> Dataset<T> make_diabetes(const DiabetesOptions& options) {
  check_option("make_diabetes", "rows", options.rows, Index{1}, most_rows);
  check_option("make_diabetes", "noise", options.noise, 0.0, 1e6);
  Dataset<T> data{Tensor<T>(Shape{options.rows, 10}),
                  Tensor<T>(Shape{options.rows, 1}),
                  {"age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"},
                  "progression"};
  Rng rng(options.seed);
  T* x = data.x.data();
  for (T& y : data.y) {
    const auto patient = draw_patient(rng);
    for (const double entry : patient) *x++ = static_cast<T>(entry);
    const auto [age, sex, bmi, bp, s1, s2, s3, s4, s5, s6] = patient;
    y = static_cast<T>(152 - 22 * (sex - 1.5) + 5.7 * (bmi - 26.4) + 1.1 * (bp - 94.6) - 0.8 * (s3 - 49.8) +
                       48 * (s5 - 4.64) + options.noise * rng.normal());
  }
  return data;
}

#define TAPER_INSTANTIATE(T)                               \
  template Madelon<T> make_madelon(const MadelonOptions&); \
  template Dataset<T> make_housing(const HousingOptions&); \
  template Dataset<T> make_diabetes(const DiabetesOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::data

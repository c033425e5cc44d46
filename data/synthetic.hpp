#pragma once

#include <cstdint>
#include <vector>

#include <taper/data/dataset.hpp>

namespace taper::data {

/// What make_madelon makes. The defaults give the shape of the Madelon set, 2600 x 500.
struct MadelonOptions {
  Index rows = 2600;        ///< At least one for each cluster.
  Index informative = 5;    ///< Dimension k of the hypercube, 1 to 16; there are 2^k clusters.
  Index combinations = 15;  ///< Columns that are linear combinations of the informative ones.
  Index probes = 480;       ///< Columns that have nothing to do with the class.
  double separation = 2;    ///< The vertices of the hypercube have coordinates -separation and +separation.
  double noise = 0.1;       ///< Standard deviation of what is added to every entry at the end.
  double flipped = 0.01;    ///< Fraction of the rows whose class is wrong.
  std::uint64_t seed = 0;
};

/// A data set, and which of its columns (counted from 0, ascending) a selection should find. All others are
/// probes.
template <class T> struct Madelon {
  Dataset<T> data;
  std::vector<Index> informative;
  std::vector<Index> combinations;
};

/// A classification problem in which no column tells anything about the class by itself, and most columns
/// nothing at all. After the recipe of Madelon: Guyon, "Design of experiments for the NIPS 2003 variable
/// selection benchmark", 2003.
///
///  1. A cluster sits at each of the 2^k vertices of a k-dimensional hypercube. Half of the vertices, chosen
///     at random, belong to class +1, the others to class -1. Every cluster gets as many rows as any other,
///     give or take one.
///  2. A row of a cluster is vertex + A g, with g drawn from N(0, I) and A a k x k matrix, uniform in
///     [-1, 1), of that cluster. These are the informative columns.
///  3. The combinations are B times the informative columns, with the entries of B uniform in [-1, 1).
///  4. The probes are drawn from N(0, 1).
///  5. Each column is shifted by a number uniform in [-separation, separation), then multiplied by one
///  uniform
///     in [1, 100).
///  6. Noise from N(0, noise^2) is added to every entry.
///  7. Columns and rows are put in random order; columns are then named V1, V2, ...
///  8. `flipped` of the rows, rounded to a whole number of them and chosen at random, change class.
///
/// y is n x 1 with entries +1 and -1, in equal numbers before step 8 (give or take one); the target is called
/// "class". Unlike in the published set, entries are not rounded to whole numbers from 0 to 999, and there
/// are combinations only where that set has 5 of them and 10 repeated columns. The same options give the same
/// set, up to rounding in float and in double. Throws Error for an option out of its range.
template <class T> Madelon<T> make_madelon(const MadelonOptions& options = {});

/// What make_housing makes.
struct HousingOptions {
  Index rows = 4000;    ///< At least 1.
  double noise = 0.25;  ///< Standard deviation of the logarithm of the value; 0 makes it a function of x.
  std::uint64_t seed = 0;
};

/// A regression problem in the form of the California housing table: one row for each invented district, the
/// eight features longitude, latitude (degrees), housing_median_age (years, 1 to 52), total_rooms,
/// total_bedrooms, population, households (counts) and median_income (10 000 dollars, 0.4999 to 15.0001), and
/// the target median_house_value (dollars, capped at 500001), y being n x 1.
///
/// It is a stand-in, so that programs run without the real table, and not the census of 1990: no district in
/// it exists, and an error reached on it says nothing about the real one. What it imitates are the ranges and
/// the rough correlations: people live around two coastal centres and in between; incomes and households are
/// log-normal; counts follow the households; and the logarithm of the value is a smooth function of income,
/// distances from the coast and the centres, age, and rooms and people per household.
///
/// The same options give the same set, up to rounding in float and in double. Throws Error for an option out
/// of its range.
template <class T> Dataset<T> make_housing(const HousingOptions& options = {});

/// What make_diabetes makes. The defaults give the shape of the diabetes table, 442 x 10.
struct DiabetesOptions {
  Index rows = 442;   ///< At least 1.
  double noise = 54;  ///< Standard deviation of what x does not tell of the target; 0 makes that linear in x.
  std::uint64_t seed = 0;
};

/// A regression problem in the form of the diabetes table of Efron, Hastie, Johnstone and Tibshirani, "Least
/// angle regression", 2004, section 1: one row for each invented patient, the ten features age (years), sex
/// (1 or 2), bmi (kg/m^2), bp (mean arterial pressure, mm Hg), and of the blood serum s1 total cholesterol,
/// s2 LDL, s3 HDL (all mg/dl), s4 the ratio s1 / s3, s5 the logarithm of the triglycerides in mg/dl, s6
/// glucose (mg/dl), and the target progression (a score), y being n x 1.
///
/// It is a stand-in, so that programs run without the real table: no patient in it exists, and what is
/// selected on it says nothing about diabetes. What it imitates is why selection is hard there: the serum
/// columns nearly determine each other. s1 is s2 + s3 + exp(s5) / 5 (Friedewald, Levy and Fredrickson, Clin.
/// Chem. 1972) up to an error of measurement, and s4 follows from s1 and s3; what these consist of, bp and s6
/// rise or fall with age, sex and bmi. Entries are rounded as a laboratory would, and then
///
///     y = 152 - 22 (sex - 1.5) + 5.7 (bmi - 26.4) + 1.1 (bp - 94.6) - 0.8 (s3 - 49.8) + 48 (s5 - 4.64)
///
/// plus normal noise: the five other columns tell of the target only what they share with these.
///
/// The same options give the same set, up to rounding in float and in double. Throws Error for an option out
/// of its range.
template <class T> Dataset<T> make_diabetes(const DiabetesOptions& options = {});

}  // namespace taper::data

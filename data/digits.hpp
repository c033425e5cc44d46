#pragma once

#include <cstdint>

#include <taper/data/dataset.hpp>

namespace taper::data {

/// What make_digits makes.
struct DigitsOptions {
  Index rows = 12000;  ///< At least 1.
  /// How much the drawings differ from each other, from 0 (all of a class and variant are the same) to 2.
  double variation = 1;
  double noise = 0.15;  ///< Standard deviation of what is added to every pixel, 0 to 10.
  std::uint64_t seed = 0;
};

/// A classification problem in the form of MNIST: images of 28 x 28 pixels, x being n x 1 x 28 x 28 with
/// entries from 0 (paper) to 1 (ink), of the digits y, n x 1, in equal numbers (give or take one) and random
/// order.
///
/// It is a stand-in, so that programs run without the real files; an error reached on it says nothing about
/// those. An image is drawn, and not written by anybody: each digit has one or two variants of a few strokes
/// through control points. The points are moved at random, the strokes are stretched, slanted, turned and
/// shifted by up to 3 pixels, drawn with a pen of random width and ink, crossed by a short stroke that does
/// not belong to the digit, and noise is added. As digits are not where they were in other images, a linear
/// classifier makes several times the errors of one that finds strokes anywhere (convolutions).
///
/// The same options give the same set, up to rounding in float and in double. Throws Error for an option out
/// of its range.
template <class T> Dataset<T> make_digits(const DigitsOptions& options = {});

}  // namespace taper::data

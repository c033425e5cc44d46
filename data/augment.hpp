#pragma once

#include <taper/autodiff/random.hpp>
#include <taper/autodiff/tensor.hpp>

/// What makes new examples of old ones, for FitOptions::augment.
namespace taper::data {

/// Moves each image by up to `most` rows and columns in either direction, every way equally likely; what
/// moves in is zero. `images` are n x channels x rows x columns, whose channels move together, or n x rows x
/// columns. Allocates nothing. Throws Error for other shapes, and for `most` below 0 or as large as an image.
template <class T> void shift_images(View<T> images, Index most, Rng& rng);

}  // namespace taper::data

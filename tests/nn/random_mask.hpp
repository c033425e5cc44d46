#pragma once

#include <taper/autodiff/random.hpp>
#include <taper/nn/mask.hpp>

/// A mask with about this share of free entries.
inline taper::Mask random_mask(taper::Rng& rng, const taper::Shape& shape, double share) {
  return taper::Mask::free(shape, [&](taper::Index) { return rng.uniform() < share; });
}

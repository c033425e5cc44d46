#include <taper/data/idx.hpp>

#include <cmath>

#include "fuzz.hpp"

using namespace taper::data;

/// What is read has no more elements than there are bytes, and is the same in float as in double.
TAPER_FUZZ {
  const taper::Tensor<double> exact = parse_idx<double>(bytes);
  require(exact.size() <= static_cast<taper::Index>(bytes.size()));
  const taper::Tensor<float> rounded = parse_idx<float>(bytes);
  require(rounded.shape() == exact.shape());
  for (taper::Index i = 0; i < exact.size(); ++i) {
    require(std::isnan(exact[i]) ? std::isnan(rounded[i]) : rounded[i] == static_cast<float>(exact[i]));
  }
}

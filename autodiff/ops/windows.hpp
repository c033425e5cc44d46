#pragma once

#include <taper/autodiff/kernels/window.hpp>
#include <taper/autodiff/op.hpp>

/// What the records of convolutions and poolings have in common: windows that move over the last axes.
namespace taper::ops {

/// The windows along one axis. Throws Error for settings that make none.
inline kernels::Window window(const char* where, Index input, Index kernel, Index stride, Index padding,
                              Index dilation) {
  constexpr Index most = Index{1} << 31;  // whose products fit
  const auto require = [&](const char* what, Index given, Index least) {
    if (given < least || given >= most) {
      throw Error(where, what, " ", given, ": expected ", least, " <= ", what, " < 2^31");
    }
  };
  require("kernel", kernel, 1);
  require("stride", stride, 1);
  require("padding", padding, 0);
  require("dilation", dilation, 1);
  const kernels::Window result{input, kernel, stride, padding, dilation};
  if (result.reach() >= input + 2 * padding) {
    throw Error(where, "a kernel of ", kernel, dilation == 1 ? "" : " dilated by ",
                dilation == 1 ? std::string() : std::to_string(dilation), ", over ", input, " + 2 x ",
                padding, " elements: expected one that fits, at most ", input + 2 * padding);
  }
  return result;
}

/// Along an axis that is not there: one window of one element.
constexpr kernels::Window no_window{1, 1, 1, 0, 1};

}  // namespace taper::ops

#include <taper/autodiff/kernels/target.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/target.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

const char* target_name() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

HWY_EXPORT(target_name);

const char* instruction_set() {
  return HWY_DYNAMIC_DISPATCH(target_name)();
}

}  // namespace taper::kernels
#endif

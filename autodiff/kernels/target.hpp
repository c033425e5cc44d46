#pragma once

namespace taper::kernels {

/// The instruction set that the kernels run with on this machine, in Highway's words: "AVX3" (that is
/// AVX-512), "AVX2", "NEON", or "SCALAR" or "EMU128" for the baseline of x86, without any.
const char* instruction_set();

}  // namespace taper::kernels

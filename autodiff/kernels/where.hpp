#pragma once

#include <taper/autodiff/kernels/binary.hpp>

namespace taper::kernels {

/// y = a where the condition is not 0, and b elsewhere, for rows x columns; y is contiguous. An operand may
/// stand for a larger one, see Strided.
template <class T>
void where(Index rows, Index columns, const Strided<const T>& condition, const Strided<const T>& a,
           const Strided<const T>& b, T* y);

}  // namespace taper::kernels

#pragma once

#include <string>

#include <taper/autodiff/print.hpp>

namespace taper {

/// The first difference between two recordings that should be of the same computation, as what there is to
/// say of the first of them: "has %7 = tanh(%6)  4x8  net.act where the other has %7 = relu(%6)  4x8
/// net.act". Empty when they agree in their operations, in the inputs, shapes and settings of these, in the
/// places of parameters and the values of all other leaves. Computed values and names may differ. Allocates
/// nothing when they agree.
template <class T> std::string difference(const Tape<T>& recording, const Tape<T>& other);

}  // namespace taper

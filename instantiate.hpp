#pragma once

/// The templates of the library are compiled once for each scalar, at the end of the source that defines
/// them. Their headers only declare them, and need not say so: a user's compiler has nothing to compile
/// again.

/// what(float) and what(double), where `what` is a macro with instantiations for T.
#define TAPER_FOR_SCALARS(what) what(float) what(double)

/// The same for a class.
#define TAPER_INSTANTIATE_CLASS(name) \
  template class name<float>;         \
  template class name<double>;

#pragma once

/// The templates of the library are compiled once for each scalar, in its sources. These say so.

/// At the end of a source: what(float) and what(double), where `what` is a macro with instantiations for T.
#define TAPER_FOR_SCALARS(what) what(float) what(double)

/// The same for a class, whose members all stand in this source.
#define TAPER_INSTANTIATE_CLASS(name) \
  template class name<float>;         \
  template class name<double>;

/// In a header, for a class with members that stand in the header: users do not compile them again. Functions
/// that are only declared need no such line.
#define TAPER_EXTERN_CLASS(name)     \
  extern template class name<float>; \
  extern template class name<double>;

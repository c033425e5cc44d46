#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// The functions of one number, which unary-list.hpp describes.
enum class Unary {
#define TAPER_UNARY_0(name, ...) name,
#define TAPER_UNARY_1(name, ...) name,
#define TAPER_UNARY_2(name, ...) name,
#include <taper/autodiff/kernels/unary-list.hpp>
};

/// y = f(x) for n elements. `y` may be `x`.
template <class T> void unary(Unary f, Index n, const T* x, T* y, T p = 0, T q = 0);

/// gx = gy f'(x), or added to gx, with y = f(x) at hand. `gx` may be `gy`.
template <class T>
void unary_gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p = 0, T q = 0);

}  // namespace taper::kernels

#pragma once

#include <span>
#include <vector>

#include <taper/autodiff/tape.hpp>

namespace taper {

/// The Hessian H of a recorded output with one entry, with respect to some leaves x, times a vector v,
/// without forming H: the central difference of gradients
///
///     H v = (g(x + h v) - g(x - h v)) / (2 h)
///
/// (Nocedal and Wright, "Numerical optimization", 2006, section 7.1, there one-sided). `leaves` are variables
/// or parameters of one tape, `v` has a tensor of the shape of each, and the result too.
///
/// Error: truncation of order h^2 (none for a quadratic function) and rounding of order epsilon / h, where
/// epsilon is the precision of T. They are balanced by the step: no leaf moves by more than epsilon^(1/3)
/// times its own size, in the largest absolute entry. So the result does not depend on the units of x or v,
/// and it is good to about epsilon^(2/3), 4e-11 in double and 2e-5 in float, relative to |H| |v| where the
/// function is smooth and well scaled. A leaf of zeros says nothing about its size: it counts as
/// `size_of_zeros`. Where the function is not smooth (relu), the step may cross a kink, and then the result
/// is that of an average.
///
/// Both gradients use the random numbers of the last pass. Afterwards the leaves are what they were, bit for
/// bit, and all values are computed from them again; the gradients on the tape are of no use until the next
/// backward pass. Costs two passes forward and back, and one forward.
///
/// Throws Error for what is no leaf of the tape that requires a gradient, for other shapes, and for entries
/// of x or v that are not finite.
template <class T>
std::vector<Tensor<T>> hessian_vector_product(Var<T> output, std::span<const Var<T>> leaves,
                                              std::span<const Tensor<T>> v, double size_of_zeros = 1);

}  // namespace taper

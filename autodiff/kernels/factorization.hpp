#pragma once

#include <cstdint>

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// The inputs of a factorization machine that are 1, the others being 0: `fields` of them in each row,
/// at[row * fields + field] being their positions among `inputs`, each with a weight and `width` factors.
struct FieldRows {
  Index rows, fields, inputs, width;
  const std::uint32_t* at;
};

/// y = the sum of the weights, and of the products of the factors over all pairs of fields. With more than
/// two fields, `sums` (rows x width) gets the sum of the factors in each row.
template <class T> void field_pairs(const FieldRows& x, const T* weights, const T* factors, T* y, T* sums);

/// Where an input is used: the row, and the position in the other field; for other than two fields the row
/// again, whose sum is then to be found.
struct FieldUse {
  std::uint32_t row, other;
};

/// Puts the uses of each input together, in the order of the rows: those of input k are
/// uses[starts[k], starts[k + 1]). `starts` has room for inputs + 2, `uses` for rows * fields.
void sort_uses(const FieldRows& x, std::uint32_t* starts, FieldUse* uses);

/// The gradients of weights and factors, stored or added, in an order of sums that does not depend on the
/// number of threads. Long sums are added up with care.
template <class T>
void field_weights_gradient(const FieldRows& x, const std::uint32_t* starts, const FieldUse* uses,
                            const T* gy, T* gw, bool add);
template <class T>
void field_factors_gradient(const FieldRows& x, const std::uint32_t* starts, const FieldUse* uses,
                            const T* gy, const T* factors, const T* sums, T* gv, bool add);

}  // namespace taper::kernels

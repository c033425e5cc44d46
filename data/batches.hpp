#pragma once

#include <cstdint>
#include <vector>

#include <taper/data/dataset.hpp>

namespace taper::data {

/// Serves a data set in batches, epoch after epoch. It keeps a pointer to the data set, which must outlive it
/// and keep its shapes. Only the constructor allocates.
template <class T> class Batches {
 public:
  /// Ready for epoch 0. Throws Error for a batch size below 1, an empty data set, and one whose x and y do
  /// not have the same number of rows.
  Batches(const Dataset<T>& data, Index batch_size, bool shuffle, std::uint64_t seed);
  Batches(Dataset<T>&&, Index, bool, std::uint64_t) = delete;

  /// Puts the rows into the order of that epoch (counted from 0): without shuffling the order of the data
  /// set, else one that depends on seed and epoch only, whatever was served before: a training that is taken
  /// up again in the middle of an epoch starts that epoch and goes on with its batch. Throws Error below 0.
  void start_epoch(Index epoch);
  Index epoch() const { return epoch_; }

  /// Number of batches in an epoch; every row is in exactly one of them.
  Index count() const { return (data_->rows() - 1) / batch_size_ + 1; }
  /// Number of rows in a batch: the batch size, or for the last batch what is left. Throws Error for a batch
  /// outside [0, count()).
  Index size(Index batch) const;
  /// Writes the rows of a batch one after the other to x (size(batch) rows of data.x) and y (likewise).
  /// Throws as size does.
  void copy(Index batch, T* x, T* y) const;

 private:
  const Dataset<T>* data_;
  Index batch_size_;
  bool shuffle_;
  std::uint64_t seed_;
  Index epoch_ = 0;
  std::vector<Index> order_;
};

extern template class Batches<float>;
extern template class Batches<double>;

}  // namespace taper::data

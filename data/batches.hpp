#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <taper/data/dataset.hpp>

namespace taper::data {

/// Serves data in batches, epoch after epoch: columns, which are tensors with one row for each example, such
/// as inputs, targets and weights of samples. It keeps views of them, which must outlive it. Only the
/// constructor allocates.
template <class T> class Batches {
 public:
  /// Ready for epoch 0. Throws Error for a batch size below 1, and for columns that are none, empty or of
  /// different lengths.
  Batches(std::vector<View<const T>> columns, Index batch_size, bool shuffle, std::uint64_t seed);
  /// The columns x and y of a data set.
  Batches(const Dataset<T>& data, Index batch_size, bool shuffle, std::uint64_t seed);
  Batches(Dataset<T>&&, Index, bool, std::uint64_t) = delete;

  /// Puts the rows into the order of that epoch (counted from 0): without shuffling the order of the data
  /// set, else one that depends on seed and epoch only, whatever was served before: a training that is taken
  /// up again in the middle of an epoch starts that epoch and goes on with its batch. Throws Error below 0.
  void start_epoch(Index epoch);
  Index epoch() const { return epoch_; }

  /// Number of batches in an epoch; every row is in exactly one of them.
  Index count() const { return count_; }
  /// Number of rows in a batch: the batch size, or for the last batch what is left. Throws Error for a batch
  /// outside [0, count()).
  Index size(Index batch) const;
  /// Writes the rows of a batch one after the other, those of each column to its place in `to`. Throws as
  /// size does, and for another number of places.
  void copy(Index batch, std::span<T* const> to) const;

 private:
  Index rows() const { return columns_.front().shape()[0]; }

  std::vector<View<const T>> columns_;
  Index batch_size_, count_ = 0;
  bool shuffle_;
  std::uint64_t seed_;
  Index epoch_ = 0;
  std::vector<Index> order_;
};

}  // namespace taper::data

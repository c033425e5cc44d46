#include <taper/data/batches.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/data/gather.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {

template <class T>
Batches<T>::Batches(std::vector<View<const T>> columns, Index batch_size, bool shuffle, std::uint64_t seed)
    : columns_(std::move(columns)), batch_size_(batch_size), shuffle_(shuffle), seed_(seed) {
  if (batch_size < 1) throw Error("batches", "batch size ", batch_size, ": expected 1 or more");
  check_columns<T>(columns_, "batches");
  count_ = (rows() - 1) / batch_size + 1;
  order_.resize(static_cast<std::size_t>(rows()));
  start_epoch(0);
}

template <class T>
Batches<T>::Batches(const Dataset<T>& data, Index batch_size, bool shuffle, std::uint64_t seed)
    : Batches({data.x.view(), data.y.view()}, batch_size, shuffle, seed) {}

template <class T> void Batches<T>::start_epoch(Index epoch) {
  if (epoch < 0) throw Error("batches", "epoch ", epoch, ": expected 0 or more");
  epoch_ = epoch;
  std::iota(order_.begin(), order_.end(), Index{0});
  if (!shuffle_) return;
  // Stream 0 of the seed belongs to whoever split the data with it.
  Rng(seed_, static_cast<std::uint64_t>(epoch) + 1).shuffle(order_.begin(), order_.end());
}

template <class T> Index Batches<T>::size(Index batch) const {
  if (batch < 0 || batch >= count()) throw Error("batches", "batch ", batch, ": expected 0 to ", count() - 1);
  return std::min(batch_size_, rows() - batch * batch_size_);
}

template <class T> void Batches<T>::copy(Index batch, std::span<T* const> to) const {
  const auto size = static_cast<std::size_t>(this->size(batch));
  const auto chosen = std::span(order_).subspan(static_cast<std::size_t>(batch * batch_size_), size);
  if (to.size() != columns_.size()) {
    throw Error("batches", to.size(), " places: expected ", columns_.size(), ", one for each column");
  }
  for (std::size_t i = 0; i < columns_.size(); ++i) gather(columns_[i], chosen, to[i]);
}

TAPER_INSTANTIATE_CLASS(Batches)

}  // namespace taper::data

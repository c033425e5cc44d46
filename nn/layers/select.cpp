#include <taper/nn/layers/select.hpp>

#include <taper/instantiate.hpp>

namespace taper::nn {

template <class T>
Select<T>::Select(std::vector<Index> columns, Index width) : columns_(std::move(columns)), width_(width) {
  for (const Index column : columns_) {
    if (column < 0 || column >= width) {
      throw Error("select", "column ", column, " of ", width, ": expected 0 to ", width - 1);
    }
  }
}

template <class T> Var<T> Select<T>::forward(Var<T> x) const {
  if (x.shape().rank() == 0 || x.shape().columns() != width_) {
    throw Error("select", "input ", x.shape(), ": expected ", width_, " columns");
  }
  const Index last = x.shape().rank() - 1;
  if (columns_.empty()) return slice(x, last, 0, 0);
  // Neighbouring columns go as one slice.
  std::vector<Var<T>> runs;
  for (std::size_t begin = 0; begin < columns_.size();) {
    std::size_t end = begin + 1;
    while (end < columns_.size() && columns_[end] == columns_[end - 1] + 1) ++end;
    runs.push_back(slice(x, last, columns_[begin], columns_[end - 1] + 1));
    begin = end;
  }
  return runs.size() == 1 ? runs.front() : concat(std::span<const Var<T>>(runs), last);
}

TAPER_INSTANTIATE_CLASS(Select)

}  // namespace taper::nn

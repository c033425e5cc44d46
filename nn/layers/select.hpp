#pragma once

#include <vector>

#include <taper/nn/module.hpp>

namespace taper::nn {

/// Keeps some columns of a batch, in the order given. A shrunk network starts with it when it no longer reads
/// all of its inputs.
template <class T = float> class Select : public Layer<T> {
 public:
  /// `width` is how many columns a batch has; throws Error for a column that is not among them.
  Select(std::vector<Index> columns, Index width);

  template <class U> explicit Select(const Select<U>& other) : Select(other.columns(), other.width()) {}

  const std::vector<Index>& columns() const { return columns_; }
  Index width() const { return width_; }
  Var<T> forward(Var<T> x) const override;
  std::string describe() const override { return "Select(" + std::to_string(columns_.size()) + ")"; }

 private:
  std::vector<Index> columns_;
  Index width_;
};

}  // namespace taper::nn

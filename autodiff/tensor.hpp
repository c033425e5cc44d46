#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <initializer_list>
#include <type_traits>

#include <taper/autodiff/aligned.hpp>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/shape.hpp>

namespace taper {

/// A row-major Eigen matrix of any size.
template <class T> using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Numbers somewhere in memory, seen as a tensor: a pointer and a shape, contiguous and row-major. It owns
/// nothing and copies like a pointer. `View<const T>` reads only.
template <class T> class View {
  using Plain = std::remove_const_t<T>;
  template <class Eigenlike>
  using Map = Eigen::Map<std::conditional_t<std::is_const_v<T>, const Eigenlike, Eigenlike>>;

 public:
  View() = default;
  View(T* data, const Shape& shape) : data_(data), shape_(shape) {}
  /// A view that writes is also one that reads.
  operator View<const Plain>() const { return {data_, shape_}; }

  T* data() const { return data_; }
  const Shape& shape() const& { return shape_; }
  Shape shape() const&& { return shape_; }  // views are often temporaries
  Index size() const { return shape_.size(); }
  T* begin() const { return data_; }
  T* end() const { return data_ + size(); }
  /// Entry by its position in memory.
  T& operator[](Index position) const { return data_[position]; }

  /// As an Eigen matrix, rows() x columns() of the shape (batch first).
  Map<Matrix<Plain>> matrix() const { return {data_, shape_.rows(), shape_.columns()}; }
  /// All entries as one Eigen column vector.
  Map<Eigen::Matrix<Plain, Eigen::Dynamic, 1>> vector() const { return {data_, size()}; }

 private:
  T* data_ = nullptr;
  Shape shape_;
};

/// A tensor that owns its elements: up to four dimensions, row-major, 64-byte aligned, zero at first.
template <class T> class Tensor {
 public:
  /// A scalar zero.
  Tensor() : Tensor(Shape{}) {}
  explicit Tensor(const Shape& shape) : shape_(shape), values_(static_cast<std::size_t>(shape.size())) {}
  /// Throws Error unless there is one value for each entry.
  Tensor(const Shape& shape, std::initializer_list<T> values) : Tensor(shape) {
    if (static_cast<Index>(values.size()) != size()) {
      throw Error("tensor", values.size(), " values for shape ", shape, ": expected ", size());
    }
    std::copy(values.begin(), values.end(), data());
  }
  /// A copy of what a view shows.
  explicit Tensor(View<const T> view) : Tensor(view.shape()) { std::copy(view.begin(), view.end(), data()); }
  /// A copy of an Eigen matrix (rows x columns) or, of a type that is a vector, of its entries.
  template <class Derived>
  explicit Tensor(const Eigen::DenseBase<Derived>& other)
      : Tensor(Derived::IsVectorAtCompileTime ? Shape{other.size()} : Shape{other.rows(), other.cols()}) {
    if constexpr (Derived::IsVectorAtCompileTime) {
      for (Index i = 0; i < size(); ++i) data()[i] = static_cast<T>(other.derived()(i));
    } else {
      matrix() = other.derived().template cast<T>();
    }
  }

  T* data() { return values_.data(); }
  const T* data() const { return values_.data(); }
  const Shape& shape() const { return shape_; }
  Index size() const { return shape_.size(); }
  T* begin() { return data(); }
  T* end() { return data() + size(); }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }
  T& operator[](Index position) { return data()[position]; }
  const T& operator[](Index position) const { return data()[position]; }

  View<T> view() { return {data(), shape_}; }
  View<const T> view() const { return {data(), shape_}; }
  operator View<T>() { return view(); }
  operator View<const T>() const { return view(); }
  auto matrix() { return view().matrix(); }
  auto matrix() const { return view().matrix(); }
  auto vector() { return view().vector(); }
  auto vector() const { return view().vector(); }

 private:
  Shape shape_;
  AlignedArray<T> values_;
};

}  // namespace taper

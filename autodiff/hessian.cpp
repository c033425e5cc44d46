#include <taper/autodiff/hessian.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/instantiate.hpp>

namespace taper {
namespace {

/// The largest absolute entry; not finite if an entry is not.
template <class T> double size_of(View<const T> x) {
  double size = 0;
  for (const T entry : x) {
    if (!std::isfinite(entry)) return std::numeric_limits<double>::infinity();
    size = std::max(size, std::abs(static_cast<double>(entry)));
  }
  return size;
}

/// Leaves of a tape that are moved along a direction and come back when this ends.
template <class T> class Line {
 public:
  Line(Tape<T>& tape, std::span<const Var<T>> leaves, std::span<const Tensor<T>> direction)
      : tape_(tape), leaves_(leaves), direction_(direction) {
    for (const Var<T>& leaf : leaves) origin_.emplace_back(leaf.value());
  }
  ~Line() {
    for (std::size_t i = 0; i < leaves_.size(); ++i)
      std::copy(origin_[i].begin(), origin_[i].end(), memory(leaves_[i]));
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  /// To origin + step direction 2^-exponent.
  void move(double step, int exponent) {
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      T* const x = memory(leaves_[i]);
      for (Index k = 0; k < origin_[i].size(); ++k) {
        const double along = std::ldexp(static_cast<double>(direction_[i][k]), -exponent);
        x[k] = static_cast<T>(static_cast<double>(origin_[i][k]) + step * along);
      }
    }
  }

 private:
  T* memory(const Var<T>& leaf) const { return tape_.nodes()[static_cast<std::size_t>(leaf.index())].value; }

  Tape<T>& tape_;
  std::span<const Var<T>> leaves_;
  std::span<const Tensor<T>> direction_;
  std::vector<Tensor<T>> origin_;
};

template <class T>
void check(Tape<T>& tape, std::span<const Var<T>> leaves, std::span<const Tensor<T>> v,
           double size_of_zeros) {
  const char* const where = "hessian_vector_product";
  if (leaves.empty()) throw Error(where, "no leaves: expected one or more");
  if (leaves.size() != v.size()) {
    throw Error(where, v.size(), " tensors for ", leaves.size(), " leaves: expected one for each");
  }
  if (!(size_of_zeros > 0 && std::isfinite(size_of_zeros))) {
    throw Error(where, "a size of ", size_of_zeros, ": expected a finite number above 0");
  }
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const Shape& shape = leaves[i].shape();  // also that it is of a recording at all
    const Node<T>& node = tape.nodes()[static_cast<std::size_t>(leaves[i].index())];
    if (&leaves[i].tape() != &tape || node.op != nullptr || !node.requires_grad) {
      throw Error(where, "variable %", leaves[i].index(),
                  ": expected a leaf of the tape of the output that requires a gradient");
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (leaves[j].index() != leaves[i].index()) continue;
      throw Error(where, "variable %", leaves[i].index(), " twice: expected each leaf once");
    }
    if (v[i].shape() != shape) {
      throw Error(where, "a vector ", v[i].shape(), " for variable %", leaves[i].index(), ": expected ",
                  shape);
    }
    if (!std::isfinite(size_of<T>(leaves[i].value())) || !std::isfinite(size_of<T>(v[i].view()))) {
      throw Error(where, "variable %", leaves[i].index(),
                  " or its vector has entries that are not finite: ", "expected finite numbers");
    }
  }
}

}  // namespace

template <class T>
std::vector<Tensor<T>> hessian_vector_product(Var<T> output, std::span<const Var<T>> leaves,
                                              std::span<const Tensor<T>> v, double size_of_zeros) {
  Tape<T>& tape = output.tape();
  tape.follow_blocks("hessian_vector_product");
  check(tape, leaves, v, size_of_zeros);
  std::vector<Tensor<T>> result;
  double largest = 0;
  for (const Tensor<T>& part : v) {
    result.emplace_back(part.shape());
    largest = std::max(largest, size_of<T>(part.view()));
  }
  if (largest == 0) return result;

  // The vector is scaled by a power of two, to entries of at most 2, and the step is one, too: no rounding.
  const int exponent = std::ilogb(largest);
  const double share = std::cbrt(static_cast<double>(std::numeric_limits<T>::epsilon()));
  double step = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < v.size(); ++i) {
    const double size = size_of<T>(leaves[i].value()), part = size_of<T>(v[i].view());
    if (part > 0)
      step = std::min(step, share * (size > 0 ? size : size_of_zeros) / std::ldexp(part, -exponent));
  }
  step = std::ldexp(1.0, std::ilogb(step));

  const std::uint64_t seed = tape.seed();
  {
    Line<T> line(tape, leaves, v);
    line.move(step, exponent);
    tape.value_and_gradient(output, seed);
    for (std::size_t i = 0; i < v.size(); ++i) std::ranges::copy(leaves[i].gradient(), result[i].begin());
    line.move(-step, exponent);
    tape.value_and_gradient(output, seed);
  }
  for (std::size_t i = 0; i < v.size(); ++i) {
    for (Index k = 0; k < result[i].size(); ++k) {
      const double change = static_cast<double>(result[i][k]) - static_cast<double>(leaves[i].gradient()[k]);
      result[i][k] = static_cast<T>(std::ldexp(change / (2 * step), exponent));
    }
  }
  tape.replay(seed);
  return result;
}

#define TAPER_INSTANTIATE(T)                                                              \
  template std::vector<Tensor<T>> hessian_vector_product(Var<T>, std::span<const Var<T>>, \
                                                         std::span<const Tensor<T>>, double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper

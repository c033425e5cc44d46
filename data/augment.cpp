#include <taper/data/augment.hpp>

#include <algorithm>

#include <taper/autodiff/error.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {
namespace {

/// Moves what is in [begin, end) by so many places, with zeros where nothing comes from.
template <class T> void move_by(T* begin, T* end, Index by) {
  if (by >= 0) {
    std::move_backward(begin, end - by, end);
    std::fill(begin, begin + by, T{});
  } else {
    std::move(begin - by, end, begin);
    std::fill(end + by, end, T{});
  }
}

}  // namespace

template <class T> void shift_images(View<T> images, Index most, Rng& rng) {
  const Shape& shape = images.shape();
  const Index rank = shape.rank();
  if (rank < 3) {
    throw Error("shift_images", "images ", shape,
                ": expected n x channels x rows x columns, or n x rows x columns");
  }
  const Index rows = shape[rank - 2], columns = shape[rank - 1];
  if (most < 0 || (images.size() > 0 && most >= std::min(rows, columns))) {
    throw Error("shift_images", "shifts of up to ", most, " in images of ", rows, " x ", columns,
                ": expected 0 or more, and less than an image");
  }
  const Index channels = rank == 4 ? shape[1] : 1;
  T* image = images.data();
  for (Index i = 0; i < shape[0]; ++i) {
    const Index down = rng.below(2 * most + 1) - most, right = rng.below(2 * most + 1) - most;
    for (Index c = 0; c < channels; ++c, image += rows * columns) {
      move_by(image, image + rows * columns, down * columns);
      for (Index r = 0; r < rows; ++r) move_by(image + r * columns, image + (r + 1) * columns, right);
    }
  }
}

#define TAPER_INSTANTIATE(T) template void shift_images(View<T>, Index, Rng&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::data

#pragma once

#include <string>
#include <string_view>

#include <taper/data/dataset.hpp>

namespace taper::data {

/// An array in LeCun's IDX format, in which MNIST and its relatives come: two bytes of zero, the type of the
/// elements (08 unsigned and 09 signed bytes, 0b and 0c whole numbers of 2 and 4 bytes, 0d and 0e real
/// numbers of 4 and 8), the number of dimensions, each dimension in 4 bytes, then the elements, row-major;
/// all numbers with their first byte the most significant (http://yann.lecun.com/exdb/mnist). Numbers that T
/// cannot hold exactly are rounded. `source` stands for the file in errors. Throws Error for other bytes in
/// front, more than four dimensions, fewer or more bytes than the dimensions say, a number that is finite and
/// too large for T, and when there is not enough memory.
template <class T> Tensor<T> parse_idx(std::string_view bytes, std::string_view source = "the data");

/// The same from a file, plain or packed by gzip. Throws Error like read_file and parse_idx.
template <class T> Tensor<T> read_idx(const std::string& path);

struct IdxOptions {
  /// What every element of the images is multiplied by, a finite number: unsigned bytes become 0 to 1.
  double scale = 1.0 / 255;
  /// At most so many images, the first ones; 0: all.
  Index limit = 0;
};

/// Images and their labels, from two IDX files: x as n x 1 x rows x columns, or n x channels x rows x columns
/// where the file has four dimensions, and y as n x 1, the whole numbers from 0 that cross_entropy_loss
/// takes. Throws Error like read_idx, for files of other dimensions or of different lengths, without images,
/// or with elements that are not finite or, of labels, no whole numbers from 0 on.
template <class T>
Dataset<T> read_idx_images(const std::string& images, const std::string& labels,
                           const IdxOptions& options = {});

}  // namespace taper::data

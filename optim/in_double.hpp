#pragma once

#include <memory>
#include <span>
#include <vector>

#include <taper/nn/parameter.hpp>

namespace taper::optim {

/// Where the parameters of a model lie in a block of double: one after the other, in their order.
template <class T> class DoubleLayout {
 public:
  explicit DoubleLayout(const nn::Parameters<T>& parameters);

  /// How many elements such a block has.
  Index size() const { return size_; }
  /// The place of what lies at this position in the model's own block, which is an element of a parameter.
  Index position(Index in_model) const;

 private:
  struct Piece {
    Index from, size, to;
  };
  std::vector<Piece> pieces_;  // by `from`
  Index size_ = 0;
};

/// Records on `to` what leads to the variable at position `output` of a tape, in double whatever T is, and
/// returns that variable. Parameters are leaves in `block`, with that layout; the leaves at the positions
/// `inputs` are inputs, which are stored to `recorded`, and all others constants. Throws Error, in the name
/// of `where`, for an operation that there is for T alone.
template <class T>
Var<double> record_in_double(const Tape<T>& from, Index output, const nn::Parameters<T>& parameters,
                             const DoubleLayout<T>& layout, std::span<const Index> inputs, Tape<double>& to,
                             const std::shared_ptr<Block<double>>& block, std::vector<Var<double>>& recorded,
                             const char* where);

}  // namespace taper::optim

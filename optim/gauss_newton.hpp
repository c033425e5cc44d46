#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <taper/nn/module.hpp>
#include <taper/optim/in_double.hpp>
#include <taper/optim/output_loss.hpp>
#include <taper/optim/row_gradients.hpp>

namespace taper::optim {

/// A loss that is recorded from the inputs of some rows, one for each column of the data (train::Step).
template <class T> using RowLoss = std::function<Var<T>(Tape<T>& tape, std::span<const Var<T>> inputs)>;

/// The mean loss of a model over all rows of a data set as a function of the free entries of its parameters,
/// with gradient and Gauss-Newton matrix, all computed in double.
///
/// The model is recorded for evaluation: dropout passes everything, batch norm has its running statistics.
/// The value and the gradient are computed in batches of rows. A Jacobian needs the gradient of every output
/// in every row. Where parameters are those of affine operations alone, it is made from passes over batches
/// (RowGradients). Otherwise the network is recorded for one row, and replayed for each, with a backward pass
/// for each output, which costs about 50 ns for each operation. Every thread has tapes of its own. Work is
/// split by rows and added up in their order, so that results do not depend on the number of threads.
template <class T> class GaussNewton {
 public:
  /// Model, columns and what `loss` refers to must outlive it. Throws Error, in the name of `where`, for
  /// columns that are empty, not finite or do not fit, for a loss other than those of OutputLoss of the rows
  /// of one column (the targets), a model whose outputs for one row depend on others, an operation that there
  /// is for one scalar alone, and weights that are not one finite number of at least 0 for each row, or all
  /// 0.
  GaussNewton(nn::Module<T>& model, const std::vector<View<const T>>& columns, const RowLoss<T>& loss,
              std::span<const double> sample_weights, const char* where);

  const nn::Parameters<T>& parameters() const { return parameters_; }
  Index rows() const { return columns_.front().shape()[0]; }
  const OutputLoss& loss() const { return *loss_; }
  /// The rows that have a part in the mean, rising: those with a weight, and with a label that is not
  /// ignored.
  std::span<const Index> counting() const { return counting_; }

  /// Takes masks and values of the model as they are now, buffers too. Throws Error when its parameters were
  /// laid out anew.
  void sync();
  /// How many free entries there are, and where they lie in the block of the model.
  Index size() const { return static_cast<Index>(positions_.size()); }
  std::span<const Index> positions() const { return positions_; }
  /// The free entries of the model.
  std::vector<double> point() const;
  /// Rounds to what the model can hold.
  void round(std::span<double> x) const;
  /// Stores the free entries to the model. Throws Error when its parameters were laid out anew, or other
  /// entries are free than there were.
  void store(std::span<const double> x);

  /// The mean loss at x; its gradient is written. Not finite where the model is not.
  double evaluate(std::span<const double> x, std::span<double> gradient);
  /// Writes the lower triangle of the Gauss-Newton matrix of the mean loss over these rows at x, row-major,
  /// size() x size().
  void curvature(std::span<const double> x, std::span<const Index> rows, double* to);

 private:
  struct Recorded {
    Tape<double> tape{Mode::evaluation};
    std::vector<Var<double>> inputs;
    Var<double> output;
  };
  /// A copy of the parameters for one thread, with tapes for a batch and for one row.
  struct Lane {
    std::shared_ptr<Block<double>> block;
    Recorded batch, row;
    std::vector<double> targets, factors, seed;
  };
  /// Free entries that lie side by side: from position `at` in the block of a lane on.
  struct Run {
    Index first, at, size;
  };

  /// How many lanes do so many pieces of work.
  Index lanes_for(Index pieces) const {
    return std::clamp<Index>(pieces, 1, static_cast<Index>(lanes_.size()));
  }
  static bool reads(const Recorded& recorded, std::size_t column);
  void record();
  void take_values();
  void check_rows_alone();
  void require_layout() const;
  double weight_of(Index row) const { return weights_.empty() ? 1 : weights_[static_cast<std::size_t>(row)]; }
  void load(Recorded& to, Index first, Index count, Index at = 0) const;
  void load_targets(Lane& lane, Index row) const;
  void spread(std::span<const double> x);
  void gather(const Lane& lane, double* to) const;
  double evaluate_batch(Lane& lane, Index batch, double* gradient) const;
  void load_factor(Lane& lane, Index row, const double* outputs, double total,
                   std::span<double> factor) const;
  void jacobian_by_row(Lane& lane, std::span<const Index> rows, double total, double* to) const;
  void jacobian_by_batch(Lane& lane, std::span<const Index> rows, double total, double* to) const;

  const char* where_;
  const nn::Module<T>& model_;
  RowLoss<T> row_loss_;
  std::vector<View<const T>> columns_;
  nn::Parameters<T> parameters_;
  DoubleLayout<T> layout_;
  std::optional<OutputLoss> loss_;
  std::size_t target_ = 0;        // the column of the targets
  bool target_is_input_ = false;  // whether the outputs are computed from it, too
  Index batch_rows_;
  std::vector<double> weights_;  // of the rows; empty for 1
  std::vector<Index> counting_;  // rows with a part in the mean
  double total_ = 0;             // of the terms of the mean, with weights
  bool depends_ = false;         // whether the outputs depend on parameters
  std::optional<RowGradients> by_batch_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::uint64_t masks_ = 0;  // in which version the block had them at sync
  std::vector<Index> positions_;
  std::vector<Run> runs_;
  std::vector<double> partial_, jacobian_;
};

}  // namespace taper::optim

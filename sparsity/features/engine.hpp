#pragma once

#include <memory>

#include <taper/sparsity/features/problem.hpp>

namespace taper::sparsity::features {

/// A model at a penalty.
struct Fit {
  double penalty = 0;
  std::vector<Index> columns;  ///< of the problem, that are in; rising
  std::vector<double> norms;   ///< of their weights
  double train_loss = 0;
  std::vector<double> losses;  ///< of the rows held out
  std::size_t id = 0;          ///< the engine's name for it
};

/// What fits models at penalties, each from one that it fitted before.
class Engine {
 public:
  virtual ~Engine() = default;
  /// Whether penalties rise along its path, from dense to sparse.
  virtual bool rises() const = 0;
  /// Where the path starts, and by what penalties are multiplied from there.
  virtual double first_penalty() const = 0;
  virtual double ratio() const = 0;
  /// The smallest penalty that makes sense, as a share of the first.
  virtual double smallest() const = 0;
  virtual Fit fit(double penalty, const Fit* from) = 0;
  /// With these columns alone fitted at the penalty of `from`.
  virtual FeatureCertificate certify(const std::vector<Index>& columns, const Fit& from) = 0;
};

/// The problem and the rows must outlive the engine.
std::unique_ptr<Engine> make_linear_engine(const Problem& problem, const FeatureRows& rows);
template <class T>
std::unique_ptr<Engine> make_network_engine(const Problem& problem, const FeatureRows& rows,
                                            const SelectFeaturesOptions& options);

/// The loss of a row, from the model's outputs for it: the squared error, or the cross entropy, of two
/// classes from one output.
double row_loss(const Problem& problem, const double* outputs, double y);
/// Outputs of the model that reads no column.
std::vector<double> null_outputs(const Problem& problem, const std::vector<Index>& rows);

}  // namespace taper::sparsity::features

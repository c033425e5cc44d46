#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include <taper/data/dataset.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>
#include <taper/optim/minimize.hpp>

namespace taper::optim {

/// What a callback is shown after a step, when the model has its new parameters.
struct LevenbergMarquardtIterate {
  Index iteration;  // from 1
  double loss;      // the mean over all rows
  double value;     // with the decay: what is minimized
  /// The largest cosine between the residuals and a column of their Jacobian, at the point before.
  double gradient;
  double damping;  // of the next iteration
};

struct LevenbergMarquardtOptions {
  /// The penalty weight_decay / 2 * ||free entries||^2, as in an optimizer with coupled decay.
  double weight_decay = 0;
  /// Other decays by name, see optim::Group. An lr there is an Error.
  std::vector<Group> groups = {};
  /// Steps that are taken.
  Index max_iterations = 100;
  /// No further step is tried after so many seconds.
  double max_seconds = std::numeric_limits<double>::infinity();
  /// Converged when no free entry of the gradient g is larger than this times sqrt(2 f H_jj), with f what is
  /// minimized and H the Gauss-Newton matrix: for squares, the cosine between the residuals and a column of
  /// their Jacobian, which has no unit (More, 1978). By default the square root of the precision of T.
  std::optional<double> gradient_tolerance = {};
  /// Converged when a step lowers the value by at most this share of it.
  double value_tolerance = 0;
  /// Converged when a step is at most this share of the parameters, both in the norm of the scales.
  double step_tolerance = 0;
  /// That of the first step, relative to the scales of the curvature.
  double damping = 1e-2;
  /// How many rows a Gauss-Newton matrix is taken from, drawn anew for each; 0 for 5 for each parameter and
  /// 2048 at least, or all, where there are not so many. Rows without weight are not drawn. Value and
  /// gradient are those of all rows in any case, so that this changes the course and not the minimum (Byrd,
  /// Chin, Neveitt and Nocedal, "On the use of stochastic Hessian information in optimization methods for
  /// machine learning", 2011).
  Index rows = 0;
  /// How many steps are made with one matrix at most: 1 is the textbook's method.
  Index steps_by_matrix = 40;
  std::uint64_t seed = 0;
  /// One for each row, or none: the mean is weighted by them.
  std::vector<double> sample_weights = {};
  /// Called after each step; one that returns false ends the run.
  std::function<bool(const LevenbergMarquardtIterate&)> callback = {};
};

/// Levenberg-Marquardt: minimizes the mean loss of a model over all rows plus decay, which is what train::fit
/// lowers with SGD and coupled decay, in the free entries of its parameters, by damped Gauss-Newton steps
///
///     (H + damping diag(D)) step = -gradient,    H = J' H_out J / terms + diag(decay),
///
/// with the Jacobian J of the outputs and the second derivatives H_out of the loss by them: 2 for squares, so
/// that this is the method of Levenberg (1944) and Marquardt (1963), which Hagan and Menhaj ("Training
/// feedforward networks with the Marquardt algorithm", 1994) apply to networks; with cross entropy, it is
/// the generalized Gauss-Newton matrix (Schraudolph, 2002; Martens, "Deep learning via Hessian-free
/// optimization", 2010). A step is taken when it lowers the value over all rows; the damping follows the
/// ratio of what it lowers to what was predicted (Nielsen, as in Madsen, Nielsen and Tingleff, "Methods for
/// non-linear least squares problems", 2004, equation 2.21 and algorithm 3.16).
///
/// The scale D of an entry is the mean of the diagonal of H over the entries of its weight that have the same
/// input (over a bias as a whole), the largest one so far: so the course does not depend on the units of
/// inputs or targets, and where the curvature vanishes for a while, steps stay bounded (More, "The
/// Levenberg-Marquardt algorithm: implementation and theory", 1978, who takes each entry by itself; that
/// gives units that are hardly active too much freedom, and networks with ReLU then end higher).
///
/// The start may be of other units than the targets, as usual initial weights are for targets of 1e8 or
/// 1e-150, and then no damping fits the last layer and those in front of it: from hidden weights that suit
/// outputs of one size, a step to outputs of another ends where nothing moves any more. So a module in whose
/// entries the value is a square, as that of the last layer is with mse_loss, is fitted by itself first, if
/// that changes it (in the norm of the scales) by more than 32 times.
///
/// At an exact fit the gradient is one of rounding alone. A run that has come there is converged: where the
/// value is no more than relative changes of the entries by the precision of T add to it, sum_i H_ii
/// (epsilon x_i)^2, or less than any normal number.
///
/// A matrix costs as much as many evaluations of the value and its gradient. So a step with a new matrix is
/// followed by others with the same one, of L-BFGS in the coordinates in which the damped matrix is the
/// identity: it starts from that matrix and learns what has changed, and the second-order terms that
/// Gauss-Newton leaves out (in the spirit of Dennis, Gay and Welsch, "An adaptive nonlinear least-squares
/// algorithm", 1981). They go on as long as a step gains more for each evaluation than all steps with that
/// matrix have gained together, its own cost included.
///
/// For networks of up to a few thousand parameters: memory grows with the square of their number, the time
/// of a matrix with its rows times that square, and of its factors with the cube. Everything is computed in
/// double on all cores, with the same bits for any number of threads; a step is rounded to T before it is
/// judged. The model is recorded for evaluation: dropout passes everything, batch norm keeps its running
/// statistics as they are and trains only its scales and shifts. Entries that are frozen keep their bits and
/// have no decay.
template <class T> class LevenbergMarquardt {
 public:
  /// `loss` is mse_loss, bce_with_logits_loss or cross_entropy_loss. Model and data must outlive this. Throws
  /// Error for options out of range, data that are empty, not finite or do not fit, a label that is no class,
  /// a target of bce_with_logits_loss that is no probability, another loss, a model whose output for one row
  /// depends on other rows, and an operation that there is for T alone.
  LevenbergMarquardt(nn::Module<T>& model, const data::Dataset<T>& data,
                     const std::type_identity_t<nn::Loss<T>>& loss,
                     const LevenbergMarquardtOptions& options = {});
  LevenbergMarquardt(nn::Module<T>&, data::Dataset<T>&&, const std::type_identity_t<nn::Loss<T>>&,
                     const LevenbergMarquardtOptions& = {}) = delete;
  /// The same for columns and a step of one's own (train::Step), which ends with one of these losses of
  /// computed outputs and of a column. What it refers to must outlive this, too.
  LevenbergMarquardt(
      nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& columns,
      const std::type_identity_t<std::function<Var<T>(Tape<T>&, std::span<const Var<T>>)>>& step,
      const LevenbergMarquardtOptions& options = {});
  LevenbergMarquardt(LevenbergMarquardt&&) noexcept;
  LevenbergMarquardt& operator=(LevenbergMarquardt&&) noexcept;
  ~LevenbergMarquardt();

  /// Runs from the parameters and masks that the model has now. The model ends with the last accepted step,
  /// which has the least value so far, also when a callback throws; a step to a value that is not finite is
  /// never stored. Throws Error when the value at the start is not finite, the model's parameters were laid
  /// out anew, or its masks changed on the way. The same object may run again.
  Outcome minimize();

 private:
  struct Run;
  std::unique_ptr<Run> run_;
};

}  // namespace taper::optim

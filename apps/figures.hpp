#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "plot.hpp"

/// The figures of the programs, from plain numbers.
namespace taper::apps {

/// A regularization path with its cross-validation: m values of lambda, falling, p coefficients.
struct Path {
  std::vector<double> lambdas;
  std::vector<std::vector<double>> coefficients;  ///< m times p
  std::vector<std::string> names;                 ///< p
  std::vector<double> loss, standard_error;       ///< m each
  std::string loss_name;
  std::size_t best = 0, one_standard_error = 0;
};

/// A name at the end of a curve.
struct EndLabel {
  std::size_t curve;
  double height;  ///< In the units of the ends.
};

/// Names for curves that end at `ends`, none nearer to another than `apart`, all between `low` and `high`, in
/// the order of the ends: of those `chosen` all, as far as there is room, and otherwise those that end
/// farthest from 0; then others, while no name is farther from its end than `apart` because of them, up to
/// `most` in all.
std::vector<EndLabel> end_labels(const std::vector<double>& ends, const std::vector<bool>& chosen,
                                 double apart, double low, double high, std::size_t most = 12);

/// Above, the coefficients along the path, named at its end, those of the sparser choice in colour; below,
/// the loss on held-out rows and its standard error. Both choices are marked. The figure grows with the
/// names: up to 2000 are drawn, those that end farthest from 0, each whole up to a width of 3000 points (some
/// 500 letters) and beyond that without its middle. The file of its numbers has all names whole.
Figure path_figure(const Path& path);

/// The coefficients found against those of the exact solution, on axes that are linear near zero and
/// logarithmic beyond (asinh), so that signs and what should be zero are seen, too.
Figure coefficients_figure(const std::vector<double>& exact, const std::vector<double>& found,
                           const std::string& method);

/// Objective minus minimum after each epoch (or what `unit` says, from 1), on a logarithmic axis, with the
/// last one marked; and what the proximal step made of it where that is a number. Below `floor`, more than 0,
/// the difference is rounding, and is drawn there.
Figure convergence_figure(const std::vector<double>& excess, double proximal, double floor,
                          const std::string& unit);

/// Which weights of a layer are not zero, outputs x inputs, row by row.
struct Pattern {
  std::size_t outputs = 0, inputs = 0;
  std::vector<bool> nonzero;
};

/// The patterns of a network's layers side by side, black where a weight is not zero, all to one scale.
Figure layers_figure(const std::vector<Pattern>& layers);

/// Square images with positive (red) and negative (blue) pixels, `side` x `side` each, on one scale, in rows
/// of up to ten.
Figure images_figure(const std::vector<std::vector<double>>& images, std::size_t side,
                     const std::string& label);

/// A network on a path of penalties: its size, its loss as it was cut, and trained again, and that of a dense
/// network of the same size; losses are NaN where there is none. In place of the penalty may stand any number
/// that several seeds have in common.
struct SizedLoss {
  double alpha, size, loss, refit_loss, dense_loss;
};

/// What such a figure is labelled with.
struct SizesAxes {
  std::string loss;
  std::string size = "parameters of the shrunk network";
  bool alpha = true;  ///< Whether the penalties at both ends are told.
};

/// Which points are on the front: no other has at most their size and at most their loss, one of them less.
/// Of equal points all are. NaN is on no front.
std::vector<bool> on_front(const std::vector<double>& size, const std::vector<double>& loss);

/// Loss against size, on a logarithmic axis. Each kind of network has its front, drawn through from small to
/// large, and its other points pale. Points of the same penalty (several seeds) are drawn as their mean, with
/// bars from the least to the largest loss.
Figure sizes_figure(const std::vector<SizedLoss>& points, const SizesAxes& axes);

}  // namespace taper::apps

#pragma once

#include <cstdint>
#include <taper/data/dataset.hpp>
#include <taper/nn/layers/factorization_machine.hpp>
#include <taper/sparsity/certify.hpp>
#include <vector>

#include "rating_certificate.hpp"

/// How many latent dimensions a factorization machine needs, found while it is trained.
namespace taper::apps {

struct RatingFitOptions {
  Index rank = 32;     ///< Latent dimensions that are offered.
  bool fixed = false;  ///< Keeps all of them: the control, which is chosen and trained in the same way.
  std::uint64_t seed = 0;
};

/// A penalty of the path, and the machine that was trained with it.
struct RatingPoint {
  double alpha = 0;         ///< The group penalty of each latent dimension; of entries where all are kept.
  Index rank = 0;           ///< Dimensions that are left.
  double validation = 0;    ///< RMSE on the validation part.
  double refit = -1;        ///< The same, trained again without gates; -1 where that was not tried.
  double refit_decay = -1;  ///< Weight decay of that training.
  bool is_chosen = false;
};

/// In the units of the ratings, but for the penalties, which are those of ratings with deviation 1.
struct RatingFit {
  nn::FactorizationMachine<float> shrunk;    ///< As the chosen penalty left it, without its dead dimensions.
  nn::FactorizationMachine<float> refitted;  ///< Trained again on all rows.
  double mean = 0, deviation = 1;            ///< Of the ratings, which both machines take as 0 and 1.
  std::vector<RatingPoint> path = {};
  RatingPoint chosen = {};
  double factor_decay = 0, weight_decay = 0;      ///< Of the last training.
  sparsity::NetworkCertificate certificate = {};  ///< Of the chosen penalty; none where all are kept.
  NextDimension next = {};
  double shrink_difference = 0;  ///< Relative, from cutting the dead dimensions off.
  Index training_rows = 0, validation_rows = 0;
  double seconds = 0;

  Index rank() const { return refitted.factors.shape()[1]; }
  /// Predictions in the units of the ratings.
  std::vector<double> predict(const nn::FactorizationMachine<float>& machine, const Tensor<double>& x) const;
};

/// Trains a factorization machine of fields on ratings, a tenth of which is set aside for every choice:
///
///  1. The factors get a gate for each latent dimension (sparsity::factorize), so that weight decay is a
///     group penalty on dimensions. For two fields that of one is the root of twice the singular value that
///     it adds: concave, it ends dimensions of noise and hardly shrinks others. The penalty rises along a
///     path, each point from the one before; dimensions that have died are cut off on the way.
///  2. Points with the least validation loss, one for each rank, are trained again without gates. Of their
///     ranks the smallest is chosen whose loss is within one standard error of the best (Breiman, Friedman,
///     Olshen and Stone, "Classification and regression trees", 1984, section 3.4.3), of the differences row
///     by row.
///  3. Decay of factors and of biases is searched for by factors of 2, and what comes out is trained on all
///     rows.
///
/// The last position of each field stands for what is unknown: its weight and its factors stay zero. Throws
/// Error for fewer than 20 ratings.
RatingFit fit_ratings(const data::Dataset<double>& ratings, const std::vector<Index>& field_sizes,
                      const RatingFitOptions& options = {});

}  // namespace taper::apps

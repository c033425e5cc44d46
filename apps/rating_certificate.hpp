#pragma once

#include <taper/data/dataset.hpp>
#include <taper/nn/layers/factorization_machine.hpp>

/// Where the penalized loss of a factorization machine with gates is stationary, and whether one more
/// dimension could lower it.
namespace taper::apps {

/// Goes on to a minimum of mean squared error + alpha / 2 times the squares of the factors' factors + decay /
/// 2 times those of the weights, with all rows at a time, by L-BFGS: batches of Adam end close to it.
void polish(nn::FactorizationMachine<float>& machine, const data::Dataset<float>& set, double alpha,
            double decay);

/// What one more dimension could do for that objective, in the direction in which the residuals ask for it
/// most.
struct NextDimension {
  double gain = 0;       ///< By how much it falls at the best length; 0 where every length makes it worse.
  double objective = 0;  ///< What it is without.
};

/// A dimension t v with ||v|| = 1 changes the objective by -2 c t^2 + d t^4 + alpha t, where e are residuals,
/// z the products of v over pairs of fields in each row, c the mean of e z and d that of z^2. v is the one
/// with the largest c, which is an eigenvector of a symmetric matrix, by power iteration. The condition at
/// zero that sparsity::certify tests holds for every dimension that is zero, as its gradient is zero there;
/// this one looks at all lengths.
NextDimension next_dimension(const nn::FactorizationMachine<float>& machine, const data::Dataset<float>& set,
                             double alpha, double objective);

}  // namespace taper::apps

#pragma once

/// Everything: train models sparse, and cut them down to small dense ones that compute the same.
#include <taper/autodiff/gradcheck.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/batches.hpp>
#include <taper/data/csv.hpp>
#include <taper/data/dataset.hpp>
#include <taper/data/scaler.hpp>
#include <taper/data/split.hpp>
#include <taper/data/synthetic.hpp>
#include <taper/nn/activations.hpp>
#include <taper/nn/linear.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/mask.hpp>
#include <taper/nn/select.hpp>
#include <taper/nn/sequential.hpp>
#include <taper/nn/summary.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/minimize.hpp>
#include <taper/optim/schedule.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/pruning.hpp>
#include <taper/sparsity/refit.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/fit.hpp>

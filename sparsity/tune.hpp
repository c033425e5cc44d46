#pragma once

/// The search for the size: what is searched, by whom, and what a trial is.
#include <taper/sparsity/tune/sampler.hpp>
#include <taper/sparsity/tune/space.hpp>
#include <taper/sparsity/tune/study.hpp>
#include <taper/sparsity/tune/trial.hpp>
#include <taper/sparsity/tune/two_phase.hpp>

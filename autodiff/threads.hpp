#pragma once

namespace taper {

/// How many threads the matrix kernels may use at most. Results are the same bits for any number. Throws
/// Error for fewer than one.
void set_threads(int count);

/// As set, or as many as OpenMP would use (OMP_NUM_THREADS).
int threads();

}  // namespace taper

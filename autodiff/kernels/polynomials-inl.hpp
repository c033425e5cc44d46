#pragma once

#include <cstddef>

/// The coefficients behind math-inl.hpp, the lowest power first. Each but one is the near-minimax polynomial
/// of its function: interpolation at the Chebyshev nodes of the interval in 60 digits (mpmath's chebyfit),
/// then rounded. The largest error of the polynomial before that rounding is given with each.
namespace taper::kernels::polynomials {

// (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2; errors 6.5e-8 and 1.1e-16.
inline constexpr float exp_float[] = {0.5f, 0.166665763f, 0.0416665561f, 0.00836317893f, 0.0013926184f};
inline constexpr double exp_double[] = {
    0.5000000000000001,     0.16666666666666669,    0.04166666666662413,    0.008333333333330062,
    0.0013888888917213717,  0.00019841269863053618, 2.4801521295954376e-05, 2.7557268459997064e-06,
    2.7620088445409746e-07, 2.510038549551032e-08};

// (log(1 + f) - f + f^2 / 2) / f^3 for 1 + f between the square roots of 1/2 and 2; error 2.9e-8.
inline constexpr float log_float[] = {0.333333313f,  -0.24999997f, 0.200007156f,  -0.166678026f, 0.142490581f,
                                      -0.124256872f, 0.116854198f, -0.114797339f, 0.0697161183f};
// (log((1 + s) / (1 - s)) - 2 s) / s^3 as a function of s^2, for s = f / (2 + f) of the same f;
// error 3.1e-16.
inline constexpr double log_double[] = {0.666666666666667,  0.39999999999899505, 0.28571428625975487,
                                        0.2222221113479508, 0.18182889125261723, 0.15331721600556042,
                                        0.14616449685043406};

// (a + 4) exp(a^2 / 2) Phi(-a), with the normal distribution function Phi, as a function of t = (a - 4) / (a
// + 4): for a in [0, 15], error 1.5e-9; for a in [0, 39], error 1.9e-17.
inline constexpr float tail_float[] = {0.755285144f,    -0.607896686f,   0.387137353f,    -0.186521277f,
                                       0.0603975318f,   -0.00754526816f, -0.00348931737f, 0.00164521928f,
                                       0.000171054606f, -0.00023179868f, -5.15565916e-5f};
inline constexpr double tail_double[] = {
    0.7552851304157515,     -0.6078966419718917,     0.38713740074221886,     -0.18652185795969417,
    0.06039657489069947,    -0.007540188965593059,   -0.0034796923622425332,  0.0016308184418903596,
    0.00013334425401904912, -0.0002310948183193762,  -1.9078665316613576e-06, 3.5144181157760973e-05,
    7.150055959216099e-07,  -5.918892731763236e-06,  -6.25132104047868e-07,   1.0198048518135172e-06,
    2.6368248576407624e-07, -1.5426320536771075e-07, -7.63808205349045e-08,   1.457859334703646e-08,
    1.392402399350171e-08,  7.26954547902669e-11,    -9.653425420228504e-10};

// tanh(x) / x as a function of x^2, for |x| up to 9.02, where the result is 1 in float: a quotient, found by
// least squares of the linearized relative error at the Chebyshev nodes, with weights that are raised where
// the error is large until it is even (Sanathanan and Koerner's and Lawson's iterations); error 2.1e-8.
inline constexpr float tanh_above[] = {1.0f, 0.133798093f, 0.00349413883f, 2.05850683e-5f, 1.33210305e-8f};
inline constexpr float tanh_below[] = {1.0f, 0.467131227f, 0.025871478f, 0.000328325783f, 7.76287152e-7f};

// (sin(r) / r - 1) / r^2 as a function of r^2, for |r| <= pi / 4; errors 1.2e-8 and 1.3e-17.
inline constexpr float sin_float[] = {-0.166666642f, 0.00833274797f, -0.00019587866f};
inline constexpr double sin_double[] = {-0.16666666666666666,    0.008333333333330948,
                                        -0.00019841269836756774, 2.7557316101617874e-06,
                                        -2.505113165023518e-08,  1.5918115263265974e-10};
// (cos(r) - 1 + r^2 / 2) / r^4 likewise; errors 7.6e-10 and 4.9e-19.
inline constexpr float cos_float[] = {0.0416666642f, -0.00138883025f, 2.45479168e-05f};
inline constexpr double cos_double[] = {0.041666666666666664,  -0.0013888888888887398,
                                        2.480158729876456e-05, -2.7557317271145144e-07,
                                        2.087614614655861e-09, -1.1382623647474604e-11};

// erf(x) / x as a function of x^2, for |x| <= 1/2; errors 1.5e-9 and 4.3e-18.
inline constexpr float erf_float[] = {1.12837911f, -0.376126081f, 0.112828314f, -0.026757732f,
                                      0.00471908273f};
inline constexpr double erf_double[] = {
    1.1283791670955126,     -0.37612638903183476,    0.11283791670925353,
    -0.026866170632887928,  0.00522397737302147,     -0.0008548297753674966,
    0.00012053335124353741, -1.4845849259707869e-05, 1.4725865480556744e-06};

}  // namespace taper::kernels::polynomials

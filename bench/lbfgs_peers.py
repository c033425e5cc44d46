#!/usr/bin/env python3
"""Evaluations of L-BFGS by SciPy and by liblbfgs on the problems of bench/lbfgs.cpp, from the same starts, until
no entry of the gradient is above 1e-8. Needs python3-scipy and liblbfgs-dev; what is missing is left out.

Both are run as they come, but with the same ten pairs of history that Taper has. liblbfgs is stopped by its
progress callback, because its own test is another one.
"""

import ctypes
import ctypes.util

import numpy as np

try:
    import scipy.optimize
except ImportError:
    scipy = None


def squares(residuals, jacobian):
    r, j = np.array(residuals, float), np.array(jacobian, float)
    return r @ r, 2 * j.T @ r


def rosenbrock(x):
    a, b = 10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]
    g = np.empty_like(x)
    g[::2] = -40 * x[::2] * a - 2 * b
    g[1::2] = 20 * a
    return a @ a + b @ b, g


def helical_valley(x):
    square = x[0] ** 2 + x[1] ** 2
    radius, turn = np.sqrt(square), 2 * np.pi
    theta = np.arctan(x[1] / x[0]) / turn + (0.5 if x[0] < 0 else 0)
    slope = 100 / turn / square
    return squares([10 * (x[2] - 10 * theta), 10 * (radius - 1), x[2]],
                   [[slope * x[1], -slope * x[0], 10],
                    [10 * x[0] / radius, 10 * x[1] / radius, 0], [0, 0, 1]])


def powell_singular(x):
    a, b, u, v = 5 ** 0.5, 10 ** 0.5, x[1] - 2 * x[2], x[0] - x[3]
    return squares([x[0] + 10 * x[1], a * (x[2] - x[3]), u * u, b * v * v],
                   [[1, 10, 0, 0], [0, 0, a, -a], [0, 2 * u, -4 * u, 0],
                    [2 * b * v, 0, 0, -2 * b * v]])


def wood(x):
    a, b, c = 90 ** 0.5, 10 ** 0.5, 0.1 ** 0.5
    return squares([10 * (x[1] - x[0] ** 2), 1 - x[0], a * (x[3] - x[2] ** 2), 1 - x[2],
                    b * (x[1] + x[3] - 2), c * (x[1] - x[3])],
                   [[-20 * x[0], 10, 0, 0], [-1, 0, 0, 0], [0, 0, -2 * a * x[2], a],
                    [0, 0, -1, 0], [0, b, 0, b], [0, c, 0, -c]])


def beale(x):
    y = [1.5, 2.25, 2.625]
    return squares([y[i] - x[0] * (1 - x[1] ** (i + 1)) for i in range(3)],
                   [[x[1] ** (i + 1) - 1, x[0] * (i + 1) * x[1] ** i] for i in range(3)])


def brown(x):
    return squares([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2], [[1, 0], [0, 1], [x[1], x[0]]])


PROBLEMS = [("Rosenbrock", rosenbrock, [-1.2, 1]),
            ("extended Rosenbrock, 100", rosenbrock, [-1.2, 1] * 50),
            ("Powell singular", powell_singular, [3, -1, 0, 1]),
            ("Wood", wood, [-3, -1, -3, -1]),
            ("Beale", beale, [1, 1]),
            ("Brown badly scaled", brown, [1, 1]),
            ("Helical valley", helical_valley, [-1, 0, 0])]


def with_scipy(f, start):
    result = scipy.optimize.minimize(f, np.array(start, float), jac=True, method="L-BFGS-B",
                                     options={"maxcor": 10, "ftol": 0, "gtol": 1e-8,
                                              "maxiter": 100000, "maxfun": 100000})
    return result.nfev, np.abs(f(result.x)[1]).max()


class Parameters(ctypes.Structure):
    _fields_ = [("m", ctypes.c_int), ("epsilon", ctypes.c_double), ("past", ctypes.c_int),
                ("delta", ctypes.c_double), ("max_iterations", ctypes.c_int),
                ("linesearch", ctypes.c_int), ("max_linesearch", ctypes.c_int),
                ("min_step", ctypes.c_double), ("max_step", ctypes.c_double),
                ("ftol", ctypes.c_double), ("wolfe", ctypes.c_double), ("gtol", ctypes.c_double),
                ("xtol", ctypes.c_double), ("orthantwise_c", ctypes.c_double),
                ("orthantwise_start", ctypes.c_int), ("orthantwise_end", ctypes.c_int)]


def with_liblbfgs(library, f, start):
    number = ctypes.c_double
    array = ctypes.POINTER(number)
    evaluate_type = ctypes.CFUNCTYPE(number, ctypes.c_void_p, array, array, ctypes.c_int, number)
    progress_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, array, array, number, number, number,
                                     number, ctypes.c_int, ctypes.c_int, ctypes.c_int)
    n, calls, largest = len(start), [0], [np.inf]

    def evaluate(_, x, g, count, step):
        calls[0] += 1
        value, gradient = f(np.ctypeslib.as_array(x, (n,)).copy())
        for i in range(n):
            g[i] = gradient[i]
        return value

    def progress(_, x, g, value, x_norm, g_norm, step, count, iteration, evaluations):
        largest[0] = np.abs(np.ctypeslib.as_array(g, (n,))).max()
        return int(largest[0] <= 1e-8)

    parameters = Parameters()
    library.lbfgs_parameter_init(ctypes.byref(parameters))
    parameters.m, parameters.epsilon = 10, 1e-300
    x = (number * n)(*start)
    library.lbfgs(n, x, None, evaluate_type(evaluate), progress_type(progress), None,
                  ctypes.byref(parameters))
    return calls[0], largest[0]


def main():
    path = ctypes.util.find_library("lbfgs")
    library = ctypes.CDLL(path) if path else None
    if scipy:
        print("SciPy", scipy.__version__)
    print(f"{'problem':<26} {'SciPy':>8} {'|gradient|':>11} {'liblbfgs':>9} {'|gradient|':>11}")
    for name, f, start in PROBLEMS:
        a = with_scipy(f, start) if scipy else ("-", float("nan"))
        b = with_liblbfgs(library, f, start) if library else ("-", float("nan"))
        print(f"{name:<26} {a[0]:>8} {a[1]:>11.1e} {b[0]:>9} {b[1]:>11.1e}")


if __name__ == "__main__":
    main()

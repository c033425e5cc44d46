#!/usr/bin/env python3
"""L1 logistic regression on Madelon by other solvers and, before and after them, by Taper (bench/exact), each on
one thread, as a Markdown table. Runs what is installed of scikit-learn (liblinear and saga), celer, skglm and
adelie; needs numpy, and TAPER_DATA to name a folder with madelon.csv.gz.

Every solver minimizes mean logistic loss + lambda |w|_1, the intercept free where it can have one, at lambda 1e-2
to a duality gap of 1e-8, and at 100 values from lambda_max to lambda_max / 100 to 1e-6 each. Each has a tolerance
with a meaning of its own, so that a ladder of them is tried from the loosest down and the first is taken whose
points, measured by one function for all, have gaps that small. A try that takes longer than --cap is given up,
and the best of the earlier ones stands, which the table says. Of Taper the gap is its own, which bench/exact
prints.
"""

import argparse
import datetime
import importlib.metadata
import multiprocessing
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time
import warnings

# Libraries read these when they are loaded: before numpy.
for variable in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMBA", "VECLIB_MAXIMUM"):
    os.environ[variable + "_NUM_THREADS"] = "1"

try:
    import numpy as np
except ImportError:
    np = None

# What the two problems are called.
SINGLE, PATH = "lambda 1e-2, gap 1e-8", "path of 100, gap 1e-6"

# The median is of nine runs, or of as many, but three at least, as have taken this many seconds together.
MOST_RUNS, FEWEST_RUNS, LONG_ENOUGH = 9, 3, 20


def give_up(*parts):
    print(*parts, file=sys.stderr)
    sys.exit(2)


def madelon(path):
    """Columns of mean 0 and population variance 1; the label is 1 for class -1 and 0 for class 1."""
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    x, y = table[:, :-1], (table[:, -1] < 0).astype(float)
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def measure(x, y, w, b, lam, intercept=True):
    """Objective and duality gap. The dual point is the residual y - sigmoid(x w + b), less its mean where there
    is an intercept, scaled until |x' residual| / n <= lambda; its value is the mean entropy of y - residual."""
    z = x @ w + b
    primal = np.mean(np.logaddexp(0, z) - y * z) + lam * np.abs(w).sum()
    residual = y - (1 + np.tanh(z / 2)) / 2
    if intercept:
        residual -= residual.mean()
    residual *= min(1, lam * len(y) / max(np.abs(x.T @ residual).max(), 1e-300))
    p = y - residual
    # The mean may push it out of where the dual is finite; and solvers have been seen to return no numbers.
    if not (np.isfinite(primal) and p.min() >= 0 and p.max() <= 1):
        return primal, np.inf
    p = np.clip(p, 1e-300, 1)
    q = np.clip(1 - p, 1e-300, 1)
    return primal, primal + np.mean(p * np.log(p) + q * np.log(q))


# One function for each peer: from x and y to solve(lambdas, tolerance), which returns rows of coefficients and
# the intercepts. What is done outside solve, such as laying x out as the library wants it, is not timed.


def l1(version):
    """How scikit-learn wants L1 to be asked for."""
    return {"l1_ratio": 1} if tuple(map(int, version.split(".")[:2])) >= (1, 8) else {"penalty": "l1"}


def liblinear(x, y):
    import sklearn
    from sklearn.linear_model import LogisticRegression

    def solve(lambdas, tolerance):
        w = []
        for lam in lambdas:
            model = LogisticRegression(solver="liblinear", C=1 / (len(y) * lam), tol=tolerance, max_iter=10**6,
                                       fit_intercept=False, random_state=0, **l1(sklearn.__version__))
            w.append(model.fit(x, y).coef_[0])
        return w, np.zeros(len(lambdas))
    return solve


def saga(x, y):
    import sklearn
    from sklearn.linear_model import LogisticRegression

    def solve(lambdas, tolerance):
        w, b = [], []
        model = LogisticRegression(solver="saga", tol=tolerance, max_iter=10**6, warm_start=True, random_state=0,
                                   **l1(sklearn.__version__))
        for lam in lambdas:
            model.set_params(C=1 / (len(y) * lam)).fit(x, y)
            w.append(model.coef_[0].copy())
            b.append(model.intercept_[0])
        return w, b
    return solve


def celer(x, y):
    from celer import celer_path
    x, sign = np.asfortranarray(x), 2 * y - 1

    def solve(lambdas, tolerance):
        _, w, _ = celer_path(x, sign, "logreg", alphas=len(y) * np.asarray(lambdas), tol=tolerance, use_PN=True,
                             max_iter=1000)
        return w.T, np.zeros(len(lambdas))
    return solve


def skglm(x, y):
    from skglm import SparseLogisticRegression
    x = np.asfortranarray(x)

    def solve(lambdas, tolerance):
        w, b = [], []
        model = SparseLogisticRegression(tol=tolerance, max_iter=1000, warm_start=True)
        for lam in lambdas:
            model.set_params(alpha=lam).fit(x, y)
            w.append(model.coef_[0].copy())
            b.append(float(np.ravel(model.intercept_)[0]))
        return w, b
    return solve


def adelie(x, y):
    from adelie import glm, grpnet
    x = np.asfortranarray(x)

    def solve(lambdas, tolerance):
        state = grpnet(x, glm.binomial(y), lmda_path=np.array(lambdas), tol=tolerance, irls_tol=tolerance,
                       early_exit=False, progress_bar=False)
        return state.betas.toarray(), state.intercepts
    return solve


# name, package, how to make its solve, whether it has an intercept, what is to be known about it
PEERS = [
    # With intercept_scaling 1000 a tolerance of 1e-6 left a gap of 6e-8, and one of 1e-7 had not ended after 25 s.
    ("liblinear", "scikit-learn", liblinear, False,
     "liblinear penalizes any intercept: it solves the smaller problem without one, and its gap is that "
     "problem's. It cannot be started from the point before, so that its path is 100 fits."),
    ("saga", "scikit-learn", saga, True, "saga is started from the point before along the path."),
    ("celer", "celer", celer, False,
     "celer has no intercept: it solves the smaller problem without one, and its gap is that problem's."),
    ("skglm", "skglm", skglm, True, "skglm has compiled its functions before it is timed."),
    ("adelie", "adelie", adelie, True, "adelie takes the tolerance for both its loops, tol and irls_tol."),
]


def serve(pipe, solve, lambdas, tolerance):
    warnings.simplefilter("ignore")
    while pipe.recv():
        start = time.perf_counter()
        w, b = solve(lambdas, tolerance)
        pipe.send((time.perf_counter() - start, np.asarray(w), np.asarray(b)))


class Attempt:
    """A solver at one tolerance, in a process of its own, because compiled code can be stopped in no other way."""

    def __init__(self, solve, problem, tolerance, cap, intercept):
        x, y, lambdas, bar = problem
        self.tolerance, self.seconds, self.gap, self.reached = tolerance, [], np.inf, False
        self.pipe, end = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(end, solve, lambdas, tolerance), daemon=True)
        self.process.start()
        end.close()
        try:
            result = self.run(cap)
            if result is None:
                return
            points = [measure(x, y, w, b, lam, intercept) for w, b, lam in zip(result[0], result[1], lambdas)]
            # A solver that stopped along the path has not solved it.
            self.gap = max(gap for _, gap in points) if len(points) == len(lambdas) else np.inf
            self.objective, self.nonzero = points[-1][0], np.count_nonzero(result[0][-1])
            self.reached = self.gap <= bar
            while self.reached and len(self.seconds) < MOST_RUNS and (
                    len(self.seconds) < FEWEST_RUNS or sum(self.seconds) < LONG_ENOUGH):
                if self.run(cap) is None:
                    break
        finally:
            self.process.kill()
            self.process.join()

    def run(self, cap):
        """Coefficients and intercepts, or nothing when the time was up or the solver failed."""
        try:
            self.pipe.send(True)
            if not self.pipe.poll(cap):
                self.failure = f"did not end within {cap:g} s"
                return None
            seconds, w, b = self.pipe.recv()
        except (EOFError, OSError):
            self.failure = "ended in an error"
            return None
        self.seconds.append(seconds)
        return w, b


def climb(solve, problem, cap, intercept):
    """The first tolerance that reaches the bar, by whole powers of ten and then half a power back; or the best
    until one took too long; and what is to be said about it."""
    best = None
    for power in range(2, 19):
        attempt = Attempt(solve, problem, 10.0**-power, cap, intercept)
        if not attempt.seconds:
            return best, f"not reached: tolerance {attempt.tolerance:.0e} {attempt.failure}"
        print(f"  {attempt.tolerance:.0e}: gap {attempt.gap:.1e}, {attempt.seconds[0]:.3f} s", file=sys.stderr)
        if attempt.reached:
            looser = Attempt(solve, problem, 10.0**(0.5 - power), cap, intercept)
            return (looser if looser.reached else attempt), ""
        if best is None or attempt.gap < best.gap:
            best = attempt
    return best, "not reached at any tolerance"


def row(problem, solver, seconds, runs, tolerance, gap, objective, nonzero, remark):
    cells = (problem, solver, seconds if isinstance(seconds, str) else f"{1e3 * seconds:.1f}", runs, tolerance,
             gap, objective, nonzero, remark)
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def taper(binary, folder):
    """What bench/exact printed about the two problems: (milliseconds, gap, objective, nonzero, remark) of each."""
    environment = dict(os.environ, TAPER_DATA=str(folder))
    try:
        text = subprocess.run([binary], env=environment, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        give_up(f"{binary} could not be run: {error}")
    results = {}
    for problem, name in ((SINGLE, "Madelon, lambda 1e-2, gap 1e-8 "), (PATH, "Madelon, path of 100, gap 1e-6:")):
        found = re.search(re.escape(name) + r".*?([\d.]+) ms .*objective (\S+)\s+gap (\S+)\s+nonzero\s+(\d+)(.*)",
                          text)
        largest = re.search(r"largest gap (\S+), (\d+) of (\d+) converged", text)
        if not found or not largest:
            give_up(f"{binary} printed no line about {name.strip()}: expected the bench/exact of this tree")
        gap, remark = found[3], "not reached" if "NOT CONVERGED" in found[5] else ""
        if problem == PATH:
            gap, remark = largest[1], "" if largest[2] == largest[3] else "not reached"
        results[problem] = float(found[1]) / 1e3, gap, found[2], found[4], remark
    return results


def machine():
    try:
        names = re.findall(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    packages = []
    for name in ("numpy", "scipy", "scikit-learn", "celer", "skglm", "numba", "adelie"):
        try:
            packages.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    return (f"{datetime.date.today()}, {names[0] if names else platform.machine()}, one thread; Python "
            f"{platform.python_version()}, {', '.join(packages)}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?", default="build/release/bench/exact",
                        help="Taper's measurement, built with -DTAPER_BUILD_BENCH=ON (%(default)s)")
    parser.add_argument("--cap", type=float, default=60, metavar="SECONDS",
                        help="longest time of one try (%(default)s)")
    parser.add_argument("--only", metavar="PEER", choices=[peer[0] for peer in PEERS], action="append",
                        help="this peer alone; may be given several times")
    options = parser.parse_args()
    if np is None:
        give_up("numpy is not installed.")
    folder = pathlib.Path(os.environ.get("TAPER_DATA", "."))
    if not (folder / "madelon.csv.gz").is_file():
        give_up(f"{folder / 'madelon.csv.gz'} does not exist: TAPER_DATA must name the folder that holds it.")
    if not os.access(options.binary, os.X_OK) or not os.path.isfile(options.binary):
        give_up(f"{options.binary} is no program: expected bench/exact, built with -DTAPER_BUILD_BENCH=ON.")
    multiprocessing.set_start_method("fork")  # what a library has compiled is there in the new process

    x, y = madelon(folder / "madelon.csv.gz")
    top = np.abs(x.T @ (y - y.mean())).max() / len(y)
    problems = {SINGLE: (x, y, [1e-2], 1e-8), PATH: (x, y, list(np.geomspace(top, top / 100, 100)), 1e-6)}
    binary = os.path.abspath(options.binary)
    print("Taper", file=sys.stderr)
    before = taper(binary, folder.resolve())

    rows = {SINGLE: [], PATH: []}
    notes = []
    for name, package, make, intercept, note in PEERS:
        if options.only and name not in options.only:
            continue
        title = name if name == package else f"{name} ({package})"
        try:
            solve = make(x, y)
        except ImportError as error:
            absent = isinstance(error, ModuleNotFoundError)
            why = "skipped: not installed" if absent else f"skipped: could not be loaded: {error}"
            for problem in problems:
                rows[problem].append((title, *"-" * 6, why))
            continue
        notes.append(note)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            solve([top / 2], 1e-2)
        for problem, what in problems.items():
            print(f"{name}, {problem}", file=sys.stderr)
            best, remark = climb(solve, what, options.cap, intercept)
            rows[problem].append((title, *"-" * 6, remark) if best is None else
                                 (title, statistics.median(best.seconds), len(best.seconds),
                                  f"{best.tolerance:.0e}", f"{best.gap:.1e}", f"{best.objective:.12f}",
                                  best.nonzero, remark))

    print("Taper", file=sys.stderr)
    after = taper(binary, folder.resolve())
    print("| problem | solver | ms, median | of runs | tolerance | largest gap | objective (last) | nonzero (last) "
          "| remark |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for problem, lambdas_and_bar in problems.items():
        for when, results in (("before", before), ("after", after)):
            seconds, gap, objective, nonzero, remark = results[problem]
            row(problem, f"Taper, {when} the others", seconds, 9, f"{lambdas_and_bar[3]:.0e}", gap, objective,
                nonzero, remark)
        for cells in rows[problem]:
            row(problem, *cells)
    print()
    print(machine(), *notes)


if __name__ == "__main__":
    main()

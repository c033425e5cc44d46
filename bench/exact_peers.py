#!/usr/bin/env python3
"""Taper's exact solvers beside other solvers, each on one thread, as the tables of docs/performance.md; --write puts
them there. Runs what is installed of scikit-learn, celer, skglm and adelie; needs numpy, scipy, and the program
bench/exact (`cmake --preset bench`). Where TAPER_DATA names a folder with madelon.csv.gz, Madelon is measured too.

A run of Taper is a process of its own, that of a peer is warm: what it compiles is compiled, and its data lie as it
wants them. Each peer has a tolerance with a meaning of its own, so that a ladder of them is climbed from the loosest
down, to the first whose points, measured by one function for all, are near enough in two ways: by the duality gap,
which is a proof and is what Taper is asked for, and by the true excess over the best objective known, which a user
cannot know and which is kinder to peers; Taper is asked for that by the loosest gap that leads to it. Then all take
turns, and medians are taken. A try is given up after --cap
seconds, or after five when these are more than 10 times what Taper takes. Peers without a free intercept solve the smaller problem,
and are held against Taper's runs of it.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import io
import logging
import math
import multiprocessing
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

# Libraries read these when they are loaded: before numpy.
for variable in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMBA", "VECLIB_MAXIMUM"):
    os.environ[variable + "_NUM_THREADS"] = "1"

try:
    import numpy as np
    import exact_problems
    from exact_solvers import PEERS
except ImportError as missing:
    sys.exit(f"{missing}: numpy and scipy are needed")

# So many turns, or as many, but three at least, as have taken the peer this many seconds together.
MOST_RUNS, FEWEST_RUNS, LONG_ENOUGH = 9, 3, 10


def say(*parts):
    print(*parts, file=sys.stderr, flush=True)


def judge(problem, answers, best):
    """The largest gap and excess of (coefficients, intercept) for each lambda, in units of the null objective, and
    the last objective and number of nonzeros. `best` has the best objectives known."""
    points = [problem.measure(w, b, lam) for (w, b), lam in zip(answers, problem.lambdas)]
    if len(points) < len(problem.lambdas):  # stopped along the path
        return math.inf, math.inf, math.nan, 0
    return (max(gap for _, gap in points) / problem.null,
            max(objective - least for (objective, _), least in zip(points, best)) / problem.null,
            points[-1][0], np.count_nonzero(answers[-1][0]))


class Taper:
    """Runs of bench/exact on one problem."""

    def __init__(self, binary, problem, folder, word=None):
        self.problem, self.answer = problem, folder / "answer"
        problem.write(folder / "problem")
        self.command = [binary, word or ("path" if problem.smallest else "solve"), folder / "problem", "--loss", problem.loss,
                        "--ratio", str(problem.ratio)]
        if problem.smallest:
            self.command += ["--count", str(len(problem.lambdas)), "--smallest", repr(problem.smallest)]
        else:
            self.command += ["--lambda", repr(float(problem.lambdas[0]))]
        if not problem.intercept:
            self.command.append("--no-intercept")

    def run(self, tolerance, *more):
        """Seconds."""
        command = [*self.command, "--tolerance", repr(tolerance), *more]
        try:
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"{error}\n{getattr(error, 'stderr', '')}")
        return float(text.split()[0]) / 1e3

    def solve(self, tolerance):
        """(Coefficients, intercept) for each lambda, and for each its gap as Taper has it."""
        self.run(tolerance, "--answer", self.answer)
        rows = np.fromfile(self.answer).reshape(-1, self.problem.x.shape[1] + 3)
        self.problem.lambdas = rows[:, 0].copy()
        return [(row[3:], row[2]) for row in rows], rows[:, 1]


def serve(pipe, solve, problem, tolerance, best):
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    while (wanted := pipe.recv()) is not None:
        start = time.perf_counter()
        w, b = solve(problem.lambdas, tolerance)
        seconds = time.perf_counter() - start
        pipe.send((seconds, judge(problem, list(zip(w, b)), best) if wanted == "judge" else None))


class Attempt:
    """A peer at one tolerance, in a process of its own, because compiled code can be stopped in no other way."""

    def __init__(self, solve, problem, tolerance, best, cap):
        self.tolerance, self.cap, self.failure = tolerance, cap, None
        self.gap = self.excess = math.inf
        self.pipe, end = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(end, solve, problem, tolerance, best), daemon=True)
        self.process.start()
        end.close()
        self.first = self.run("judge")

    def run(self, wanted="time"):
        """Seconds, or None when the time was up or the solver failed."""
        try:
            self.pipe.send(wanted)
            if not self.pipe.poll(self.cap):
                self.failure = f"did not end within {self.cap:g} s"
                return None
            seconds, judged = self.pipe.recv()
        except (EOFError, OSError):
            self.failure = "ended in an error"
            return None
        if judged:
            self.gap, self.excess, self.objective, self.nonzero = judged
        return seconds

    def end(self):
        self.process.kill()
        self.process.join()


def climb(name, solve, problem, best, cap):
    """The loosest tolerances found whose gap and whose excess are within the bar, as two attempts that may be one,
    by whole powers of ten and then half a power back; and why one is missing. Those not returned have ended."""
    found, tried, why = {}, [], "at no tolerance"

    def attempt(power):
        this = Attempt(solve, problem, 10.0**-power, best, cap)
        tried.append(this)
        if this.first is not None:
            say(f"    {name} {this.tolerance:.0e}: gap {this.gap:.1e}, excess {this.excess:.1e}, {this.first:.4f} s")
        return this

    for power in range(2, 19):
        this = attempt(power)
        if this.first is None:
            why = f"tolerance {this.tolerance:.0e} {this.failure}"
            break
        new = [bar for bar in ("excess", "gap") if bar not in found and getattr(this, bar) <= problem.bar]
        if new:
            looser = attempt(power - 0.5)
            for bar in new:
                found[bar] = looser if looser.first is not None and getattr(looser, bar) <= problem.bar else this
        if "gap" in found:
            break
    for this in tried:
        if this not in found.values():
            this.end()
    return found, why


def race(taper, tolerances, attempts):
    """Seconds of each turn, by contender: Taper by what its tolerance is for, peers by their attempts."""
    times = {bar: [] for bar in tolerances} | {attempt: [] for attempt in attempts}
    for turn in range(MOST_RUNS):
        for bar, tolerance in tolerances.items():
            times[bar].append(taper.run(tolerance))
        for attempt in attempts:
            if attempt.failure is None and (turn < FEWEST_RUNS or sum(times[attempt]) < LONG_ENOUGH):
                seconds = attempt.run()
                if seconds is not None:
                    times[attempt].append(seconds)
    for attempt in attempts:
        attempt.end()
    return {who: runs if runs else [who.first] for who, runs in times.items()}


def ms(seconds):
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def cells(*parts):
    return "| " + " | ".join(map(str, parts)) + " |"


def compare(binary, problem, peers, cap):
    """A row of the first table, or none when no peer can be asked, and rows of the second."""
    title = problem.name + ("" if problem.intercept else ", no intercept")
    say(title)
    with tempfile.TemporaryDirectory() as folder:
        taper = Taper(binary, problem, pathlib.Path(folder))
        answers, gaps = taper.solve(1e-9)
        best = np.array([problem.measure(w, b, lam)[0] for (w, b), lam in zip(answers, problem.lambdas)])
        proof = gaps.max() / problem.null
        answers, gaps = taper.solve(problem.bar)
        gap, excess, objective, nonzero = judge(problem, answers, best)
        say(f"    Taper: gap {gap:.1e} (its own: {gaps.max() / problem.null:.1e}), excess {excess:.1e}, best {proof:.1e}")
        # As for peers: the loosest tolerance whose excess is within the bar.
        tolerances = {"gap": problem.bar, "excess": problem.bar}
        for power in np.arange(1, -math.log10(problem.bar), 0.5):
            if judge(problem, taper.solve(10.0**-power)[0], best)[1] <= problem.bar:
                tolerances["excess"] = 10.0**-power
                break
        cap = min(cap, max(5, 10 * taper.run(problem.bar)))
        found, rows = {}, []
        for peer in peers:
            name, solve = peer.name, peer.make(problem)
            if peer.compiles:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    solve(problem.lambdas[:10] if problem.smallest else 3 * problem.lambdas, 1e-2)
            found[name], why = climb(name, solve, problem, best, cap)
            if "gap" not in found[name]:
                rows.append(cells(title, name, "-", "-", "-", "-", "-", "-", f"gap not reached: {why}"))
        times = race(taper, tolerances, list(dict.fromkeys(a for f in found.values() for a in f.values())))
    median = {who: statistics.median(runs) for who, runs in times.items()}
    head = [cells(title, "**Taper**", ms(median["gap"]), ms(min(times["gap"])), f"{problem.bar:.0e}", f"{gap:.1e}",
                  f"{excess:.1e}", nonzero,
                  "" if gaps.max() <= problem.bar * problem.null * 1.0001 else "gap not reached"),
            cells(title, "**Taper**", ms(median["excess"]), ms(min(times["excess"])), f"{tolerances['excess']:.0e}", "", "",
                  "", "the excess alone")]
    fastest = {}
    for name, attempts in found.items():
        for attempt in dict.fromkeys(attempts.values()):
            least = min(times[attempt])
            head.append(cells(title, name, ms(median[attempt]), ms(least), f"{attempt.tolerance:.0e}", f"{attempt.gap:.1e}",
                              f"{attempt.excess:.1e}", attempt.nonzero,
                              "" if attempt.gap <= problem.bar else "near enough, without a proof"))
        for bar, attempt in attempts.items():
            if bar not in fastest or median[attempt] < median[fastest[bar][1]]:
                fastest[bar] = name, attempt
    row = [title]
    for bar in ("gap", "excess"):
        if bar in fastest:
            name, attempt = fastest[bar]
            row += [ms(median[bar]), f"{name}, {ms(median[attempt])}", f"**{median[attempt] / median[bar]:.2f}**"]
        else:
            row += [ms(median[bar]), "none", "-"]
    say("   ", cells(*row))
    return cells(*row), head + rows


def own(binary, madelon):
    """Rows of a table of Taper alone, on Madelon: much smaller gaps, and the way through factors."""
    rows = []
    for what, word, lam, gap in (("lambda 0.01, to a gap of 1e-10", "solve", 0.01, 1e-10),
                                 ("lambda 0.0001, to 1e-10", "solve", 0.0001, 1e-10),
                                 ("lambda 0.01, through factors and L-BFGS (`solve_smooth`), to 1e-8", "smooth", 0.01, 1e-8)):
        problem = dataclasses.replace(madelon, lambdas=np.array([lam]))
        with tempfile.TemporaryDirectory() as folder:
            taper = Taper(binary, problem, pathlib.Path(folder), word)
            (w, b), = taper.solve(gap / problem.null)[0]
            runs = [taper.run(gap / problem.null) for _ in range(MOST_RUNS)]
        rows.append(cells(what, f"{problem.measure(w, b, lam)[1]:.1e}", ms(statistics.median(runs)), ms(min(runs))))
    return rows


def machine(peers):
    try:
        names = re.findall(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    packages = [f"{name} {importlib.metadata.version(name)}"
                for name in ["numpy", "scipy", *dict.fromkeys(peer.package for peer in peers), "numba"]
                if any(importlib.metadata.distributions(name=name))]
    return (f"`bench/exact_peers.py`, {datetime.date.today()}, {names[0] if names else platform.machine()}, one thread; "
            f"Python {platform.python_version()}, {', '.join(packages)}.")


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?", default=here.parent / "build/bench/bench/exact", help="(%(default)s)")
    parser.add_argument("--cap", type=float, default=20, metavar="SECONDS", help="longest time of a try (%(default)s)")
    parser.add_argument("--peer", choices=[peer.name for peer in PEERS], action="append",
                        help="this peer alone; may be given several times")
    parser.add_argument("--problem", metavar="TEXT", action="append", default=[],
                        help="problems alone whose name has this in it; may be given several times")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    if not os.access(options.binary, os.X_OK) or not os.path.isfile(options.binary):
        sys.exit(f"{options.binary} is no program: expected bench/exact, built with -DTAPER_BUILD_BENCH=ON")
    multiprocessing.set_start_method("fork")  # what a library has compiled is there in the new process
    peers = [peer for peer in PEERS if not options.peer or peer.name in options.peer]
    for peer in list(peers):
        if not any(importlib.metadata.distributions(name=peer.package)):
            say(f"{peer.name} is left out: {peer.package} is not installed")
            peers.remove(peer)

    madelon = pathlib.Path(os.environ.get("TAPER_DATA", "")) / "madelon.csv.gz"
    if not madelon.is_file():
        say("Madelon is left out: TAPER_DATA names no folder with madelon.csv.gz")
    summary, rows, alone = [], [], []
    for problem in exact_problems.problems(madelon if madelon.is_file() else None):
        if options.problem and not any(text in problem.name for text in options.problem):
            continue
        for intercept in (True, False):
            able = [peer for peer in peers
                    if problem.loss in peer.losses and (problem.loss not in peer.without_intercept) == intercept
                    and (peer.sparse or isinstance(problem.x, np.ndarray))
                    and (peer.paths or not problem.smallest)]
            if able:
                one, more = compare(str(options.binary), problem if intercept else problem.without_intercept(), able,
                                    options.cap)
                summary.append(one)
                rows += more
        if problem.name.startswith("Madelon") and not problem.smallest:
            alone = own(str(options.binary), problem)

    text = io.StringIO()
    print(cells("problem", "Taper to the gap, ms", "fastest peer, ms", "peer / Taper", "Taper to the excess, ms",
                "fastest peer, ms", "peer / Taper"), file=text)
    print("| --- | ---: | --- | ---: | ---: | --- | ---: |", *summary, "", sep="\n", file=text)
    print(cells("problem", "solver", "ms, median", "ms, least", "tolerance", "gap", "excess", "nonzero", "remark"),
          "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |", *rows, "", sep="\n", file=text)
    if alone:
        print(cells("Madelon, Taper alone", "gap", "ms, median", "ms, least"), "| --- | ---: | ---: | ---: |", *alone, "",
              sep="\n", file=text)
    print(machine(peers), *[peer.note for peer in peers if peer.note], file=text)
    print(text.getvalue(), end="")
    if options.write:
        subprocess.run([sys.executable, here / "paste.py", "exact", here.parent / "docs/performance.md"], check=True,
                       input=text.getvalue(), text=True)


if __name__ == "__main__":
    main()

"""Comparisons across processes, as ratios.hpp has them within one: contenders take turns of some milliseconds
each, ratios are taken turn by turn, and medians are printed."""

import collections
import math
import statistics
import subprocess

Answer = collections.namedtuple("Answer", "seconds work result")


class Child:
    """A program of this folder that runs what it is told to, for as long as it lives."""

    def __init__(self, binary):
        self.process = subprocess.Popen([binary, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, name, count):
        self.process.stdin.write(f"{name} {count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} ended while it was asked for {name}")
        return Answer(*map(float, line.split()))

    def runner(self, name):
        """A function of a count that returns the seconds for as much work."""
        work = self.ask(name, 1).work
        return lambda count: self.ask(name, count).seconds / work

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def race(runners, seconds, slice_seconds):
    """The median seconds of one call of each, and the median ratio of each to the first."""
    counts = []
    for run in runners:
        count, took = 1, run(1)
        while took < slice_seconds:
            count = max(count + 1, math.ceil(1.2 * count * min(slice_seconds / max(took, 1e-9), 10)))
            took = run(count)
        counts.append(count)
    times, spent, turn = [[] for _ in runners], 0, 0
    while spent < seconds or turn < 7:
        latest = {}
        for i in range(len(runners)):
            which = (i + turn) % len(runners)
            latest[which] = runners[which](counts[which])
        for i, took in latest.items():
            times[i].append(took / counts[i])
        spent, turn = spent + sum(latest.values()), turn + 1
    return ([statistics.median(t) for t in times],
            [statistics.median(b / a for a, b in zip(times[0], t)) for t in times])


def row(*cells):
    print("| " + " | ".join(f"{x:.3g}" if isinstance(x, float) and x < 100 else f"{x:.0f}" if isinstance(x, float) else str(x)
                            for x in cells) + " |", flush=True)


def head(title, *columns):
    print(f"### {title}\n")
    row(*columns)
    print("| --- |" + " ---: |" * (len(columns) - 1))

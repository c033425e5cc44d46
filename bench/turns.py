"""Comparisons across processes, as ratios.hpp has them within one: contenders take turns of some milliseconds
each, ratios are taken turn by turn, and medians are printed."""

import collections
import math
import statistics
import subprocess
import time

Answer = collections.namedtuple("Answer", "seconds work result")
Contender = collections.namedtuple("Contender", "run work")  # run(count) returns the seconds; work is that of one call


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

    def contender(self, name):
        return Contender(lambda count: self.ask(name, count).seconds, self.ask(name, 1).work)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def timed(step, count):
    """The seconds that so many calls take."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - start


def race(contenders, seconds, slice_seconds):
    """For each, the median seconds per unit of work, and the median ratio of that to the first one's."""
    counts = []
    for run, _ in contenders:
        count = 1
        took = min(run(count), run(count))  # one interruption does not make a short call look long
        while took < slice_seconds:
            count = max(count + 1, math.ceil(1.2 * count * min(slice_seconds / max(took, 1e-9), 10)))
            took = min(run(count), run(count))
        counts.append(count)
    times, spent, turn = [[] for _ in contenders], 0, 0
    while spent < seconds or turn < 7:
        latest = {}
        for i in range(len(contenders)):
            which = (i + turn) % len(contenders)
            latest[which] = contenders[which].run(counts[which])
        for i, took in latest.items():
            times[i].append(took / counts[i] / contenders[i].work)
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

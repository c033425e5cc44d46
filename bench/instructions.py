#!/usr/bin/env python3
"""How many instructions a training step takes, counted by callgrind: the same number whenever it is counted. Only
what happens in ratios.cpp's repeat() counts, and a run of so many steps is taken from one of twice as many, so that
neither the set-up nor what only the first step does is in it."""

import argparse
import re
import subprocess

import turns

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("binary", nargs="?", default="build/bench/bench/training_steps", help="(%(default)s)")
parser.add_argument("--steps", type=int, default=100, help="(%(default)s)")
options = parser.parse_args()


def count(name, steps):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
               "--collect-atstart=no", "--toggle-collect=*repeat*", options.binary, "--run", name, str(steps)]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return int(re.search(r"Collected\s*:\s*(\d+)", report)[1])


version = subprocess.run(["valgrind", "--version"], check=True, capture_output=True, text=True).stdout.strip()
turns.head(f"Instructions of a training step, by callgrind ({version})", "step", "instructions")
for network in ("madelon", "california"):
    for form in ("factorized", "dense"):
        name = f"step/{network}/{form}"
        turns.row(f"{network}, {form}", round((count(name, 2 * options.steps) - count(name, options.steps)) / options.steps))
print()

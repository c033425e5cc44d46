#!/usr/bin/env python3
"""The same measurements from two builds, in turns: how fast the one is, over how fast the other is."""

import argparse
import math
import os
import re
import subprocess

import turns

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("first", help="folder with the programs of the build that is judged")
parser.add_argument("second", help="folder with those that it is held against")
parser.add_argument("--names", nargs=2, default=["first", "second"], help="what to call them")
parser.add_argument("--title", default="One build against another")
parser.add_argument("--programs", nargs="+", default=["products", "training_steps"])
parser.add_argument("--filter", default="^(sgemm|dgemm|step)/", help="which cases, a regular expression (%(default)s)")
parser.add_argument("--seconds", type=float, default=1, help="for each line (%(default)s)")
options = parser.parse_args()

first, second = options.names
turns.head(options.title, "what", f"{second} / {first}", f"{first}, us per call", second)
logarithms = []
for program in options.programs:
    binaries = [os.path.join(folder, program) for folder in (options.first, options.second)]
    names = subprocess.run([binaries[0], "--list"], check=True, capture_output=True, text=True).stdout.splitlines()
    for name in filter(lambda name: re.search(options.filter, name), names):
        children = [turns.Child(binary) for binary in binaries]
        contenders = [child.contender(name) for child in children]
        seconds, ratios = turns.race(contenders, options.seconds, 2e-3)
        for child in children:
            child.close()
        logarithms.append(math.log(ratios[1]))
        turns.row(name, f"{ratios[1]:.3f}", *(1e6 * s * contenders[0].work for s in seconds))
turns.row("geometric mean", f"**{math.exp(sum(logarithms) / len(logarithms)):.3f}**", "", "")
print()

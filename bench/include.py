#!/usr/bin/env python3
"""What <taper/taper.hpp> costs those who include it, over <Eigen/Core>: processor time of the compiler, in turns."""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile

import turns

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("include", help="folder with the headers of Taper")
parser.add_argument("--compiler", default="c++")
parser.add_argument("--eigen", default="/usr/include/eigen3", help="folder with the headers of Eigen (%(default)s)")
parser.add_argument("--turns", type=int, default=11, help="(%(default)s)")
options = parser.parse_args()


def seconds(header, folder):
    source = os.path.join(folder, "source.cpp")
    with open(source, "w") as file:
        file.write(f"#include <{header}>\nint main() {{}}\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([options.compiler, "-std=c++20", "-O2", "-I", options.include, "-isystem", options.eigen, "-c",
                    source, "-o", os.path.join(folder, "object.o")], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


headers = ["Eigen/Core", "taper/nn/layers/linear.hpp", "taper/taper.hpp"]
with tempfile.TemporaryDirectory() as folder:
    times = [[seconds(header, folder) for header in headers] for _ in range(options.turns)]
turns.head("Compiling an empty program that includes", "header", "over Eigen/Core", "s")
for k, header in enumerate(headers):
    ratio = statistics.median(turn[k] / turn[0] for turn in times)
    turns.row(header, f"{ratio:.2f}", statistics.median(turn[k] for turn in times))
print()

#!/usr/bin/env python3
"""Pixels of MNIST, chosen by Taper and by LassoNet, both judged by extra trees on what they chose.

    bench/select_features.py PROGRAM FOLDER [--rows 10000] [--pixels 50] [--seeds 5]
        [--lassonet-seeds 1] [--lassonet example|experiments|none] [--limit SECONDS] [--json FILE]

PROGRAM is bench/select_features of a build with TAPER_BUILD_BENCH, FOLDER has the four IDX files. Needs numpy and
scikit-learn and, unless --lassonet none, torch and lassonet.

The first rows of the training file are those that pixels are chosen on and that the trees are trained on; accuracy
is that on the 10,000 test rows. Seconds are those of the choice alone, data in memory: Taper with one thread, which
suits its small batches, LassoNet with --threads.

LassoNet runs as its own example on MNIST has it (M = 30, the rest as it comes, pixels from 0 to 1), or as the
script of its experiments (M = 10, a third as many hidden units as pixels, batches of 256, up to 1000 epochs for
each penalty). Its path goes on until no more than so many pixels are left, and those are its choice.
"""

import argparse
import gzip
import json
import os
import signal
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("folder")
parser.add_argument("--rows", type=int, default=10000)
parser.add_argument("--pixels", type=int, default=50)
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--trees-seeds", type=int, default=3)
parser.add_argument("--lassonet", choices=["example", "experiments", "none"], default="example")
parser.add_argument("--lassonet-seeds", type=int, default=1)
parser.add_argument("--limit", type=float, default=3600, help="seconds after which LassoNet is stopped")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--json")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import numpy as np  # noqa: E402  (after the number of threads)
from sklearn.ensemble import ExtraTreesClassifier  # noqa: E402


def read(name, header, count):
    with gzip.open(os.path.join(args.folder, name)) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)[:count]


x = read("train-images-idx3-ubyte.gz", 16, args.rows * 784).reshape(-1, 784) / 255.0
y = read("train-labels-idx1-ubyte.gz", 8, args.rows).astype(int)
x_test = read("t10k-images-idx3-ubyte.gz", 16, 10000 * 784).reshape(-1, 784) / 255.0
y_test = read("t10k-labels-idx1-ubyte.gz", 8, 10000).astype(int)


def accuracy(pixels):
    return statistics.median(
        ExtraTreesClassifier(n_estimators=50, random_state=seed).fit(x[:, pixels], y).score(x_test[:, pixels], y_test)
        for seed in range(args.trees_seeds))


def by_taper(seed):
    command = [args.program, args.folder, str(args.rows), str(args.pixels), str(seed)]
    words = subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           text=True).stdout.split()
    return float(words[0]), [int(word) for word in words[1:]]


class Enough(Exception):
    pass


def by_lassonet(seed):
    import torch
    from lassonet import LassoNetClassifier
    torch.set_num_threads(args.threads)
    settings = dict(M=30) if args.lassonet == "example" else dict(
        M=10, hidden_dims=(784 // 3,), batch_size=256, n_iters=1000)
    model = LassoNetClassifier(verbose=0, device=torch.device("cpu"), torch_seed=seed, random_state=seed, **settings)
    start = time.perf_counter()
    found = {"selected": None, "penalties": 0}

    def watch(_, history):
        found["selected"] = history[-1].selected
        found["penalties"] = len(history) - 1
        if history[-1].selected.sum().item() <= args.pixels:
            raise Enough

    def stop(*_):
        found["stopped"] = True
        raise Enough

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, args.limit)
    try:
        model.path(x, y, callback=watch)
    except Enough:
        pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.perf_counter() - start
    left = found["selected"]
    return seconds, list(range(784)) if left is None else np.flatnonzero(left.numpy()).tolist(), found


report = {"rows": args.rows, "pixels": args.pixels, "threads": args.threads, "taper": [], "lassonet": []}
for seed in range(args.seeds):
    seconds, pixels = by_taper(seed)
    report["taper"].append({"seed": seed, "seconds": seconds, "pixels": len(pixels), "accuracy": accuracy(pixels)})
    print(f"taper     seed {seed}: {len(pixels)} pixels, accuracy {report['taper'][-1]['accuracy']:.4f}, "
          f"{seconds:.2f} s", flush=True)
for seed in range(args.lassonet_seeds if args.lassonet != "none" else 0):
    seconds, pixels, found = by_lassonet(seed)
    entry = {"seed": seed, "settings": args.lassonet, "seconds": seconds, "pixels": len(pixels),
             "penalties": found["penalties"]}
    if "stopped" in found:
        entry["stopped"] = True
        print(f"lassonet  seed {seed}: stopped after {seconds:.1f} s and {found['penalties']} penalties, with "
              f"{len(pixels)} pixels left", flush=True)
    else:
        entry["accuracy"] = accuracy(pixels)
        print(f"lassonet  seed {seed}: {len(pixels)} pixels, accuracy {entry['accuracy']:.4f}, {seconds:.1f} s",
              flush=True)
    report["lassonet"].append(entry)

seconds = statistics.median(entry["seconds"] for entry in report["taper"])
report["median_accuracy"] = statistics.median(entry["accuracy"] for entry in report["taper"])
print(f"taper, median of {args.seeds}: accuracy {report['median_accuracy']:.4f}, {seconds:.2f} s")
if report["lassonet"]:
    peer = statistics.median(entry["seconds"] for entry in report["lassonet"])
    report["times_faster"] = peer / seconds
    at_least = "at least " if any("stopped" in entry for entry in report["lassonet"]) else ""
    print(f"lassonet, median of {len(report['lassonet'])}: {peer:.1f} s, {at_least}{peer / seconds:.0f} times as long")
if args.json:
    with open(args.json, "w") as file:
        json.dump(report, file, indent=2)
sys.exit(0)

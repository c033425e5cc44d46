#!/usr/bin/env python3
"""sparse_fm beside myFM (package myfm, Bayesian factorization machines by Gibbs sampling) on the same ratings: made
up here in the shape of the usual small set, written to files, and read by both. sparse_fm is offered 32 latent
dimensions and finds how many it needs; myFM is told the planted rank. One thread each, in turns. Seconds are those of
the processor, so that what else a machine does counts for neither; sparse_fm's include reading the files."""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
try:
    import myfm
    import numpy
    import scipy.sparse
except ImportError as missing:
    print(f"ratings_peers.py: {missing}: skipped")
    sys.exit(0)


def make(seed, rank, users=943, items=1682, count=100000, noise=0.5):
    """Users, items and ratings, like make_ratings in data/ratings.hpp, though not the same numbers."""
    rng = numpy.random.default_rng(seed)
    scale = (0.8 / rank ** 0.5) ** 0.5
    p, q = scale * rng.normal(size=(users, rank)), scale * rng.normal(size=(items, rank))
    b, c = 0.4 * rng.normal(size=users), 0.4 * rng.normal(size=items)
    often = numpy.exp(rng.normal(size=users))[:, None] * numpy.exp(1.15 * rng.normal(size=items))
    # Without repetition: the pairs that an exponential clock with this rate reaches first.
    first = (rng.exponential(size=often.shape) / often).ravel()
    pairs = rng.permutation(numpy.argpartition(first, count)[:count])
    user, item = pairs // items, pairs % items
    rating = 3.5 + b[user] + c[item] + (p[user] * q[item]).sum(1) + noise * rng.normal(size=count)
    return user, item, rating.round(4)


def rmse(x, y):
    return float(numpy.sqrt(numpy.mean((x - y) ** 2)))


def by_taper(binary, folder, train, test):
    for name, (user, item, rating) in (("train", train), ("test", test)):
        with open(folder / name, "w") as file:
            file.writelines(f"{u}\t{i}\t{y:.4f}\n" for u, i, y in zip(user, item, rating))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(subprocess.run([binary, folder / "train", "--test", folder / "test", "--json", "-"],
                                       check=True, capture_output=True, text=True).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return report["test_rmse"]["refitted"], seconds, report["rank"]["kept"]


def by_myfm(rank, iterations, sizes, train, test):
    def inputs(user, item):
        rows = numpy.arange(len(user)).repeat(2)
        columns = numpy.stack([user, sizes[0] + item], 1).ravel()
        return scipy.sparse.csr_matrix((numpy.ones(len(rows)), (rows, columns)), (len(user), sum(sizes)))

    groups = [0] * sizes[0] + [1] * sizes[1]
    start = time.process_time()
    machine = myfm.MyFMRegressor(rank=rank, random_seed=0)
    machine.fit(inputs(*train[:2]), train[2], n_iter=iterations, n_kept_samples=iterations * 9 // 10,
                grouping=groups)
    predicted = machine.predict(inputs(*test[:2]))
    return rmse(predicted, test[2]), time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", help="the program sparse_fm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=100, help="of myFM")
    options = parser.parse_args()
    print(f"myfm {myfm.__version__}, {options.iterations} iterations; test RMSE and seconds, medians of {options.seeds} seeds, noise 0.5\n")
    print("| planted rank | rank found | Taper, RMSE | myFM, RMSE | Taper, s | myFM, s | myFM / Taper |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for rank in (4, 8):
        rows = []
        for seed in range(options.seeds):
            user, item, rating = make(seed, rank)
            cut = len(rating) * 9 // 10
            train, test = (user[:cut], item[:cut], rating[:cut]), (user[cut:], item[cut:], rating[cut:])
            with tempfile.TemporaryDirectory() as folder:
                ours = by_taper(options.binary, pathlib.Path(folder), train, test)
            rows.append((*ours, *by_myfm(rank, options.iterations, (943, 1682), train, test)))
        error, seconds, _, peer_error, peer_seconds = (statistics.median(column) for column in zip(*rows))
        ratio = statistics.median(row[4] / row[1] for row in rows)
        print(f"| {rank} | {', '.join(str(row[2]) for row in rows)} | {error:.4f} | {peer_error:.4f} | {seconds:.2f} "
              f"| {peer_seconds:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()

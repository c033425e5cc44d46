#!/usr/bin/env python3
"""LeNet-5 of lenet5.cpp by PyTorch, eager, beside Taper's: the same network, images, start and optimizer, in turns.
Both are run for some steps first, and must come to the same loss."""

import argparse
import math
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("lenet5.py: this Python has no PyTorch: skipped")
    sys.exit(0)

import turns
from training_steps import classes, filled, number


class Network:
    def __init__(self):
        self.weights, k = [], 2
        for shape in [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]:
            scale = math.prod(shape[1:]) ** -0.5
            w = filled(k, *shape, scale=scale).requires_grad_()
            b = filled(k + 1, shape[0], scale=scale).requires_grad_()
            self.weights, k = self.weights + [w, b], k + 2

    def __call__(self, x):
        w1, b1, w2, b2, w3, b3, w4, b4 = self.weights
        x = F.max_pool2d(F.relu(F.conv2d(x, w1, b1)), 2)
        x = F.max_pool2d(F.relu(F.conv2d(x, w2, b2)), 2)
        return F.linear(F.relu(F.linear(x.flatten(1), w3, b3)), w4, b4)


class Training:
    def __init__(self, how):
        self.net = Network()
        self.x, self.y = filled(0, 128, 1, 28, 28), classes(number(1, 128).float())
        self.adam = torch.optim.Adam(self.net.weights, lr=1e-3, **how)

    def step(self):
        self.adam.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.net(self.x), self.y)
        loss.backward()
        self.adam.step()
        return loss

    def run(self, count):
        start = time.perf_counter()
        for _ in range(count):
            self.step()
        return time.perf_counter() - start


class Prediction:
    def __init__(self):
        self.net, self.x = Network(), filled(0, 1, 1, 28, 28)

    def run(self, count):
        with torch.inference_mode():
            start = time.perf_counter()
            for _ in range(count):
                self.net(self.x)
            return time.perf_counter() - start


def same(what, mine, theirs):
    if not math.isclose(mine, theirs, rel_tol=1e-3):
        raise SystemExit(f"{what} is {mine} with Taper and {theirs} with PyTorch: expected the same")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", default="build/bench/bench/lenet5",
                        help="Taper's measurement (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="for each case (%(default)s)")
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # as Taper does

    turns.head(f"LeNet-5 against PyTorch {torch.__version__}, eager", "case", "PyTorch / Taper", "Taper, us",
               "PyTorch", "relu in the convolutions", "products at FMA peak", "Taper, % of it")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        taper = turns.Child(options.binary)
        reference = Training({})
        for _ in range(10):
            theirs = reference.step().item()
        same("the loss after 10 steps", taper.ask(f"step/{threads}", 10).result, theirs)
        # PyTorch has several forms of Adam: the fastest one here counts.
        trials = [Training(how) for how in ({}, {"foreach": True}, {"fused": True})]
        seconds, _ = turns.race([turns.Contender(t.run, 1) for t in trials], 1, 5e-3)
        best = trials[min(range(len(trials)), key=lambda i: seconds[i])]
        contenders = [taper.contender(f"step/{threads}"), turns.Contender(best.run, 1),
                      taper.contender(f"step/{threads}/relu in the convolutions"),
                      taper.contender(f"step/{threads}/products at FMA peak")]
        seconds, ratios = turns.race(contenders, options.seconds, 20e-3)
        taper.close()
        turns.row(f"training step, batch 128, {threads} thread{'s' * (threads > 1)}", f"**{ratios[1]:.2f}**",
                  *(1e6 * s for s in seconds), 100 * ratios[3])
    torch.set_num_threads(1)
    taper, reference = turns.Child(options.binary), Prediction()
    same("the output", taper.ask("predict/1", 1).result, reference.net(reference.x)[0, 0].item())
    seconds, ratios = turns.race([taper.contender("predict/1"), turns.Contender(reference.run, 1),
                                  taper.contender("predict/1/products at FMA peak")], options.seconds, 5e-3)
    taper.close()
    turns.row("one image, 1 thread", f"**{ratios[1]:.2f}**", 1e6 * seconds[0], 1e6 * seconds[1], "", 1e6 * seconds[2],
              100 * ratios[2])
    print()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Training steps of training_steps.cpp by PyTorch, eager, beside Taper's: the same networks, batches, starts and
optimizers, on one thread each, in turns. Both are run for some steps first, and must come to the same loss."""

import argparse
import math
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("training_steps.py: this Python has no PyTorch: skipped")
    sys.exit(0)

import turns


def number(k, n):
    """As in training_steps.cpp."""
    i = torch.arange(1, n + 1, dtype=torch.float64)
    y = 43758.5453 * torch.sin(12.9898 * i + 78.233 * (k + 1))
    return 2 * (y - torch.floor(y)) - 1


def filled(k, *shape, scale=1.0):
    scale = torch.tensor(scale, dtype=torch.float32)
    return (scale * number(k, math.prod(shape)).float()).reshape(shape)


class Training:
    """`factors` is "elements", "inputs" or None: what a gate of a weight is shared by."""

    def __init__(self, batch, widths, factors, loss, targets, adam, bias_decay, how):
        self.loss = loss
        self.x, self.y = filled(0, batch, widths[0]), targets(number(1, batch).float())
        self.layers, k = [], 2
        for inputs, outputs in zip(widths, widths[1:]):
            u, k = filled(k, outputs, inputs, scale=inputs ** -0.5).requires_grad_(), k + 1
            v = None
            if factors:
                shape = (outputs, inputs) if factors == "elements" else (inputs,)
                v, k = torch.ones(shape).requires_grad_(), k + 1
            b, k = filled(k, outputs).requires_grad_(), k + 1
            self.layers.append((u, v, b))
        weights = [w for u, v, _ in self.layers for w in (u, v) if w is not None]
        biases = [b for _, _, b in self.layers]
        groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}] if bias_decay == 0 else weights + biases
        self.adam = torch.optim.Adam(groups, **adam, **how)

    def step(self):
        self.adam.zero_grad(set_to_none=True)
        x = self.x
        for i, (u, v, b) in enumerate(self.layers):
            if i > 0:
                x = F.relu(x)
            x = F.linear(x, u if v is None else u * v, b)
        loss = self.loss(x, self.y)
        loss.backward()
        self.adam.step()
        return loss

    def run(self, count):
        return turns.timed(self.step, count)


def numbers(y):
    return y.reshape(-1, 1)


def zero_or_one(y):
    return (y > 0).float().reshape(-1, 1)


def classes(y):
    return torch.floor(0.5 * (y + 1) * 10).long()


NETWORKS = [
    ("Madelon, 500-1, batch 8, factorized", "step/madelon/factorized",
     (8, [500, 1], "elements", F.binary_cross_entropy_with_logits, zero_or_one, {"lr": 1e-4, "weight_decay": 1e-2}, 0)),
    ("California, 8-32-64-32-1, batch 128, columns factorized", "step/california/factorized",
     (128, [8, 32, 64, 32, 1], "inputs", F.mse_loss, numbers, {"lr": 2e-3, "weight_decay": 1e-3}, None)),
    ("LeNet-300-100, batch 128, dense", "step/lenet/dense",
     (128, [784, 300, 100, 10], None, F.cross_entropy, classes, {"lr": 1e-3}, None)),
]
FORMS = [{}, {"foreach": True}, {"fused": True}]  # of torch.optim.Adam


def forms(arguments):
    """Those that this version has."""
    for how in FORMS:
        try:
            Training(*arguments, how).step()
        except (TypeError, RuntimeError):
            continue
        yield how


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", default="build/bench/bench/training_steps",
                        help="Taper's measurement (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6, help="for each network (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.set_flush_denormal(True)  # as Taper does

    turns.head(f"Training steps against PyTorch {torch.__version__}, eager", "network", "PyTorch / Taper",
               "Taper, us per step", "PyTorch", "products at FMA peak", "Taper, % of it", "PyTorch's Adam",
               "loss, Taper", "loss, PyTorch")
    for title, name, arguments in NETWORKS:
        taper = turns.Child(options.binary)
        mine = taper.ask(name, 20).result
        reference = Training(*arguments, {})
        for _ in range(20):
            theirs = reference.step().item()
        if not math.isclose(mine, theirs, rel_tol=1e-4):
            raise SystemExit(f"{title}: the loss after 20 steps is {mine} with Taper and {theirs} with PyTorch: "
                             "expected the same")
        # PyTorch has several forms of Adam: the fastest one here counts.
        trials = [(Training(*arguments, how), how) for how in forms(arguments)]
        seconds, _ = turns.race([turns.Contender(training.run, 1) for training, _ in trials], 1, 5e-3)
        best = min(range(len(trials)), key=lambda i: seconds[i])
        peak = name.rsplit("/", 1)[0] + "/products at FMA peak"
        contenders = [taper.contender(name), turns.Contender(trials[best][0].run, 1), taper.contender(peak)]
        seconds, ratios = turns.race(contenders, options.seconds, 20e-3)
        taper.close()
        turns.row(title, f"**{ratios[1]:.2f}**", *(1e6 * s for s in seconds), 100 * ratios[2],
                  ", ".join(trials[best][1]) or "default", f"{mine:.6f}", f"{theirs:.6f}")
    print()


if __name__ == "__main__":
    main()

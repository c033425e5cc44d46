#!/usr/bin/env python3
"""The layers of attention.cpp by PyTorch, eager, beside Taper's: the same numbers, start and optimizer, in turns. Both
are run for some steps first, and must come to the same loss."""

import argparse
import math
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("attention.py: this Python has no PyTorch: skipped")
    sys.exit(0)

import turns
from training_steps import filled

# Rows, length, embed, heads, causal: as in attention.cpp.
SIZES = ((32, 64, 64, 4, False), (32, 64, 64, 4, True), (8, 128, 512, 8, False), (2, 1024, 64, 4, False),
         (2, 1024, 64, 4, True), (64, 16, 32, 8, False))


class Training:
    def __init__(self, rows, length, embed, heads, causal, how):
        self.layer = torch.nn.MultiheadAttention(embed, heads, batch_first=True)
        with torch.no_grad():
            for k, parameter in enumerate(self.layer.parameters()):
                parameter.copy_(filled(2 + k, *parameter.shape, scale=embed**-0.5))
        self.adam = torch.optim.Adam(self.layer.parameters(), lr=1e-3, **how)
        self.x = filled(0, rows, length, embed).requires_grad_()
        self.y = filled(1, rows, length, embed)
        self.mask = torch.nn.Transformer.generate_square_subsequent_mask(length) if causal else None

    def step(self):
        self.adam.zero_grad(set_to_none=True)
        self.x.grad = None
        y, _ = self.layer(self.x, self.x, self.x, need_weights=False, attn_mask=self.mask,
                          is_causal=self.mask is not None)
        loss = F.mse_loss(y, self.y)
        loss.backward()
        self.adam.step()
        return loss

    def run(self, count):
        return turns.timed(self.step, count)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", default="build/bench/bench/attention",
                        help="Taper's measurement (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="for each case (%(default)s)")
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # as Taper does
    torch.set_num_threads(1)

    turns.head(f"Attention against PyTorch {torch.__version__}, eager, one thread", "rows x length x embed, heads",
               "PyTorch / Taper", "Taper, us", "PyTorch", "products at FMA peak", "Taper, % of it")
    for sizes in SIZES:
        rows, length, embed, heads, causal = sizes
        name = f"{rows} x {length} x {embed} {heads} heads{' causal' * causal}"
        case, taper = f"attention/{name}, 1", turns.Child(options.binary)
        reference = Training(*sizes, {})
        for _ in range(10):
            theirs = reference.step().item()
        mine = taper.ask(case, 10).result
        if not math.isclose(mine, theirs, rel_tol=1e-3):
            raise SystemExit(f"the loss after 10 steps is {mine} with Taper and {theirs} with PyTorch: expected the same")
        best = Training(*sizes, {"fused": True})
        contenders = [taper.contender(case), turns.Contender(best.run, 1),
                      taper.contender(f"{case}/products at FMA peak")]
        seconds, ratios = turns.race(contenders, options.seconds, 20e-3)
        taper.close()
        turns.row(f"{rows} x {length} x {embed}, {heads} heads{', causal' * causal}", f"**{ratios[1]:.2f}**",
                  *(1e6 * s for s in seconds), 100 * ratios[2])
    print()


if __name__ == "__main__":
    main()

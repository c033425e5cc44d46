"""Where Taper differs from PyTorch on purpose: each rule says for which operations, at which entries, and why.

A rule is a test of the entries that differ, so that it excuses nothing else.
"""

import torch


class Found:
    """What differs: a value or a gradient of a case, and at which entries."""

    def __init__(self, answer, what, inputs, ours, theirs):
        self.settings, self.gradient = answer["settings"], what != "value"
        self.x = [x.detach() for x in inputs]
        self.ours, self.theirs = ours, theirs
        same = (ours == theirs) | (ours.isnan() & theirs.isnan())
        close = torch.isfinite(ours) & torch.isfinite(theirs) & ((ours - theirs).abs() <= 1e-4 * theirs.abs())
        self.entries = ~same & ~close

    def all(self, mask):
        return bool(mask.expand_as(self.ours)[self.entries].all())


def lost_derivative(d):
    difference = d.x[0] - d.x[1] if len(d.x) > 1 else d.x[0]
    return d.gradient and d.all(difference.isnan() & d.ours.isnan())


def limit(d):
    return d.all(d.x[0].isinf() & d.theirs.isnan())


def square_root(d):
    return abs(d.settings["exponent"]) == 0.5 and d.all((d.x[0] == 0) | (d.x[0] == -torch.inf))


def at_an_end(d):
    return d.gradient and d.all((d.x[0] == d.settings["low"]) | (d.x[0] == d.settings["high"]))


def infinite_logit(d):
    return bool((d.x[0] == torch.inf).any()) and d.all(d.theirs.isnan())


def several_nan(d):
    return d.gradient and int(d.x[0].isnan().sum()) > 1


def loss_of_zero(d):
    infinite = d.x[0].isinf() | d.x[1].isinf()
    return d.gradient and d.all(infinite & (d.ours == 0) & d.theirs.isnan())


def infinite_entry(d):
    return bool(d.x[0].isinf().any()) and d.all(d.ours.isnan())


RULES = {
    ("abs", "elu", "mae_loss"): (lost_derivative, "the derivative at a NaN is a NaN, in PyTorch a number"),
    ("gelu", "silu"): (limit, "at infinity it is the limit, in PyTorch 0 inf = NaN"),
    ("bce_with_logits_loss",): (limit, "of an infinite logit it is the limit, in PyTorch inf - inf = NaN"),
    ("power",): (square_root, "at -0 and -inf, C's pow is not the square root that PyTorch takes for 0.5 and -0.5"),
    ("clamp",): (at_an_end, "at its ends the derivative is 1, in PyTorch 2.15 it is 0"),
    ("softmax", "log_softmax", "cross_entropy_loss"):
        (infinite_logit, "beside an infinite logit, other entries have their limits, in PyTorch all are NaN"),
    ("max_pool1d", "max_pool2d"): (several_nan, "of several NaN, the first one has the gradient, in PyTorch the last one"),
    ("hinge_loss",): (loss_of_zero, "where it is 0 the derivative is, too; a chain of PyTorch's operations has 0 inf = NaN"),
    ("batch_moments",): (infinite_entry, "beside an infinite entry all are NaN, in PyTorch the mean is infinite"),
}


def known_difference(answer, what, inputs, ours, theirs):
    """The reason for a difference, or None."""
    for operations, (applies, reason) in RULES.items():
        if answer["operation"] in operations and ours.shape == theirs.shape:
            return reason if applies(Found(answer, what, inputs, ours, theirs)) else None
    return None

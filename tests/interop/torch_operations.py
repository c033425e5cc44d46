"""The counterpart in PyTorch of each operation: a function of its inputs and settings, by the operation's name.

Where PyTorch has several functions whose conventions differ, it is the one whose convention Taper has, and says so.
"""

import torch
from torch.nn import functional as F

ACTIVATIONS = {"none": lambda y: y, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}

# What has no counterpart, with the reason.
WITHOUT = {"dropout": "random: another generator draws another pattern"}


def over(reduction):
    """A reduction of one dimension, over several: these are made one first (no axes are all of them)."""

    def apply(x, settings):
        axes = settings["axes"] or list(range(x.dim()))
        first, shape = axes[0] if axes else 0, list(x.shape)
        flat = x.reshape(shape[:first] + [-1] + shape[first + len(axes):] if x.numel() else count(shape, axes))
        y = reduction(flat, first)
        return y.reshape([1 if k in axes else n for k, n in enumerate(shape)]) if settings["keepdim"] else y

    def count(shape, axes):
        n = 1
        for axis in axes:
            n *= shape[axis]
        return shape[:axes[0]] + [n] + shape[axes[0] + len(axes):]

    return apply


def dims(x, settings):
    return settings["axes"] or list(range(x.dim()))


def compare(relation):
    return lambda x, s: relation(x[0], x[1]).to(x[0].dtype)


def conv(function, directions):
    def apply(x, s):
        bias = x[2] if len(x) > 2 else None
        groups = s["groups"] or max(x[0].shape[1] // x[1].shape[1], 1)
        settings = [both(s, name, directions) for name in ("stride", "padding", "dilation")]
        return ACTIVATIONS[s["activation"]](function(x[0], x[1], bias, *settings, groups))

    return apply


def both(s, name, directions):
    return s[name] if directions == 1 else (s[f"{name}_rows"], s[f"{name}_columns"])


def max_pool(function, directions):
    names = ("kernel", "stride", "padding", "dilation")
    return lambda x, s: function(x[0], *[both(s, name, directions) for name in names])


def avg_pool(function, directions):
    names = ("kernel", "stride", "padding")
    return lambda x, s: function(
        x[0], *[both(s, name, directions) for name in names], count_include_pad=s["count_padding"])


def batch_moments(x, _):
    axes = [axis for axis in range(x[0].dim()) if axis != 1]
    variance = [torch.var(x[0], axes, unbiased=unbiased) for unbiased in (False, True)]
    return torch.stack([x[0].mean(axes)] + variance)


def batch_norm(x, s):
    """PyTorch has no gradient for running moments, so that its function gives the value and a formula the rest."""
    values, mean, variance, *weights = x
    channels = [-1 if axis == 1 else 1 for axis in range(values.dim())]
    y = (values - mean.reshape(channels)) / torch.sqrt(variance.reshape(channels) + s["epsilon"])
    if weights:
        y = y * weights[0].reshape(channels) + weights[1].reshape(channels)
    same = F.batch_norm(values.detach(), mean.detach(), variance.detach(), *[w.detach() for w in weights],
                        eps=s["epsilon"])
    digits = 1e-5 if y.dtype == torch.float32 else 1e-12
    assert torch.allclose(y.detach(), same, rtol=digits, atol=digits * float(same.abs().max()), equal_nan=True)
    return y


def cross_entropy(x, s):
    logits, labels, *weights = x
    labels = labels.long().reshape(-1)
    of_class = weights[0] if s["class_weights"] else None
    settings = {"weight": of_class, "ignore_index": s["ignore_index"], "label_smoothing": s["label_smoothing"]}
    if not s["sample_weights"]:
        return F.cross_entropy(logits, labels, reduction=s["reduction"], **settings)
    of_sample = weights[-1].reshape(-1)
    losses = F.cross_entropy(logits, labels, reduction="none", **settings) * of_sample
    if s["reduction"] == "none":
        return losses
    counts = labels != s["ignore_index"]
    total = of_sample[counts]
    if of_class is not None:
        total = total * of_class[labels[counts]]
    return losses.sum() / total.sum() if s["reduction"] == "mean" else losses.sum()


def weighted_bce(x, _):
    """PyTorch has no gradient for these weights, so that its function gives the value and a formula the rest."""
    weight, pos_weight = x[2:]
    losses = pos_weight * x[1] * F.softplus(-x[0]) + (1 - x[1]) * F.softplus(x[0])
    same = F.binary_cross_entropy_with_logits(x[0], x[1], weight.detach(), pos_weight=pos_weight.detach())
    assert torch.allclose((weight * losses).mean(), same)
    return (weight * losses).mean()


def hinge(x, s):
    losses = torch.relu(1 - x[1] * x[0])  # PyTorch has hinge losses of distances and of classes, not this one
    return losses if s["reduction"] == "none" else getattr(losses, s["reduction"])()


def field_pairs(weights, factors, positions):
    v, total = factors[positions.long()], weights[positions.long()].sum(1)
    for f in range(v.shape[1]):
        for g in range(f):
            total = total + (v[:, f] * v[:, g]).sum(1, keepdim=True)
    return total


def prelu(x, _):
    """PyTorch's function has a slope or one for each channel; Taper's any shape that fits."""
    of_channel = x[0].dim() == 2 and x[1].dim() == 1 and x[1].shape[0] == x[0].shape[1]
    if x[0].numel() and (of_channel or (x[1].dim() <= 1 and x[1].numel() == 1)):
        return F.prelu(x[0], x[1].reshape(-1))
    return torch.where(x[0] > 0, x[0], x[0] * x[1])


def row_norm(function):
    return lambda x, s: function(x[0], x[0].shape[x[0].dim() - s["axes"]:], *x[1:], eps=s["epsilon"])


def transposed(x, transpose):
    return x.transpose(-2, -1) if transpose else x


def attention(x, s):
    """Heads that lie side by side are an axis of their own in PyTorch; a causal mask is one of the masks."""
    q, k, v, width = *x[:3], s["head_width"]
    heads = q.shape[-1] // width if width else 1
    if width:
        q, k, v = (t.unflatten(-1, (heads, t.shape[-1] // heads)).transpose(-3, -2) for t in (q, k, v))
    mask = x[3].expand(*q.shape[:-1], k.shape[-2]) if len(x) > 3 else None
    if s["condition"] and mask is not None:
        mask = mask == 0 if s["ignored"] else mask != 0
    if s["causal"]:
        seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
        if mask is None or s["condition"]:
            mask = seen if mask is None else mask & seen
        else:
            mask = mask.masked_fill(~seen, -torch.inf)
    y = F.scaled_dot_product_attention(q, k, v, mask, scale=s["scale"])
    return y.transpose(-3, -2).flatten(-2) if width else y


def multihead_attention(kind="mask", itself=False, **dimensions):
    """The layer, with the parameters that are given: the names are those of its state."""

    def apply(x, _):
        names = ["in_proj_weight"] if not dimensions else ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
        names += ["in_proj_bias", "out_proj.weight", "out_proj.bias"]
        inputs, rest = ([x[0]] * 3, x[1:]) if itself else (x[:3], x[3:])
        layer = torch.nn.MultiheadAttention(12, 3, batch_first=True, dtype=x[0].dtype, **dimensions)
        assert sorted(dict(layer.named_parameters())) == sorted(names)
        more = rest[len(names):]
        settings = {}
        if kind == "causal":
            settings["attn_mask"] = torch.ones(x[0].shape[-2], x[0].shape[-2], dtype=torch.bool).triu(1)
        if kind in ("padding", "both"):
            settings["key_padding_mask"] = more[0] != 0
        if kind in ("mask", "both") and len(more) > (kind == "both"):
            settings["attn_mask"] = more[-1]
        if kind == "both":  # both in one type, as PyTorch asks for
            settings["key_padding_mask"] = torch.zeros_like(more[0]).masked_fill(more[0] != 0, -torch.inf)
        return torch.func.functional_call(
            layer, dict(zip(names, rest)), tuple(inputs), settings | {"need_weights": False})[0]

    return apply


def of_one(function):
    return lambda x, s: function(x[0])


def of_two(function):
    return lambda x, s: function(x[0], x[1])


def loss(function, **settings):
    return lambda x, s: function(x[0], x[1], reduction=s["reduction"], **settings)


COUNTERPARTS = {
    **{name: of_one(getattr(torch, name))
       for name in ("neg", "exp", "log", "log1p", "expm1", "sin", "cos", "erf", "sqrt", "square", "abs", "tanh", "sigmoid",
                    "relu")},
    "log_sigmoid": of_one(F.logsigmoid),
    "softplus": of_one(lambda x: F.softplus(x, threshold=40)),  # above its usual 20, it leaves out exp(-20) = 2e-9
    "gelu": of_one(F.gelu),
    "silu": of_one(F.silu),
    "power": lambda x, s: torch.pow(x[0], s["exponent"]),
    "leaky_relu": lambda x, s: F.leaky_relu(x[0], s["slope"]),
    "elu": lambda x, s: F.elu(x[0], s["alpha"]),
    "clamp": lambda x, s: torch.clamp(x[0], s["low"], s["high"]),
    **{name: of_two(getattr(torch, name)) for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum")},
    "hadamard": of_two(torch.mul),
    "prelu": prelu,
    "greater": compare(torch.gt), "greater_equal": compare(torch.ge), "less": compare(torch.lt),
    "less_equal": compare(torch.le), "equal": compare(torch.eq), "not_equal": compare(torch.ne),
    "where": lambda x, s: torch.where(x[0] != 0, x[1], x[2]),
    "matmul": lambda x, s: transposed(x[0], s["transpose_a"]) @ transposed(x[1], s["transpose_b"]),
    "scaled_dot_product_attention": lambda x, s: attention(x, s | {"condition": False}),
    "masked_attention": lambda x, s: attention(x, s | {"condition": True}),
    "affine": lambda x, s: ACTIVATIONS[s["activation"]](F.linear(*x)),
    "conv1d": conv(F.conv1d, 1), "conv2d": conv(F.conv2d, 2),
    "max_pool1d": max_pool(F.max_pool1d, 1), "max_pool2d": max_pool(F.max_pool2d, 2),
    "avg_pool1d": avg_pool(F.avg_pool1d, 1), "avg_pool2d": avg_pool(F.avg_pool2d, 2),
    "adaptive_avg_pool1d": lambda x, s: F.adaptive_avg_pool1d(x[0], s["output"]),
    "adaptive_avg_pool2d": lambda x, s: F.adaptive_avg_pool2d(x[0], both(s, "output", 2)),
    "sum": lambda x, s: torch.sum(x[0], dims(x[0], s), s["keepdim"]),
    "mean": lambda x, s: torch.mean(x[0], dims(x[0], s), s["keepdim"]),
    # max(x) and amax(x, axes) share the gradient out among equal entries, max(x, axis) gives it to one of them.
    "max": lambda x, s: over(lambda y, axis: torch.max(y, axis).values)(x[0], s),
    "min": lambda x, s: over(lambda y, axis: torch.min(y, axis).values)(x[0], s),
    "var": lambda x, s: torch.var(x[0], dims(x[0], s), unbiased=s["unbiased"], keepdim=s["keepdim"]),
    "logsumexp": lambda x, s: torch.logsumexp(x[0], dims(x[0], s), s["keepdim"]),
    "softmax": lambda x, s: torch.softmax(x[0], s["axis"]),
    "log_softmax": lambda x, s: torch.log_softmax(x[0], s["axis"]),
    "batch_moments": batch_moments,
    "batch_norm": batch_norm,
    "layer_norm": row_norm(F.layer_norm),
    "rms_norm": row_norm(F.rms_norm),
    "reshape": lambda x, s: x[0].reshape(s["dimensions"]),
    "expand": lambda x, s: x[0].expand(s["dimensions"]),
    "transpose": lambda x, s: x[0].transpose(s["first"], s["second"]),
    "permute": lambda x, s: x[0].permute(s["order"]),
    "chunk": lambda x, s: torch.chunk(x[0], s["parts"], s["axis"])[s["part"]],
    "slice": lambda x, s: x[0].narrow(s["axis"], s["begin"], s["end"] - s["begin"]),
    "concat": lambda x, s: torch.cat(x, s["axis"]),
    "gather_rows": lambda x, s: F.embedding(x[1].long(), x[0]),
    "field_pairs": lambda x, s: field_pairs(*x),
    "field_positions": lambda x, s: x[0] + torch.cumsum(x[1], 0) - x[1],
    "mse_loss": loss(F.mse_loss), "mae_loss": loss(F.l1_loss),
    "huber_loss": lambda x, s: F.huber_loss(x[0], x[1], s["reduction"], s["delta"]),
    "bce_with_logits_loss": loss(F.binary_cross_entropy_with_logits),
    "hinge_loss": hinge,
    "poisson_log_loss": loss(F.poisson_nll_loss, log_input=True),
    "poisson_loss": lambda x, s: F.poisson_nll_loss(x[0], x[1], False, eps=s["eps"], reduction=s["reduction"]),
    "cross_entropy_loss": cross_entropy,
}

# Of the functions in functions.hpp.
COUNTERPARTS |= {
    "batch_norm in training": lambda x, s: F.batch_norm(x[0], None, None, x[1], x[2], training=True),
    "sum over 0, 2": of_one(lambda x: x.sum((0, 2))),
    "mean over 0, 2, kept": of_one(lambda x: x.mean((0, 2), keepdim=True)),
    "max over 0, 2": of_one(lambda x: x.amax((0, 2))),
    "min over -1, 0, kept": of_one(lambda x: x.amin((-1, 0), keepdim=True)),
    "logsumexp over 0, 2": of_one(lambda x: x.logsumexp((0, 2))),
    "var over 0, 2": of_one(lambda x: x.var((0, 2))),
    "var over 0, 2, biased, kept": of_one(lambda x: x.var((0, 2), unbiased=False, keepdim=True)),
    "stack": lambda x, s: torch.stack(x, 1),
    "unsqueeze": of_one(lambda x: x.unsqueeze(-1)),
    "squeeze": of_one(lambda x: x.squeeze(1)),
    "mse_loss, weighted": lambda x, s: F.mse_loss(x[0], x[1], reduction="none", weight=x[2].expand_as(x[0])),
    "mse_loss, weighted mean": lambda x, s: F.mse_loss(x[0], x[1], weight=x[2].expand_as(x[0])),
    "mae_loss, weighted mean": lambda x, s: F.l1_loss(x[0], x[1], weight=x[2].expand_as(x[0])),
    "huber_loss, weighted sum": lambda x, s: F.huber_loss(x[0], x[1], "sum", 0.7, weight=x[2].expand_as(x[0])),
    "group_norm": of_one(lambda x: F.group_norm(x, 3)),
    "bce_with_logits_loss, weight and pos_weight": weighted_bce,
    "self-attention": multihead_attention(itself=True),
    "self-attention, causal": multihead_attention(kind="causal", itself=True),
    "attention": multihead_attention(),
    "attention, padding": multihead_attention(kind="padding"),
    "attention, mask": multihead_attention(),
    "attention, mask and padding": multihead_attention(kind="both"),
    "attention, kdim and vdim": multihead_attention(kdim=5, vdim=7),
}

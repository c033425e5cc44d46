"""Examples besides those of the registry: larger ones, of each scale, and where conventions may differ.

A case is (operation, label, settings, inputs).
"""

import numpy

NAN, INF = numpy.nan, numpy.inf
random = numpy.random.default_rng(15)


def normal(*shape):
    return random.standard_normal(shape)


def uniform(low, high, *shape):
    return random.uniform(low, high, shape)


def whole(high, *shape):
    return random.integers(0, high, shape).astype(float)


SPECIAL = numpy.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 1e-8, -1e-8, 1e8, -1e8, INF, -INF, NAN])
SCALES = (1e-8, 1.0, 1e8)

UNARY = {name: [{}] for name in (
    "neg", "exp", "log", "log1p", "expm1", "sin", "cos", "erf", "sqrt", "square", "abs", "tanh", "sigmoid",
    "log_sigmoid", "softplus", "relu", "gelu", "silu")}
UNARY |= {
    "power": [{"exponent": exponent} for exponent in (-2, -1, -0.5, 0, 0.5, 1, 2, 2.5, 3)],
    "leaky_relu": [{"slope": 0.01}, {"slope": 0.0}],
    "elu": [{"alpha": 1.0}, {"alpha": 1.7}],
    "clamp": [{"low": -1.0, "high": 1.0}, {"low": 0.5, "high": 0.5}],
}


def unary():
    for name, choices in UNARY.items():
        for settings in choices:
            for scale in SCALES:
                yield name, f"random, {scale}", settings, [scale * normal(40, 25)]
            for special in SPECIAL:
                yield name, f"of {special}", settings, [numpy.array(special)]
            yield name, "empty", settings, [numpy.zeros((0, 3))]


def binary():
    left, right = (grid.reshape(-1) for grid in numpy.meshgrid(SPECIAL, SPECIAL))
    for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "prelu", "greater", "greater_equal", "less",
                 "less_equal", "equal", "not_equal"):
        for scale in SCALES:
            power = 1 if scale == 1 else 1 / abs(numpy.log(scale))  # keeps a ** b in range
            a, b = scale * normal(20, 30), (power if name == "pow" else scale) * normal(20, 30)
            a = abs(a) if name == "pow" else a
            for label, pair in {"": (a, b), ", a row": (a, b[0]), ", a column": (a[:, :1], b)}.items():
                yield name, f"random, {scale}{label}", {}, list(pair)
        for a, b in zip(left, right):
            yield name, f"of {a} and {b}", {}, [numpy.array(a), numpy.array(b)]
        yield name, "empty", {}, [numpy.zeros((0, 3)), numpy.ones(3)]
    for scale in SCALES:
        u = scale * normal(20, 30)
        for v in (normal(20, 30), normal(30), normal(20, 1)):
            yield "hadamard", f"random, {scale}", {}, [u, scale * v]
    yield "hadamard", "special", {}, [left, right]
    yield "hadamard", "empty", {}, [numpy.zeros((0, 3)), numpy.ones(3)]


def choices():
    condition = numpy.array([0.0, -0.0, 1.0, NAN, INF, 1e-8] * 5)
    yield "where", "special", {}, [condition, numpy.repeat(SPECIAL, 2), numpy.tile(SPECIAL, 2)]
    yield "where", "random", {}, [whole(2, 20, 1), normal(20, 30), normal(30)]
    yield "where", "empty", {}, [numpy.zeros((0, 1)), normal(30), normal(1, 30)]
    for dimensions in ([4, -1, 5], [0, -1, 5]):
        yield "expand", "random", {"dimensions": dimensions}, [normal(3, 1)]
    yield "gather_rows", "random", {}, [normal(50, 20), whole(50, 30, 4)]
    yield "gather_rows", "one row often", {}, [1e8 * normal(3, 20), numpy.ones((500,))]
    yield "gather_rows", "special", {}, [SPECIAL.reshape(5, 3), whole(5, 20)]
    yield "gather_rows", "empty", {}, [normal(50, 20), numpy.zeros((0, 4))]
    for fields in (2, 3):
        yield "field_pairs", f"random, {fields} fields", {}, [normal(30, 1), normal(30, 20), whole(30, 50, fields)]
    yield "field_pairs", "one row often", {}, [normal(3, 1), 1e4 * normal(3, 20), numpy.ones((500, 2))]
    yield "field_pairs", "empty", {}, [normal(30, 1), normal(30, 20), numpy.zeros((0, 2))]
    yield "field_positions", "random", {}, [whole(3, 100, 3), numpy.array([3.0, 1000.0, 7.0])]


def reductions():
    ties = whole(3, 6, 40, 5)
    special = numpy.array([[1.0, INF, 2.0], [1.0, -INF, 2.0], [INF, INF, 0.0], [-INF, -INF, -INF], [NAN, 1.0, NAN],
                           [INF, -INF, 1.0], [NAN, INF, -INF], [1e8, 1e-8, 0.0], [0.0, -0.0, 0.0]])
    for name in ("sum", "mean", "max", "min", "var", "logsumexp"):
        more = [{"unbiased": True}, {"unbiased": False}] if name == "var" else [{}]
        for settings in more:
            for axes, keepdim in (([], False), ([0], False), ([1], True), ([2], False), ([0, 1], True), ([1, 2], False)):
                full = {"axes": axes, "keepdim": keepdim, **settings}
                for scale in SCALES:
                    yield name, f"random, {scale}", full, [scale * normal(6, 40, 5)]
                yield name, "ties", full, [ties]
                yield name, "beside 1e4", full, [1e4 + normal(6, 40, 5)]
                if len(axes) < 2:
                    yield name, "long", full, [normal(300, 30, 3)]
            for row in special:
                yield name, f"of {row}", {"axes": [], "keepdim": False, **settings}, [row]
            yield name, "special", {"axes": [1], "keepdim": True, **settings}, [special]
            yield name, "no rows", {"axes": [1], "keepdim": False, **settings}, [numpy.zeros((0, 3))]
    yield "sum", "of nothing", {"axes": [0], "keepdim": False}, [numpy.zeros((0, 3))]
    for name in ("softmax", "log_softmax"):
        for axis in (0, 1, 2):
            for scale in SCALES:
                yield name, f"random, {scale}", {"axis": axis}, [scale * normal(6, 40, 5)]
            yield name, "beside 1e4", {"axis": axis}, [1e4 + normal(6, 40, 5)]
        for row in special:
            yield name, f"of {row}", {"axis": 0}, [row]
        yield name, "special", {"axis": 1}, [special]
        yield name, "empty", {"axis": 1}, [numpy.zeros((0, 3))]


def products():
    for ta in (False, True):
        for tb in (False, True):
            for scale in SCALES:
                a, b = scale * normal(70, 130), normal(130, 50)
                yield ("matmul", f"random, {scale}", {"transpose_a": ta, "transpose_b": tb},
                       [a.T if ta else a, b.T if tb else b])
            for a, b in (((6, 20, 30), (6, 30, 40)), ((2, 5, 20, 30), (2, 5, 30, 10)), ((7, 20, 30), (30, 10)),
                         ((20, 30), (3, 7, 30, 10)), ((3, 1, 20, 30), (5, 30, 10))):
                a, b = normal(*a), normal(*b)
                yield ("matmul", f"batches {a.shape} {b.shape}", {"transpose_a": ta, "transpose_b": tb},
                       [a.swapaxes(-2, -1) if ta else a, b.swapaxes(-2, -1) if tb else b])
    plain = {"transpose_a": False, "transpose_b": False}
    yield "matmul", "no batches", plain, [normal(0, 3, 2), normal(0, 2, 4)]
    yield "matmul", "no inner dimension", plain, [normal(3, 0), normal(0, 4)]
    yield "matmul", "no rows", plain, [normal(0, 3), normal(3, 4)]
    yield "matmul", "special", plain, [SPECIAL.reshape(5, 3), SPECIAL.reshape(3, 5)]
    for activation in ("none", "relu", "tanh", "sigmoid"):
        for scale in SCALES:
            for bias in ([], [normal(30)]):
                yield ("affine", f"random, {scale}", {"activation": activation},
                       [scale * normal(40, 50), normal(30, 50), *bias])
        yield "affine", "three axes", {"activation": activation}, [normal(4, 7, 5), normal(3, 5), normal(3)]
        yield "affine", "no rows", {"activation": activation}, [normal(0, 5), normal(3, 5), normal(3)]
        yield "affine", "no inputs", {"activation": activation}, [normal(4, 0), normal(3, 0), normal(3)]
        yield "affine", "special", {"activation": activation}, [SPECIAL.reshape(15, 1), numpy.ones((1, 1)), numpy.zeros(1)]


def attentions():
    none = {"head_width": 0, "scale": 0.5, "causal": False, "dropout": 0.0, "ignored": False}
    for n, m, width, values, heads, settings in ((5, 7, 4, 3, 3, {}), (70, 130, 8, 8, 2, {}), (64, 64, 16, 16, 4, {}),
                                                 (6, 6, 4, 4, 2, {"causal": True}), (130, 70, 5, 2, 2, {"causal": True}),
                                                 (1, 1, 2, 2, 1, {"causal": True}), (1, 9, 3, 3, 2, {})):
        for scale in SCALES:
            # Of scores so large that one key takes all, gradients would be compared that are rounding.
            settings = settings | {"scale": (-1 if n == 1 else 0.5) / max(scale, 1)}
            side_by_side = [scale * normal(3, n, heads * width), normal(3, m, heads * width), normal(3, m, heads * values)]
            apart = [scale * normal(3, heads, n, width), normal(3, heads, m, width), normal(3, heads, m, values)]
            masks = {"": [], ", a mask": [normal(n, m)], ", of heads": [normal(heads, 1, m)],
                     ", of all": [normal(3, heads, n, m)]}
            conditions = {"of keys": whole(2, 3, 1, 1, m), "of all": whole(2, 3, heads, n, m)}
            for condition in conditions.values():
                condition[..., 0] = 1  # something is seen
            for inputs, more in ((side_by_side, {"head_width": width}), (apart, {})):
                for label, mask in masks.items():
                    yield ("scaled_dot_product_attention", f"random, {scale}{label}", none | settings | more,
                           [*inputs, *mask])
                for label, condition in conditions.items():
                    for ignored in (False, True):
                        yield ("masked_attention", f"random, {scale}, {label}", none | settings | more |
                               {"ignored": ignored}, [*inputs, 1 - condition if ignored else condition])
    blind, partly = numpy.ones((4, 5)), numpy.zeros((4, 5))
    blind[2], partly[2], partly[3, 1:] = 0, -INF, -INF
    three = [normal(2, 4, 6), normal(2, 5, 6), normal(2, 5, 6)]
    yield "masked_attention", "a query that sees nothing", none, [*three, blind]
    yield "scaled_dot_product_attention", "a query that sees nothing", none, [*three, partly]
    yield "scaled_dot_product_attention", "no rows", none, [normal(0, 4, 6), normal(0, 5, 6), normal(0, 5, 6)]


def convolutions():
    one = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "activation": "none"}
    for x, w, settings in (((8, 6, 50), (10, 6, 5), {}),
                           ((8, 6, 50), (9, 2, 4), {"stride": 3, "padding": 2, "dilation": 2, "groups": 3}),
                           ((4, 6, 40), (12, 1, 3), {"padding": 4, "groups": 0, "activation": "relu"}),
                           ((0, 6, 40), (12, 6, 3), {})):
        for scale in SCALES:
            for bias in ([], [normal(w[0])]):
                yield "conv1d", f"random, {scale}", one | settings, [scale * normal(*x), normal(*w), *bias]
    both = ("stride", "padding", "dilation")
    two = {f"{name}_{axis}": one[name] for name in both for axis in ("rows", "columns")} | {"groups": 1, "activation": "none"}
    for x, w, settings in (((6, 3, 28, 28), (20, 3, 5, 5), {}),
                           ((5, 8, 13, 17), (12, 4, 3, 2), {"stride_rows": 2, "padding_columns": 2, "groups": 2}),
                           ((5, 8, 13, 17), (6, 8, 3, 3), {"dilation_rows": 3, "padding_rows": 4, "stride_columns": 3}),
                           ((4, 16, 14, 14), (16, 1, 3, 3), {"padding_rows": 1, "padding_columns": 1, "groups": 0}),
                           ((4, 16, 14, 14), (32, 1, 3, 3), {"stride_rows": 2, "groups": 16, "activation": "tanh"}),
                           ((4, 7, 9, 9), (5, 7, 1, 1), {"activation": "relu"}),
                           ((4, 7, 9, 9), (5, 7, 1, 1), {"stride_rows": 2, "stride_columns": 2}),
                           ((0, 7, 9, 9), (5, 7, 3, 3), {"activation": "sigmoid"})):
        for scale in SCALES:
            for bias in ([], [normal(w[0])]):
                yield "conv2d", f"random, {scale}", two | settings, [scale * normal(*x), normal(*w), *bias]
    x = normal(2, 3, 9, 9)
    x[0, 1, 4, 4], x[1, 0, 0, 0] = INF, NAN
    yield "conv2d", "special", two | {"padding_rows": 1}, [x, abs(normal(2, 3, 3, 3)), normal(2)]


def pools():
    special = whole(3, 2, 2, 12, 12)
    special[0, 0, :5, :5] = -INF
    special[0, 1, 2, 3:5] = NAN
    special[1, 0, 4:7, 5] = INF
    infinite = numpy.where(numpy.isnan(special), 0, special)
    images = {"ties": whole(3, 3, 4, 12, 12), "special": special, "infinite": infinite, "no rows": numpy.zeros((0, 2, 12, 12)),
              **{f"random, {scale}": scale * normal(3, 4, 12, 12) for scale in SCALES}}
    for label, x in images.items():
        line = x[:, :, 2, :]
        for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 0), (4, 3, 2), (1, 1, 0)):
            one = {"kernel": kernel, "stride": stride, "padding": padding}
            two = {f"{name}_{axis}": value for name, value in one.items() for axis in ("rows", "columns")}
            for dilation in (1, 2):
                yield "max_pool1d", label, one | {"dilation": dilation}, [line]
                yield "max_pool2d", label, two | {"dilation_rows": dilation, "dilation_columns": 1}, [x]
            for count in (True, False):
                yield "avg_pool1d", label, one | {"count_padding": count}, [line]
                yield "avg_pool2d", label, two | {"count_padding": count}, [x]
        for cells in (1, 5, 12, 17):
            yield "adaptive_avg_pool1d", label, {"output": cells}, [line]
            yield "adaptive_avg_pool2d", label, {"output_rows": cells, "output_columns": 3}, [x]


def norms():
    for scale in SCALES:
        for shape in ((60, 7), (5, 7, 20), (4, 7, 6, 5)):
            x, channels = scale * normal(*shape), lambda: uniform(0.5, 2, 7)
            yield "batch_moments", f"random, {scale}", {}, [x]
            yield "batch_norm in training", f"random, {scale}", {}, [x, channels(), channels()]
            for weights in ([], [channels(), channels()]):
                yield ("batch_norm", f"random, {scale}", {"epsilon": 1e-5},
                       [x, scale * channels(), scale**2 * channels(), *weights])
            for axes in (1, 2):
                last = shape[len(shape) - axes:]
                for weights in range(3):
                    inputs = [x, *[uniform(0.5, 2, *last) for _ in range(weights)]]
                    yield "layer_norm", f"random, {scale}", {"axes": axes, "epsilon": 1e-5}, inputs
                    if weights < 2:
                        yield "rms_norm", f"random, {scale}", {"axes": axes, "epsilon": 1e-5}, inputs
    for shape in ((60, 7), (5, 7, 20)):
        for offset in (100, 1e4):
            x, channels = offset + normal(*shape), uniform(0.5, 2, 7)
            yield "batch_moments", f"beside {offset}", {}, [x]
            yield "rms_norm", f"beside {offset}", {"axes": 1, "epsilon": 1e-5}, [x]
            if offset == 100:  # in float, their deviations are those from a mean that is rounded, in PyTorch too
                yield "batch_norm in training", f"beside {offset}", {}, [x, channels, channels]
                yield "layer_norm", f"beside {offset}", {"axes": 1, "epsilon": 1e-5}, [x]
    rows = numpy.array([[3.0, 3.0, 3.0], [0.0, 0.0, 0.0], [1.0, NAN, 2.0], [1.0, INF, 2.0], [1e8, -1e8, 1.0]])
    for row in rows:
        for name in ("layer_norm", "rms_norm"):
            yield name, f"of {row}", {"axes": 1, "epsilon": 1e-5}, [row, numpy.ones(3)]
        yield "batch_norm in training", f"of {row}", {}, [row.reshape(3, 1), numpy.ones(1), numpy.ones(1)]
        yield "batch_moments", f"of {row}", {}, [row.reshape(3, 1)]
    for name in ("layer_norm", "rms_norm"):
        yield name, "no rows", {"axes": 1, "epsilon": 1e-5}, [numpy.zeros((0, 3)), numpy.ones(3)]


def losses():
    for reduction in ("mean", "sum", "none"):
        for scale in SCALES:
            p, t = scale * normal(40, 25), scale * normal(40, 25)
            for name in ("mse_loss", "mae_loss", "hinge_loss"):
                yield name, f"random, {scale}", {"reduction": reduction}, [p, t]
            yield "huber_loss", f"random, {scale}", {"reduction": reduction, "delta": 0.7}, [p, t]
            yield "huber_loss", f"random, {scale}", {"reduction": reduction, "delta": scale}, [p, t]
            yield "bce_with_logits_loss", f"random, {scale}", {"reduction": reduction}, [p, uniform(0, 1, 40, 25)]
            yield "poisson_loss", f"random, {scale}", {"reduction": reduction, "eps": 1e-8}, [abs(p), whole(9, 40, 25)]
        yield "poisson_log_loss", "random", {"reduction": reduction}, [3 * normal(40, 25), whole(9, 40, 25)]
        for name in ("mse_loss", "mae_loss", "huber_loss", "hinge_loss", "bce_with_logits_loss", "poisson_log_loss",
                     "poisson_loss"):
            settings = {"reduction": reduction}
            if name in ("huber_loss", "poisson_loss"):
                settings["delta" if name == "huber_loss" else "eps"] = 0.5
            if reduction != "mean":
                yield name, "empty", settings, [numpy.zeros((0, 3)), numpy.zeros((0, 3))]
            if reduction == "none":
                for p in SPECIAL:
                    # Of counts 0.25 and 4, no difference is a small one of large numbers.
                    targets = {"bce": (0.0, 1.0, 0.5, NAN), "poi": (0.0, 0.25, 4.0, NAN)}.get(name[:3], SPECIAL)
                    for t in targets:
                        yield name, f"of {p} and {t}", settings, [numpy.array([p]), numpy.array([t])]
        for smoothing in (0.0, 0.1, 1.0):
            for weighted in (False, True):
                for scale in SCALES if smoothing < 1 else SCALES[1:]:  # 1/11 - softmax of small logits has no digits
                    settings = {"reduction": reduction, "ignore_index": 3, "label_smoothing": smoothing,
                                "class_weights": weighted, "sample_weights": False}
                    inputs = [scale * normal(30, 11), whole(11, 30), *([uniform(0.5, 2, 11)] if weighted else [])]
                    yield "cross_entropy_loss", f"random, {scale}", settings, inputs
    rows = numpy.array([[INF, 0.0, 0.0], [-INF, 0.0, 1.0], [NAN, 0.0, 1.0], [-INF, -INF, -INF], [1e8, -1e8, 0.0]])
    for row in rows:
        for label in (0.0, 1.0):
            for smoothing in (0.0, 0.1):
                settings = {"reduction": "none", "label_smoothing": smoothing}
                yield ("cross_entropy_loss", f"of {row}, label {label}, smoothing {smoothing}", settings,
                       [row.reshape(1, 3), numpy.array([label])])


def refusals():
    """What PyTorch answers with a NaN or an error of its own, and Taper with an Error."""
    none = numpy.zeros((0, 3))
    for name in ("mean", "max", "min", "logsumexp", "var"):
        yield name, "refused: of nothing", {"axes": [0], "keepdim": False}, [none]
    yield "var", "refused: unbiased, of one", {"axes": [0], "keepdim": False}, [numpy.ones((1, 3))]
    yield "batch_moments", "refused: of one row", {}, [numpy.ones((1, 3))]
    for name in ("mse_loss", "bce_with_logits_loss"):
        yield name, "refused: mean of nothing", {"reduction": "mean"}, [none, none]
    yield "clamp", "refused: low above high", {"low": 1.0, "high": 0.0}, [numpy.ones(3)]
    for label in (3.0, -1.0, 0.5, NAN):
        yield "cross_entropy_loss", f"refused: label {label}", {}, [numpy.zeros((1, 3)), numpy.array([label])]
        yield "gather_rows", f"refused: position {label}", {}, [numpy.zeros((3, 2)), numpy.array([label])]
    yield ("cross_entropy_loss", "refused: all ignored", {"ignore_index": 1}, [numpy.zeros((2, 3)), numpy.ones(2)])


def layouts():
    yield "reshape", "random", {"dimensions": [6, -1]}, [normal(3, 4, 5)]
    yield "reshape", "empty", {"dimensions": [0, 8]}, [normal(2, 0, 4)]
    yield "transpose", "random", {"first": 1, "second": 3}, [normal(3, 4, 5, 6)]
    yield "permute", "random", {"order": [2, 0, 3, 1]}, [normal(3, 4, 5, 6)]
    yield "permute", "empty", {"order": [2, 0, 1]}, [normal(3, 0, 5)]
    yield "chunk", "random", {"axis": 1, "part": 2, "parts": 4}, [normal(4, 20, 3)]
    yield "slice", "random", {"axis": 1, "begin": 3, "end": 17}, [normal(4, 20, 3)]
    yield "slice", "nothing", {"axis": 1, "begin": 3, "end": 3}, [normal(4, 20, 3)]
    yield "concat", "random", {"axis": 1}, [normal(4, 3, 2), normal(4, 0, 2), normal(4, 9, 2)]
    yield "concat", "special", {"axis": 0}, [SPECIAL, SPECIAL]


def functions():
    for scale in SCALES:
        x = scale * normal(6, 10, 7)
        for name in ("sum over 0, 2", "mean over 0, 2, kept", "max over 0, 2", "min over -1, 0, kept",
                     "logsumexp over 0, 2", "var over 0, 2", "var over 0, 2, biased, kept", "unsqueeze"):
            yield name, f"random, {scale}", {}, [x]
        yield "group_norm", f"random, {scale}", {}, [scale * normal(5, 12, 4, 3)]
        yield "group_norm", f"random, {scale}", {}, [scale * normal(5, 12)]
    yield "stack", "random", {}, [normal(4, 5), normal(4, 5), normal(4, 5)]
    yield "squeeze", "random", {}, [normal(4, 1, 5)]
    for scale in (1.0, 1e8):  # of values: small ones would have no digits beside a bias
        parameters = [0.3 * normal(36, 12), normal(36), 0.3 * normal(12, 12), normal(12)]
        x, y = normal(4, 9, 12), normal(4, 7, 12)
        yield "self-attention", "random", {}, [x, *parameters]
        yield "self-attention", "random, no rows", {}, [x[0], *parameters]
        yield "self-attention, causal", "random", {}, [x, *parameters]
        yield "attention", f"random, {scale}", {}, [x, y, scale * normal(4, 7, 12), *parameters]
        padding = whole(2, 4, 7)
        padding[:, 3] = 0
        yield "attention, padding", f"random, {scale}", {}, [x, y, scale * y + 1, *parameters, padding]
        yield "attention, mask", f"random, {scale}", {}, [x, y, scale * y + 1, *parameters, normal(9, 7)]
        yield "attention, mask and padding", f"random, {scale}", {}, [x, y, scale * y + 1, *parameters, padding, normal(9, 7)]
        weights = [0.3 * normal(12, 12), 0.3 * normal(12, 5), 0.3 * normal(12, 7), *parameters[1:]]
        yield "attention, kdim and vdim", f"random, {scale}", {}, [x, normal(4, 6, 5), scale * normal(4, 6, 7), *weights]
    for name in ("mse_loss, weighted", "mse_loss, weighted mean", "mae_loss, weighted mean", "huber_loss, weighted sum"):
        yield name, "random", {}, [normal(30, 4), normal(30, 4), uniform(0.5, 2, 30, 1)]
    yield ("bce_with_logits_loss, weight and pos_weight", "random", {},
           [5 * normal(30, 4), uniform(0, 1, 30, 4), uniform(0.5, 2, 30, 1), uniform(0.5, 2, 4)])


def cases():
    for family in (unary, binary, choices, reductions, products, attentions, convolutions, pools, norms, losses, layouts, refusals,
                   functions):
        yield from family()

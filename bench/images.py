#!/usr/bin/env python3
"""The networks of images.cpp by PyTorch, eager, beside Taper's: the same images, start and optimizer, in turns. Both
are run for some steps first, and must come to the same loss. One image through LeNet-5 is also compared with ONNX
Runtime, where it is installed with onnx."""

import argparse
import math
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError:
    print("images.py: this Python has no PyTorch: skipped")
    sys.exit(0)
try:
    import onnx
    import onnxruntime
except ImportError:
    onnx = None

import turns
from training_steps import classes, filled, number


def lenet5(batch_norm):
    layers = []
    for channels, outputs in ((1, 20), (20, 50)):
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers += [nn.Conv2d(channels, outputs, 5), *norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))


class Block(nn.Module):
    def __init__(self, channels, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(channels, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if channels != outputs or stride != 1:
            self.shortcut = nn.Conv2d(channels, outputs, 1, stride=stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        inner = F.relu(self.first_norm(self.first(x)))
        beside = x if self.shortcut is None else self.shortcut_norm(self.shortcut(x))
        return F.relu(self.second_norm(self.second(inner)) + beside)


def residual():
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Block(16, 16, 1),
                         Block(16, 32, 2), Block(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Network:
    def __init__(self, name, title, build, image):
        self.name, self.title, self.image, self.make = name, title, image, build

    def build(self):
        net, k, products = self.make(), 2, 1
        with torch.no_grad():
            for parameter in net.parameters():
                scales = parameter.dim() == 1 and parameter.numel() > 0 and parameter[0] == 1
                if parameter.dim() > 1:
                    products = math.prod(parameter.shape[1:])
                if not scales:
                    parameter.copy_(filled(k, *parameter.shape, scale=products**-0.5))
                k += 1
        return net


networks = [Network("lenet5", "LeNet-5", lambda: lenet5(False), (1, 28, 28)),
            Network("lenet5_batch_norm", "LeNet-5 with batch norm", lambda: lenet5(True), (1, 28, 28)),
            Network("residual", "residual, 3 x 32 x 32", residual, (3, 32, 32))]


class Training:
    def __init__(self, network, how, images=128):
        self.net = network.build()
        self.x, self.y = filled(0, images, *network.image), classes(number(1, images).float())
        self.adam = torch.optim.Adam(self.net.parameters(), lr=1e-3, **how)

    def step(self, x, y):
        self.adam.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.net(x), y)
        loss.backward()
        self.adam.step()
        return loss

    def run(self, count):
        return turns.timed(lambda: self.step(self.x, self.y), count)

    def epochs(self, count):
        start = time.perf_counter()
        for _ in range(count):
            for rows in torch.randperm(len(self.y)).split(128):
                self.step(self.x[rows], self.y[rows])
        return time.perf_counter() - start


class Prediction:
    def __init__(self, network):
        self.net, self.x = network.build().eval(), filled(0, 1, *network.image)

    def run(self, count):
        with torch.inference_mode():
            return turns.timed(lambda: self.net(self.x), count)


class OnnxPrediction:
    """LeNet-5, with weights as they are in PyTorch's, on one thread."""

    def __init__(self, reference):
        helper = onnx.helper
        tensors = {f"w{k}": p.detach().numpy() for k, p in enumerate(reference.net.parameters())}
        nodes = [helper.make_node("Conv", ["x", "w0", "w1"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
                 helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
                 helper.make_node("Conv", ["c", "w2", "w3"], ["d"]), helper.make_node("Relu", ["d"], ["e"]),
                 helper.make_node("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
                 helper.make_node("Flatten", ["f"], ["g"]),
                 helper.make_node("Gemm", ["g", "w4", "w5"], ["h"], transB=1), helper.make_node("Relu", ["h"], ["i"]),
                 helper.make_node("Gemm", ["i", "w6", "w7"], ["y"], transB=1)]
        value = helper.make_tensor_value_info
        graph = helper.make_graph(nodes, "lenet5", [value("x", onnx.TensorProto.FLOAT, [1, 1, 28, 28])],
                                  [value("y", onnx.TensorProto.FLOAT, [1, 10])],
                                  [onnx.numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), settings,
                                                    providers=["CPUExecutionProvider"])
        self.x = {"x": reference.x.numpy()}

    def output(self):
        return self.session.run(None, self.x)[0]

    def run(self, count):
        return turns.timed(lambda: self.session.run(None, self.x), count)


def same(what, mine, theirs):
    if not math.isclose(mine, theirs, rel_tol=1e-3):
        raise SystemExit(f"{what} is {mine} with Taper and {theirs} with PyTorch: expected the same")


def fastest(network):
    """PyTorch has several forms of Adam: the fastest one here counts."""
    forms = ({}, {"foreach": True}, {"fused": True})
    trials = [Training(network, how) for how in forms]
    seconds, _ = turns.race([turns.Contender(t.run, 1) for t in trials], 1, 5e-3)
    return forms[min(range(len(forms)), key=lambda i: seconds[i])]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", default="build/bench/bench/images",
                        help="Taper's measurement (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="for each case (%(default)s)")
    parser.add_argument("--epochs", action="store_true", help="measure epochs of 60,000 images, too")
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # as Taper does

    turns.head(f"Networks for images against PyTorch {torch.__version__}, eager", "case", "PyTorch / Taper",
               "Taper, us", "PyTorch", "products at FMA peak", "Taper, % of it")
    for network in networks:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            case, taper = f"step/{network.name}, {threads}", turns.Child(options.binary)
            reference = Training(network, {})
            for _ in range(10):
                theirs = reference.step(reference.x, reference.y).item()
            same("the loss after 10 steps", taper.ask(case, 10).result, theirs)
            best = Training(network, fastest(network))
            contenders = [taper.contender(case), turns.Contender(best.run, 1),
                          taper.contender(f"{case}/products at FMA peak")]
            seconds, ratios = turns.race(contenders, options.seconds, 20e-3)
            taper.close()
            turns.row(f"{network.title}, training step, batch 128, {threads} thread{'s' * (threads > 1)}",
                      f"**{ratios[1]:.2f}**", *(1e6 * s for s in seconds), 100 * ratios[2])
    for network in networks:
        torch.set_num_threads(1)
        case, taper, reference = f"predict/{network.name}, 1", turns.Child(options.binary), Prediction(network)
        same("the output", taper.ask(case, 1).result, reference.net(reference.x)[0, 0].item())
        contenders = [taper.contender(case), turns.Contender(reference.run, 1),
                      taper.contender(f"{case}/products at FMA peak")]
        if onnx is not None and network.name == "lenet5":
            other = OnnxPrediction(reference)
            same("the output of ONNX Runtime", other.output()[0, 0], reference.net(reference.x)[0, 0].item())
            contenders.append(turns.Contender(other.run, 1))
        seconds, ratios = turns.race(contenders, options.seconds, 5e-3)
        taper.close()
        turns.row(f"{network.title}, one image, 1 thread", f"**{ratios[1]:.2f}**", *(1e6 * s for s in seconds[:3]),
                  100 * ratios[2])
        if len(contenders) > 3:
            turns.row(f"the same, ONNX Runtime {onnxruntime.__version__} in place of PyTorch", f"**{ratios[3]:.2f}**",
                      1e6 * seconds[0], 1e6 * seconds[3], 1e6 * seconds[2], 100 * ratios[2])
    for network in networks[:1] if options.epochs else []:
        torch.set_num_threads(2)
        taper = turns.Child(options.binary)
        reference = Training(network, fastest(network), 60000)
        mine, theirs = [], []
        for _ in range(3):
            mine.append(taper.ask(f"epoch/{network.name}, 2", 1).seconds)
            theirs.append(reference.epochs(1))
        taper.close()
        ratio = sorted(b / a for a, b in zip(mine, theirs))[1]
        turns.row(f"{network.title}, an epoch of 60,000 images, 2 threads", f"**{ratio:.2f}**", 1e6 * sorted(mine)[1],
                  1e6 * sorted(theirs)[1], "", "")
    print()


if __name__ == "__main__":
    main()

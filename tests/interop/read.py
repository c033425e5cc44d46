"""Reads files that taper has written with the safetensors package and with PyTorch: read.py PROGRAM FOLDER.

PROGRAM writes them into FOLDER, with what should be in them. Ends with status 77, "skipped", where there is no
safetensors package; PyTorch is looked at where it is installed.
"""

import json
import os
import subprocess
import sys

try:
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import load_file
except ImportError as error:
    print(f"skipped: {error} (pip install safetensors numpy)")
    sys.exit(77)

program, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
subprocess.run([program, folder], check=True)
with open(f"{folder}/expected.json", encoding="utf-8") as file:
    expected = json.load(file)


def path(name):
    return f"{folder}/{name}.safetensors"


def array(described):
    return numpy.frombuffer(bytes.fromhex(described["bytes"]), described["dtype"]).reshape(described["shape"])


def check(name, tensors):
    """The tensors, as NumPy has them, are those that were saved, to the bit."""
    assert sorted(tensors) == sorted(expected[name]), (name, sorted(tensors))
    for key, described in expected[name].items():
        found = tensors[key]
        assert str(found.dtype) == described["dtype"], (name, key, found.dtype)
        assert list(found.shape) == described["shape"], (name, key, found.shape)
        assert found.tobytes().hex() == described["bytes"], (name, key, found)


for name in ("net", "sorts", "numbers"):
    check(name, load_file(path(name)))
    with safe_open(path(name), "numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "taper", metadata
    assert ("taper.model" in metadata) == (name != "numbers"), metadata
    if name == "net":
        assert metadata["note"] == 'with "quotes"', metadata
    if name != "numbers":
        assert json.loads(metadata["taper.model"])["version"] == 1
print("safetensors: the same names, shapes and bits")

try:
    import torch
    from safetensors.torch import load_file as load_torch
except ImportError as error:
    print(f"without PyTorch: {error}")
    sys.exit(0)

for name in ("net", "sorts", "numbers"):
    check(name, {key: tensor.numpy() for key, tensor in load_torch(path(name)).items()})
# A state dict as PyTorch has it: names, and weights with a row for each output.
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LeakyReLU(0.25), torch.nn.Linear(4, 2))
state = load_torch(path("net"))
net.load_state_dict({key: tensor for key, tensor in state.items() if not key.endswith(".mask")})
with torch.no_grad():
    y = net(torch.from_numpy(array(expected["x"]).copy())).numpy()
assert numpy.abs(y - array(expected["y"])).max() < 1e-6, y
print("PyTorch: the same, and its layers compute the same with it")

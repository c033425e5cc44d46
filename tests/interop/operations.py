"""Compares values and gradients of all operations with PyTorch's: operations.py PROGRAM FOLDER.

PROGRAM computes, in FOLDER, the examples of the registry and those of operation_cases.py, in double and in float;
torch_operations.py has the counterpart of each operation. A difference is relative to the largest entry of its tensor,
and what is infinite or NaN must be so in both. Ends with status 77, "skipped", where there is no PyTorch.
"""

import json
import os
import subprocess
import sys
import warnings

try:
    import numpy
    import torch
except ImportError as error:
    print(f"skipped: {error} (pip install torch numpy)")
    sys.exit(77)

sys.dont_write_bytecode = True  # of the files beside this one
from known_differences import known_difference
from operation_cases import cases
from torch_operations import COUNTERPARTS, WITHOUT

BOUNDS = {"float64": 1e-10, "float32": 2e-4}

program, folder = sys.argv[1:]


def write_cases():
    listed, numbers = [], []
    at = 0
    for operation, label, settings, inputs in cases():
        described = []
        for x in inputs:
            described.append({"shape": list(numpy.shape(x)), "at": at})
            numbers.append(numpy.ascontiguousarray(x, "<f8").tobytes())
            at += numpy.size(x)
        listed.append({"operation": operation, "label": label, "settings": settings, "inputs": described})
    with open(f"{folder}/cases.json", "w", encoding="utf-8") as file:
        json.dump(listed, file)
    with open(f"{folder}/cases.bin", "wb") as file:
        file.write(b"".join(numbers))


class Answers:
    def __init__(self):
        with open(f"{folder}/answers.json", encoding="utf-8") as file:
            self.list = json.load(file)
        self.numbers = numpy.fromfile(f"{folder}/answers.bin", "<f8")

    def tensor(self, described, dtype):
        shape = described["shape"]
        size = int(numpy.prod(shape, dtype=int))
        part = self.numbers[described["at"]:described["at"] + size].reshape(shape)
        return torch.from_numpy(part.copy()).to(getattr(torch, dtype))


def difference(ours, theirs):
    """Relative to the largest finite entry; infinite where shapes, infinities or NaN are not the same."""
    if ours.shape != theirs.shape:
        return float("inf")
    ours, theirs = ours.double(), theirs.double()
    finite = torch.isfinite(theirs)
    if not torch.equal(torch.isfinite(ours), finite):
        return float("inf")
    if not torch.equal(ours[~finite].nan_to_num(7), theirs[~finite].nan_to_num(7)):
        return float("inf")
    if not finite.any():
        return 0.0
    largest = theirs[finite].abs().max().item()
    apart = (ours[finite] - theirs[finite]).abs().max().item()
    return apart if largest == 0 else apart / largest


def compare(answers, answer):
    """How far apart the values are, and the gradients; what differs, and the values of both."""
    dtype = answer["dtype"]
    needs = ["gradients" in answer and answer["gradients"][k] is not None for k in range(len(answer["inputs"]))]
    inputs = [answers.tensor(x, dtype).requires_grad_(need) for x, need in zip(answer["inputs"], needs)]
    y = COUNTERPARTS[answer["operation"]](inputs, answer["settings"])
    pairs = {"value": (answers.tensor(answer["output"], dtype), y.detach())}
    if any(needs):
        free = [x for x, need in zip(inputs, needs) if need]
        found = iter(torch.autograd.grad(y, free, answers.tensor(answer["weights"], dtype), materialize_grads=True))
        for k, need in enumerate(needs):
            if need:
                pairs[f"gradient {k}"] = (answers.tensor(answer["gradients"][k], dtype), next(found))
    return inputs, {what: (difference(*pair), *pair) for what, pair in pairs.items()}


def rounding(answers, answer, what, ours):
    """Whether it is PyTorch's float that is off: Taper's agrees with PyTorch's double, of the same numbers."""
    if answer["dtype"] != "float32":
        return None
    _, exact = compare(answers, answer | {"dtype": "float64"})
    if difference(ours, exact[what][2]) > BOUNDS["float32"]:
        return None
    return "rounding of PyTorch's float, Taper's agrees with PyTorch's double"


def defaults(answer):
    """Settings that a case leaves out are the operation's; the counterpart reads them."""
    if answer["operation"] == "cross_entropy_loss":
        answer["settings"] = {"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0,
                              "class_weights": False, "sample_weights": False} | answer["settings"]


def short(tensor):
    return numpy.array2string(tensor.detach().numpy().reshape(-1)[:6], precision=9)


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.makedirs(folder, exist_ok=True)
    write_cases()
    subprocess.run([program, folder], check=True)
    answers = Answers()
    table, faults, known = {}, [], {}
    for answer in answers.list:
        operation, dtype = answer["operation"], answer["dtype"]
        row = table.setdefault(operation, {"cases": 0, "float64": [0.0, 0.0], "float32": [0.0, 0.0]})
        row["cases"] += dtype == "float64"
        here = f"{operation} {answer['label']} {answer['settings']} {dtype}"
        if operation in WITHOUT:
            continue
        if operation not in COUNTERPARTS:
            faults.append(f"{operation}: no counterpart in torch_operations.py")
            continue
        if answer["label"].startswith("refused") != ("refused" in answer):
            faults.append(f"{here}: {answer.get('refused', 'expected an Error')}")
        if "refused" in answer:
            continue
        defaults(answer)
        inputs, compared = compare(answers, answer)
        for what, (apart, ours, theirs) in compared.items():
            place = 0 if what == "value" else 1
            if apart <= BOUNDS[dtype]:
                row[dtype][place] = max(row[dtype][place], apart)
                continue
            reason = known_difference(answer, what, inputs, ours, theirs) or rounding(answers, answer, what, ours)
            if reason:
                known.setdefault(f"{operation}: {reason}", []).append(here)
            else:
                faults.append(f"{here}\n  {what} apart by {apart:.2g}: {short(ours)}, PyTorch {short(theirs)}")
    report(table, known)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} differences beyond {BOUNDS}")
    sys.exit(1 if faults else 0)


def report(table, known):
    print(f"PyTorch {torch.__version__}; the largest differences, relative to the largest entry of a tensor\n")
    print(f"{'operation':44} cases  double: value gradient  float: value gradient")
    for operation, row in table.items():
        if operation in WITHOUT:
            print(f"{operation:44} {row['cases']:5}  not compared, {WITHOUT[operation]}")
            continue
        numbers = "  ".join(f"{number:8.1e}" for dtype in ("float64", "float32") for number in row[dtype])
        print(f"{operation:44} {row['cases']:5}      {numbers}")
    for name, bound in BOUNDS.items():
        worst = max(max(row[name]) for row in table.values())
        print(f"the largest in {name}: {worst:.1e} of {bound:.0e}")
    if known:
        print("\nKnown differences:")
    for what, where in known.items():
        print(f"  {what} ({len(where)} times)")


main()

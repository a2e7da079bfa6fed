"""Wrong gradients that are found out, and right ones that are called wrong: 100 of each on the committed nets, 100 of each on smooth ones.

python -m tests.benchmarks.bench_gradients [COUNT]    about 15 minutes on two cores

Of the committed nets, which have kinks, one layer's gradient is multiplied by 1.01; of smooth ones by 1.0001, or that of one filter by 1.01, where
that changes the gradient by more than rounding.
"""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony import bundle
from hemony.lens import subjects, taylor
from hemony.lens.taylor import Point, Subject, Verdict
from hemony.models.lenet5 import LeNet5
from tests.benchmarks.measure import machine

COMMITTED = ("digits", "fsdd", "cifar10", "bell_types")


def committed(seed: int) -> Subject:
    (trial,) = subjects.of_recogniser(bundle.load(Path("checkpoints") / COMMITTED[seed % len(COMMITTED)]), None, seed)
    return taylor.subject(trial.module, trial.inputs, trial.loss)


def smooth(seed: int) -> Subject:
    torch.manual_seed(seed)
    labels = torch.arange(6) % 4
    module: nn.Module = LeNet5(1, 10)
    inputs = torch.randn(6, 1, 32, 32)
    if seed % 2:
        module = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
        inputs = torch.randn(6, 12)
    return taylor.subject(module, (inputs,), lambda logits: functional.cross_entropy(logits, labels))


def corrupted(subject: Subject, gradient: Point, keys: list[str], seed: int, draw: torch.Generator) -> dict[str, Tensor]:
    if not subject.smooth:
        return {key: gradient[key] * 1.01 for key in keys}
    if seed % 4 < 2:
        return {key: gradient[key] * 1.0001 for key in keys}
    one = gradient[keys[0]].clone()
    one[int(torch.randint(len(one), (1,), generator=draw))] *= 1.01
    return {keys[0]: one}


def main(count: int) -> None:
    print(f"gradients right and wrong, {machine()}")
    for title, make in (("smooth nets", smooth), (", ".join(COMMITTED), committed)):
        started = time.perf_counter()
        false, missed = [], []
        for seed in range(count):
            subject, draw = make(seed), torch.Generator().manual_seed(seed)
            gradient = subject.gradient
            names = [name for name, keys in subject.layers.items() if any(gradient[key].norm() > 1e-9 for key in keys)]
            name = names[int(torch.randint(len(names), (1,), generator=draw))]
            layer = {name: subject.layers[name]}
            wrong = {**gradient, **corrupted(subject, gradient, layer[name], seed, draw)}
            for given, expected, others in ((gradient, Verdict.right, false), (wrong, Verdict.wrong, missed)):
                (check,) = taylor.check(subject.function, subject.point, given, layer, subject.smooth, seed)
                if check.verdict is not expected:
                    others.append(f"seed {seed}, {name}: order {check.order}, relative error {check.relative_error:.1e}")
        print(
            f"  {title}: {count - len(missed)} of {count} wrong gradients found, {len(false)} of {count} right ones called wrong, "
            f"{time.perf_counter() - started:.0f} s",
            *false,
            *missed,
            sep="\n    ",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)

"""CIFAR-10 on the CPU: both recipes, three seeds, beside torchvision's ResNet-18 in the same time on the same machine.

python -m tests.benchmarks.bench_cifar10 [FOLDER] [RECIPE ...]    about two hours on two cores; a stopped one goes on where it was

Training time is that of all optimiser steps, with augmentation, whitening and averaging, without decoding and the final test; a
stopped run adds up its pieces. `x loop` is that time in units of a plain loop of convolutions that runs before and after: 10^12
operations of it.
"""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from hemony import domains, durable, hardware
from hemony.config import CIFAR10Config, Fit, Precision
from hemony.datasets.parts import Data, build
from hemony.datasets.resident import PlainBatches
from hemony.preprocessing import ImageView, Normalise, channel_statistics
from tests.benchmarks.measure import CPU, convolution_gflops, data_folder, machine, spread, trained

RECIPES = ("cifar10_fast", "cifar10")
SEEDS = 3


def cifar() -> Data:
    config = CIFAR10Config(validation_share=0.0)
    return build(domains.find(config), config, ImageView(3, 32, Fit.stretch))


def cropped_and_flipped(batch: Tensor) -> Tensor:
    """The plain recipe's augmentation: four pixels of zeros around, a random crop, a flip of every second image."""
    count = len(batch)
    padded = nn.functional.pad(batch, (4, 4, 4, 4))
    rows, columns = torch.randint(9, (2, count, 1)) + torch.arange(32)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def resnet18_accuracy(data: Data, budget_s: float, seed: int = 0) -> tuple[float, float]:
    """(accuracy, epochs) of torchvision's ResNet-18 with a 3x3 stem after `budget_s` seconds of a plain loop.

    SGD with Nesterov momentum 0.9, weight decay 5e-4, batches of 128, a learning rate of 0.1 that rises over the first fifth of the
    time and falls to zero; bf16 and channels last as in our own runs; answers by the mean over an image and its mirror image.
    """
    torch.manual_seed(seed)
    net = models.resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    net = nn.Sequential(Normalise(*channel_statistics(data.train.batch(torch.arange(len(data.train))))), net).to(
        memory_format=torch.channels_last
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    bf16 = hardware.use_bf16(Precision.auto, CPU)
    started, seen, share = time.monotonic(), 0, 0.0
    while share < 1:
        for chosen in torch.randperm(len(data.train)).split(128):
            optimizer.param_groups[0]["lr"] = 0.1 * min(share / 0.2, (1 - share) / 0.8)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = net(cropped_and_flipped(data.train.batch(chosen)))
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits.float(), data.train.labels[chosen]).backward()
            optimizer.step()
            seen += len(chosen)
            share = (time.monotonic() - started) / budget_s
            if share >= 1:
                break
    net.eval()
    right = 0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch, labels in PlainBatches(data.test, 500, CPU):
            right += int(((net(batch) + net(batch.flip(-1))).argmax(dim=1) == labels).sum())
    return right / len(data.test), seen / len(data.train)


def timed_runs(folder: Path, recipe: str) -> list[dict[str, Any]]:
    """Metrics of every seed's run, with `loop_gflops`, the speed of the plain loop before and after it."""
    rows = []
    for seed in range(SEEDS):
        place = folder / f"{recipe}-{seed}"
        record = place / "run" / "loop.json"
        before = convolution_gflops()
        metrics = trained(place, f"experiment={recipe}", f"seed={seed}", "trainer=cpu")
        if not record.exists():
            durable.write_json(record, (before + convolution_gflops()) / 2)
        rows.append({**metrics, "loop_gflops": durable.read_json(record)})
        units = rows[-1]["train_time_s"] * rows[-1]["loop_gflops"] / 1000
        print(
            f"{recipe} seed {seed}: {metrics['accuracy']:.4f} after {metrics['train_time_s']:.0f} s, {rows[-1]['loop_gflops']:.0f} GFLOP/s in the "
            f"plain loop: {units:.0f} x loop",
            flush=True,
        )
    return rows


def main(folder: Path, recipes: tuple[str, ...]) -> None:
    data_folder("cifar10")
    for recipe in recipes:
        rows = timed_runs(folder, recipe)
        seconds = [row["train_time_s"] for row in rows]
        budget = max(seconds)
        record = folder / f"resnet18-{recipe}.json"
        if not record.exists():
            accuracy, epochs = resnet18_accuracy(cifar(), budget)
            durable.write_json(record, {"accuracy": accuracy, "epochs": epochs, "seconds": budget})
        other = durable.read_json(record)
        print(f"{recipe}: CIFAR-10 test, flip averaging, {rows[0]['parameters']:,} parameters, {machine()}")
        print(f"  hemony    {spread([row['accuracy'] for row in rows])}, calibration error {spread([row['ece'] for row in rows])}")
        print(
            f"  training  {spread(seconds, 0)} s, {spread([row['train_time_s'] * row['loop_gflops'] / 1000 for row in rows], 0)} x loop"
        )
        print(
            f"  ResNet-18 {other['accuracy']:.4f} after {other['seconds']:.0f} s, {other['epochs']:.1f} epochs (torchvision, CIFAR stem)"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/bench-cifar10"), tuple(sys.argv[2:]) or RECIPES)

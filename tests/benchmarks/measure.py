"""What every benchmark needs: the command, the machine's speed at the moment, means with their spread, the line of the record."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hemony import hardware
from hemony.config import Precision

CPU = torch.device("cpu")


def hemony(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, its progress on our stderr. Raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "hemony", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)


def trained(folder: Path, *overrides: object) -> dict[str, Any]:
    """The metrics of a run in `folder`: trained now, gone on with where it was stopped, or read where it is finished."""
    if not (folder / "run" / "metrics.json").exists():
        hemony("train", *([f"resume={folder}"] if (folder / "run" / "config.json").exists() else [*overrides, f"output={folder}"]))
    metrics: dict[str, Any] = json.loads((folder / "run" / "metrics.json").read_text())
    return metrics


def convolution_gflops(seconds: float = 3.0) -> float:
    """What a plain loop of convolutions, forward and backward, does on this machine now: 10^9 operations a second.

    256 to 256 channels, 8 x 8 pixels, 256 images, in the precision that training uses. Training is mostly this: where a machine
    has a slow hour, a time times this figure stays the same.
    """
    precision = torch.bfloat16 if hardware.use_bf16(Precision.auto, CPU) else torch.float32
    layer = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(precision).to(memory_format=torch.channels_last)
    images = torch.randn(256, 256, 8, 8).to(precision).contiguous(memory_format=torch.channels_last).requires_grad_()
    operations = 3 * 2 * 256 * 64 * 256 * 256 * 9
    layer(images).sum().backward()
    rounds, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        layer(images).sum().backward()
        rounds += 1
    return rounds * operations / (time.perf_counter() - started) / 1e9


def elapsed_s(work: Callable[[], object]) -> float:
    """The time of a piece of work, seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(values: list[float], digits: int = 4) -> str:
    """Mean, standard deviation and number of runs: `0.9412 (sd 0.0011, n 3)`."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} (sd {deviation:.{digits}f}, n {len(values)})"


def machine() -> str:
    """The line beside every figure."""
    facts = hardware.describe(CPU)
    return f"{facts['processor']}, {facts['threads']} threads, torch {torch.__version__}, Python {platform.python_version()}"


def data_folder(name: str) -> Path:
    """A real data set under `$HEMONY_DATA`, else under `data/`; exits with a line where it is not there."""
    folder = Path(os.environ.get("HEMONY_DATA", "data")) / name
    if not folder.is_dir():
        sys.exit(f"this benchmark needs {name} in {folder} (set HEMONY_DATA)")
    return folder

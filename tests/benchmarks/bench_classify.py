"""`hemony classify`: what a single image costs beside importing torch, and a folder of 10,000 beside its parts.

python -m tests.benchmarks.bench_classify [BUNDLE]    about 3 minutes on two cores; needs CIFAR-10's test images
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from hemony import bundle, hardware
from hemony.config import Precision
from hemony.inference import predict_logits
from hemony.media.image import find_images
from tests.benchmarks.measure import CPU, data_folder, elapsed_s, machine

BATCH = 256


def process_s(*command: object) -> Callable[[], object]:
    return lambda: subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def single_image(folder: Path, image: Path) -> None:
    """A new process for one image, and one that only imports torch, in turn."""
    ours = process_s(sys.executable, "-m", "hemony", "classify", folder, image)
    torch_alone = process_s(sys.executable, "-c", "import torch")
    ours(), torch_alone()
    pairs = [(elapsed_s(ours), elapsed_s(torch_alone)) for _ in range(9)]
    classify, baseline = (sorted(times)[len(times) // 2] for times in zip(*pairs, strict=True))
    above = sorted(mine - base for mine, base in pairs)[len(pairs) // 2]
    print(
        f"one image in a new process: {classify:.2f} s; `import torch` {baseline:.2f} s; above it {above:.2f} s (medians of {len(pairs)} pairs)"
    )


def many_images(folder: Path, root: Path) -> None:
    """A whole folder end to end, beside decoding alone, the network alone, and a loop that one would write with torchvision."""
    loaded = bundle.load(folder)
    bf16 = hardware.use_bf16(Precision.auto, CPU)
    paths, _ = find_images(root)

    def decode_all() -> list[torch.Tensor]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(loaded.preprocessing.read, paths))

    images = torch.stack(decode_all())
    dataset = datasets.ImageFolder(str(root), transforms.PILToTensor())
    ours = process_s(sys.executable, "-m", "hemony", "classify", folder, root, "--format", "jsonl", "--batch-size", BATCH)

    def plain_loop() -> torch.Tensor:
        loader = DataLoader(dataset, BATCH, num_workers=os.cpu_count() or 1)
        return predict_logits(loaded.recogniser, (batch for batch, _ in loader), CPU, bf16)

    rows = []
    for _ in range(3):
        rows.append(
            (
                elapsed_s(ours),
                elapsed_s(decode_all),
                elapsed_s(lambda: predict_logits(loaded.recogniser, images.split(BATCH), CPU, bf16)),
                elapsed_s(plain_loop),
            )
        )
        time.sleep(1)
    whole, decoding, network, plain = (sorted(times)[1] for times in zip(*rows, strict=True))
    ratio = sorted(row[0] / (row[1] + row[2]) for row in rows)[1]
    print(f"{len(paths):,} images: `hemony classify` {whole:.1f} s with its start, {len(paths) / whole:.0f} a second")
    print(
        f"  decoding alone {decoding:.1f} s, network alone {network:.1f} s: ratio to their sum {ratio:.2f} (median of {len(rows)})"
    )
    print(f"  torchvision ImageFolder and DataLoader, the same network, without its start: {plain:.1f} s")


def main(folder: Path) -> None:
    root = data_folder("cifar10") / "test"
    print(f"classify {folder}, {machine()}")
    single_image(folder, find_images(root)[0][0])
    many_images(folder, root)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/cifar10"))

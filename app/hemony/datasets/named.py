"""Data sets known by name: the embedded digits, and CIFAR and MNIST from a folder, from torchvision's layout, or downloaded."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from hemony.config import DataConfig
from hemony.datasets.collection import TEST, TRAIN, UNASSIGNED, Collection, Indices, Pixels
from hemony.datasets.folder import scan_folder
from hemony.errors import InputError

TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
DIGIT_NAMES = [str(digit) for digit in range(10)]


def from_arrays(images: Pixels, labels: Indices, given: Indices, class_names: list[str], root: str) -> Collection:
    """A collection of equal-sized images in memory: uint8 (N, H, W) or (N, H, W, C)."""
    images = images[..., None] if images.ndim == 3 else images
    count, height, width, channels = images.shape

    def read(index: int, wanted: int, least_size_px: int | None) -> Pixels:
        image: Pixels = images[index]
        if wanted == channels:
            return image
        if wanted == 3:
            return np.repeat(image, 3, axis=2)
        weights = np.array([299, 587, 114])  # ITU-R BT.601 luma, as Pillow converts
        grey: Pixels = (((image.astype(np.int64) * weights).sum(axis=2, keepdims=True) + 500) // 1000).astype(np.uint8)
        return grey

    digests = [int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "little") for image in images]
    return Collection(
        class_names=class_names,
        names=[f"{index:05d}" for index in range(count)],
        labels=labels.astype(np.int64),
        digests=np.array(digests, dtype=np.uint64),
        given=given.astype(np.int64),
        sizes=np.tile([[height, width]], (count, 1)),
        colour=np.full(count, channels == 3),
        read=read,
        root=root,
        cacheable=False,
    )


def digits() -> Collection:
    """The 1,797 scans of scikit-learn (Alpaydin and Kaynak 1998), 8x8, 17 grey levels spread over 0 to 255."""
    from sklearn.datasets import load_digits

    scans: Any = load_digits()
    images = np.rint(scans.images * (255 / 16)).astype(np.uint8)
    return from_arrays(images, scans.target, np.full(len(images), UNASSIGNED), DIGIT_NAMES, "scikit-learn")


def data_root(config: DataConfig) -> Path:
    """`data.root`, else `$HEMONY_DATA/KIND` where that is set, else `data/KIND`."""
    if config.root:
        return Path(config.root)
    base = os.environ.get("HEMONY_DATA")
    return (Path(base).expanduser() if base else Path("data")) / config.kind


def named(config: DataConfig) -> Collection:
    """CIFAR or MNIST: `{train,test}/CLASS/*.png` under the root, else torchvision's own files there, else a download into it."""
    root = data_root(config)
    if (root / "train").is_dir() and (root / "test").is_dir():
        return scan_folder(root)
    parts = [_torchvision_part(config.kind, root, train) for train in (True, False)]
    images = np.concatenate([np.asarray(part.data) for part in parts])
    labels = np.concatenate([np.asarray(part.targets) for part in parts])
    given = np.concatenate([np.full(len(part), code) for part, code in zip(parts, (TRAIN, TEST), strict=True)])
    names = DIGIT_NAMES if config.kind == "mnist" else [str(name) for name in parts[0].classes]
    return from_arrays(images, labels, given, names, str(root))


def _torchvision_part(kind: str, root: Path, train: bool) -> Any:
    """torchvision's data set: checked against its checksums, downloaded when it is not there."""
    import contextlib
    import sys

    from torchvision import datasets

    source = getattr(datasets, TORCHVISION[kind])
    with contextlib.redirect_stdout(sys.stderr):  # torchvision prints its progress to stdout
        with contextlib.suppress(RuntimeError):
            return source(root, train=train, download=False)
        try:
            root.mkdir(parents=True, exist_ok=True)
            return source(root, train=train, download=True)
        except Exception as error:  # urllib, socket, tarfile and checksum errors alike: the remedy is the same
            with contextlib.suppress(OSError):
                root.rmdir()  # only an empty folder goes
            raise InputError(
                f"{kind} is not in {root} and cannot be downloaded ({' '.join(str(error).split())[:120]}): put "
                f"train/CLASS/*.png and test/CLASS/*.png, or torchvision's files, into that folder or name another with data.root="
            ) from None

"""Finding images: class folders, and the sets that are known by name."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hemony.config import ImageDataConfig
from hemony.datasets.collection import TEST, TRAIN, UNASSIGNED, ImageCollection, Indices, Pixels, digest_of
from hemony.datasets.folder import classed_files, data_root, file_facts, or_told_where
from hemony.errors import UsageError
from hemony.media import image

TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
DIGIT_NAMES = [str(digit) for digit in range(10)]


def find(config: ImageDataConfig) -> ImageCollection:
    """The collection that a config names, before anything is decoded."""
    if config.kind == "digits":
        return digits()
    if config.kind == "image_folder":
        if not config.root:
            raise UsageError("data=image_folder needs data.root=FOLDER, a folder that holds one of pictures for each class")
        return scan_folder(Path(config.root))
    return named(config)


def scan_folder(root: Path) -> ImageCollection:
    """All pictures under `root` with their classes, digests and sizes. Raises InputError for a layout that is not one of classes."""
    files = classed_files(root, "picture", image.find_images)
    facts = file_facts(root, files.paths, "image", probe)
    headers = np.array([fact.header or (0, 0, 0) for fact in facts])

    def read(index: int, channels: int, least_size_px: int | None) -> Pixels:
        return image.read_image(files.paths[index], channels, least_size_px)

    collection = ImageCollection(
        class_names=files.class_names,
        names=[path.relative_to(root).as_posix() for path in files.paths],
        labels=np.array(files.labels),
        digests=np.array([fact.digest for fact in facts], dtype=np.uint64),
        given=np.array(files.parts),
        sizes=headers[:, :2],
        colour=headers[:, 2] > 0,
        read=read,
        root=str(root),
    ).readable([fact.error for fact in facts])
    collection.notes += files.left_out_notes("images")
    return collection


def probe(path: Path) -> tuple[int, ...]:
    """Height and width in pixels, and 1 for a colour image."""
    header = image.probe_image(path)
    return header.height, header.width, int(header.colour)


def from_arrays(images: Pixels, labels: Indices, given: Indices, class_names: list[str], root: str) -> ImageCollection:
    """A collection of equal-sized images in memory: uint8 (N, H, W) or (N, H, W, C)."""
    images = images[..., None] if images.ndim == 3 else images
    count, height, width, channels = images.shape

    def read(index: int, wanted: int, least_size_px: int | None) -> Pixels:
        pixels: Pixels = images[index]
        if wanted == channels:
            return pixels
        if wanted == 3:
            return np.repeat(pixels, 3, axis=2)
        weights = np.array([299, 587, 114])  # ITU-R BT.601 luma, as Pillow converts
        grey: Pixels = (((pixels.astype(np.int64) * weights).sum(axis=2, keepdims=True) + 500) // 1000).astype(np.uint8)
        return grey

    return ImageCollection(
        class_names=class_names,
        names=[f"{index:05d}" for index in range(count)],
        labels=labels.astype(np.int64),
        digests=np.array([digest_of(pixels.tobytes()) for pixels in images], dtype=np.uint64),
        given=given.astype(np.int64),
        sizes=np.tile([[height, width]], (count, 1)),
        colour=np.full(count, channels == 3),
        read=read,
        root=root,
        cacheable=False,
    )


def digits() -> ImageCollection:
    """The 1,797 scans of scikit-learn (Alpaydin and Kaynak 1998), 8x8, 17 grey levels spread over 0 to 255."""
    from sklearn.datasets import load_digits

    scans: Any = load_digits()
    images = np.rint(scans.images * (255 / 16)).astype(np.uint8)
    return from_arrays(images, scans.target, np.full(len(images), UNASSIGNED), DIGIT_NAMES, "scikit-learn")


def named(config: ImageDataConfig) -> ImageCollection:
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
    from torchvision import datasets

    source = getattr(datasets, TORCHVISION[kind])
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(RuntimeError):  # torchvision prints to stdout
        return source(root, train=train, download=False)
    with or_told_where(
        kind, root, "put train/CLASS/*.png and test/CLASS/*.png, or torchvision's files, into that folder or name another"
    ):
        root.mkdir(parents=True, exist_ok=True)
        return source(root, train=train, download=True)

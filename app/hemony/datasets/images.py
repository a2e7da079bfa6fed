"""Image data sets, from the config to what a training or an evaluation reads."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hemony.config import DataConfig, Fit
from hemony.datasets.cache import decode
from hemony.datasets.collection import PARTS, Collection, Indices, check_readable
from hemony.datasets.folder import scan_folder
from hemony.datasets.named import digits, named
from hemony.datasets.split import assign_parts, duplicate_notes
from hemony.errors import UsageError
from hemony.preprocessing import Resize


@dataclass
class ImagePart:
    """N images of one part. Resident ones are in `pixels`, uint8 (N, C, S, S); streamed ones are decoded as they are asked for."""

    collection: Collection  # of these N images alone
    channels: int
    resize: Resize
    pixels: Tensor | None

    def __len__(self) -> int:
        return len(self.collection)

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return torch.from_numpy(self.collection.labels)

    def batch(self, positions: Tensor | list[int]) -> Tensor:
        """The images at these positions, uint8 (B, C, S, S)."""
        positions = torch.as_tensor(positions)
        if self.pixels is not None:
            return self.pixels[positions]
        return torch.stack([self.resize(torch.from_numpy(self.collection.read(int(i), self.channels))) for i in positions])


@dataclass
class ImageData:
    """A data set decoded at the network's size, in its three parts (validation may be empty)."""

    class_names: list[str]
    channels: int
    size_px: int
    fit: Fit
    train: ImagePart
    validation: ImagePart
    test: ImagePart
    notes: list[str] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, ImagePart]:
        return dict(zip(PARTS, (self.train, self.validation, self.test), strict=True))

    def summary(self) -> dict[str, Any]:
        """Images by part and class, and what was noticed; JSON-able."""
        splits = {}
        for name, part in self.parts.items():
            counts = np.bincount(part.collection.labels, minlength=len(self.class_names))
            splits[name] = dict(zip(self.class_names, counts.tolist(), strict=True))
        return {"splits": splits, "warnings": list(self.notes)}


def find(config: DataConfig) -> Collection:
    """The collection that a config names, before anything is decoded."""
    if config.kind == "digits":
        return digits()
    if config.kind == "image_folder":
        if not config.root:
            raise UsageError("data=image_folder needs data.root=FOLDER, a folder that holds one of pictures for each class")
        return scan_folder(Path(config.root))
    return named(config)


def decode_collection(
    collection: Collection, config: DataConfig, channels: int, size_px: int, fit: Fit
) -> tuple[Collection, Tensor | None]:
    """The readable images, and their pixels, uint8 (N, channels, size_px, size_px), or None where they are to be streamed."""
    total = len(collection) + len(collection.unreadable)
    resident = len(collection) * channels * size_px**2 <= config.memory_budget_gib * 2**30
    pixels, errors = decode(collection, channels, size_px, fit, keep=resident)
    readable = np.array([not error for error in errors])
    collection.unreadable += [error for error in errors if error]
    check_readable(collection, total, config.max_unreadable_share)
    if not resident:
        collection.notes.append(
            f"{len(collection):,} images of {size_px} pixels pass data.memory_budget_gib={config.memory_budget_gib:g}: "
            f"they are streamed through workers"
        )
    if not readable.all():
        pixels = pixels[torch.from_numpy(readable)] if pixels is not None else None
        collection = collection.keep(readable)
    return collection, pixels


def build(collection: Collection, config: DataConfig, channels: int, size_px: int, fit: Fit) -> ImageData:
    """Decode a collection and part it. Raises InputError for one that cannot be parted."""
    collection, pixels = decode_collection(collection, config, channels, size_px, fit)
    parts = assign_parts(collection, config)
    notes = [*collection.notes, *duplicate_notes(collection, parts), *imbalance_notes(collection)]
    resize = Resize(size_px, fit)

    def part_of(code: int) -> ImagePart:
        return select(collection, pixels, parts == code, channels, resize)

    train, validation, test = (part_of(code) for code in range(len(PARTS)))
    return ImageData(collection.class_names, channels, size_px, fit, train, validation, test, notes)


def select(collection: Collection, pixels: Tensor | None, mask: Any, channels: int, resize: Resize) -> ImagePart:
    """The images where the boolean array `mask` (N,) is true."""
    chosen: Indices = np.flatnonzero(mask)
    kept = pixels[torch.from_numpy(chosen)] if pixels is not None else None
    return ImagePart(collection.keep(mask), channels, resize, kept)


def imbalance_notes(collection: Collection) -> list[str]:
    """A line when the largest class has at least three times the images of the smallest."""
    counts = np.bincount(collection.labels, minlength=len(collection.class_names))
    least, most = int(counts.argmin()), int(counts.argmax())
    if counts[most] < 3 * counts[least]:
        return []
    names = collection.class_names
    return [
        f"classes are imbalanced: {names[most]} has {counts[most]} images, {names[least]} {counts[least]} "
        f"(ratio {counts[most] / counts[least]:.1f}); look at balanced_accuracy and macro_f1"
    ]

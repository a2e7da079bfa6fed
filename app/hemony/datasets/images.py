"""Image data sets, from the config to what a training or an evaluation reads."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hemony.config import DataConfig, Fit
from hemony.datasets.cache import decode, resized
from hemony.datasets.collection import PARTS, Collection, check_unreadable, skipped
from hemony.datasets.folder import scan_folder
from hemony.datasets.named import digits, named
from hemony.datasets.split import assign_parts, duplicate_notes
from hemony.errors import UsageError
from hemony.preprocessing import Resize


@dataclass
class ImagePart:
    """N images of one part. Resident ones lie in `store`; streamed ones are decoded as they are asked for."""

    collection: Collection  # of these N images alone
    channels: int
    resize: Resize
    store: Tensor | None  # uint8 (all, C, S, S), channels last: the images of all parts, which share it
    places: Tensor  # (N,) int64: where in the store this part's images are

    def __len__(self) -> int:
        return len(self.collection)

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return torch.from_numpy(self.collection.labels)

    def batch(self, positions: Tensor, threads: int = 1) -> Tensor:
        """The images at these positions (B,), uint8 (B, C, S, S); `threads` decode those that are not resident."""
        if self.store is not None:
            return self.store[self.places[positions]]

        def decoded(position: int) -> Tensor:
            return resized(self.collection, position, self.channels, self.resize)

        if threads == 1:
            return torch.stack([decoded(position) for position in positions.tolist()])
        with ThreadPoolExecutor(threads) as pool:
            return torch.stack(list(pool.map(decoded, positions.tolist())))


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
    """The collection that a config names, before anything is decoded. Raises InputError where too few of its files can be read."""
    if config.kind == "digits":
        return digits()
    if config.kind == "image_folder":
        if not config.root:
            raise UsageError("data=image_folder needs data.root=FOLDER, a folder that holds one of pictures for each class")
        collection = scan_folder(Path(config.root))
    else:
        collection = named(config)
    total = len(collection) + len(collection.unreadable)
    check_unreadable(collection.unreadable, total, collection.root, config.max_unreadable_share)
    collection.notes += skipped(collection.unreadable, total)
    return collection


def decode_collection(
    collection: Collection, config: DataConfig, channels: int, size_px: int, fit: Fit
) -> tuple[Collection, Tensor | None]:
    """The readable images, and their pixels, uint8 (N, channels, size_px, size_px), or None where they are to be streamed."""
    resident = len(collection) * channels * size_px**2 <= config.memory_budget_gib * 2**30
    pixels, errors = decode(collection, channels, size_px, fit, keep=resident)
    readable = np.array([not error for error in errors])
    kept = collection.keep(readable)
    damaged = [error for error in errors if error]
    total = len(collection) + len(collection.unreadable)
    check_unreadable([*collection.unreadable, *damaged], total, collection.root, config.max_unreadable_share)
    kept.notes += skipped(damaged, total)
    if not resident:
        kept.notes.append(
            f"{len(kept):,} images of {size_px} pixels pass data.memory_budget_gib={config.memory_budget_gib:g}: "
            f"they are streamed through workers"
        )
    if pixels is not None and not readable.all():
        pixels = pixels[torch.from_numpy(readable)]
    return kept, pixels


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
    return ImagePart(collection.keep(mask), channels, resize, pixels, torch.from_numpy(np.flatnonzero(mask)))


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

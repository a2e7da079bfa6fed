"""A data set decoded and parted: what a training or an evaluation reads, images and recordings alike."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hemony.config import DataConfig
from hemony.datasets.cache import decode
from hemony.datasets.collection import PARTS, Collection, check_unreadable, skipped
from hemony.datasets.split import assign_parts, duplicate_notes
from hemony.preprocessing import View


@dataclass
class Part:
    """N examples of one part. Resident ones lie in `store`; streamed ones are decoded as they are asked for."""

    collection: Collection  # of these N examples alone
    view: View
    store: Tensor | None  # (all, *view.shape): the examples of all parts, which share it
    places: Tensor  # (N,) int64: where in the store this part's examples are

    def __len__(self) -> int:
        return len(self.collection)

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return torch.from_numpy(self.collection.labels)

    def batch(self, positions: Tensor, threads: int = 1) -> Tensor:
        """The examples at these positions (B,), (B, *view.shape); `threads` decode those that are not resident."""
        if self.store is not None:
            return self.store[self.places[positions]]

        def decoded(position: int) -> Tensor:
            return self.view.example(self.collection, position)

        if threads == 1:
            return torch.stack([decoded(position) for position in positions.tolist()])
        with ThreadPoolExecutor(threads) as pool:
            return torch.stack(list(pool.map(decoded, positions.tolist())))


@dataclass
class Data:
    """A data set decoded as the network sees it, in its three parts (validation may be empty)."""

    class_names: list[str]
    noun: str  # what an example is
    view: View
    train: Part
    validation: Part
    test: Part
    notes: list[str] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, Part]:
        return dict(zip(PARTS, (self.train, self.validation, self.test), strict=True))

    def summary(self) -> dict[str, Any]:
        """Examples by part and class, and what was noticed; JSON-able."""
        splits = {}
        for name, part in self.parts.items():
            counts = np.bincount(part.collection.labels, minlength=len(self.class_names))
            splits[name] = dict(zip(self.class_names, counts.tolist(), strict=True))
        return {"splits": splits, "warnings": list(self.notes)}


def decode_collection(collection: Collection, config: DataConfig, view: View) -> tuple[Collection, Tensor | None]:
    """The readable examples, and what they hold (N, *view.shape), or None where they are to be streamed."""
    size_bytes = int(np.prod(view.shape)) * view.dtype.itemsize
    resident = len(collection) * size_bytes <= config.memory_budget_gib * 2**30
    decoded, errors = decode(collection, view, keep=resident)
    readable = np.array([not error for error in errors])
    kept = collection.keep(readable)
    damaged = list(dict.fromkeys(error for error in errors if error))  # a recording may be several clips
    total = len(np.unique(collection.units())) + len(collection.unreadable)
    check_unreadable([*collection.unreadable, *damaged], total, collection.root, config.max_unreadable_share)
    kept.notes += skipped(damaged, total)
    if not resident:
        kept.notes.append(
            f"{len(kept):,} {collection.noun}s of {size_bytes:,} bytes pass data.memory_budget_gib={config.memory_budget_gib:g}: "
            f"they are streamed through workers"
        )
    if decoded is not None and not readable.all():
        decoded = decoded[torch.from_numpy(readable)]
    return kept, decoded


def build(collection: Collection, config: DataConfig, view: View) -> Data:
    """Decode a collection and part it. Raises InputError for one that cannot be parted."""
    collection, decoded = decode_collection(collection, config, view)
    parts = assign_parts(collection, config)
    notes = [*collection.notes, *duplicate_notes(collection, parts), *imbalance_notes(collection)]

    def part_of(code: int) -> Part:
        return select(collection, decoded, parts == code, view)

    train, validation, test = (part_of(code) for code in range(len(PARTS)))
    return Data(collection.class_names, collection.noun, view, train, validation, test, notes)


def select(collection: Collection, decoded: Tensor | None, mask: Any, view: View) -> Part:
    """The examples where the boolean array `mask` (N,) is true."""
    return Part(collection.keep(mask), view, decoded, torch.from_numpy(np.flatnonzero(mask)))


def imbalance_notes(collection: Collection) -> list[str]:
    """A line when the largest class has at least three times the examples of the smallest."""
    counts = np.bincount(collection.labels, minlength=len(collection.class_names))
    least, most = int(counts.argmin()), int(counts.argmax())
    if counts[most] < 3 * counts[least]:
        return []
    names = collection.class_names
    return [
        f"classes are imbalanced: {names[most]} has {counts[most]} {collection.noun}s, {names[least]} {counts[least]} "
        f"(ratio {counts[most] / counts[least]:.1f}); look at balanced_accuracy and macro_f1"
    ]

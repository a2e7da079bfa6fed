"""A data set as it is found, before a network's size is chosen: names, labels, digests, and how to read one image."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hemony.errors import InputError

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
UNASSIGNED = -1

Pixels = npt.NDArray[np.uint8]  # (height, width, channels)
Digests = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


@dataclass
class Collection:
    """N images of known classes; `read(index, channels)` decodes one of them as uint8 (height, width, channels)."""

    class_names: list[str]
    names: list[str]  # N: a path relative to the root, or a position
    labels: Indices  # (N,)
    digests: Digests  # (N,) of each file's content
    given: Indices  # (N,) the part that the layout names: TRAIN, VALIDATION, TEST or UNASSIGNED
    sizes: Indices  # (N, 2) height and width in pixels
    colour: npt.NDArray[np.bool_]  # (N,)
    read: Callable[[int, int], Pixels]
    root: str = ""
    cacheable: bool = True  # decoding takes time, so that its outcome is worth a file
    unreadable: list[str] = field(default_factory=list)  # one line each: the file and what is wrong with it
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def keep(self, mask: npt.NDArray[np.bool_]) -> "Collection":
        """The images where `mask` is true."""
        kept = np.flatnonzero(mask)
        return Collection(
            class_names=self.class_names,
            names=[self.names[index] for index in kept],
            labels=self.labels[kept],
            digests=self.digests[kept],
            given=self.given[kept],
            sizes=self.sizes[kept],
            colour=self.colour[kept],
            read=lambda index, channels: self.read(int(kept[index]), channels),
            root=self.root,
            cacheable=self.cacheable,
            unreadable=self.unreadable,
            notes=self.notes,
        )


def check_readable(collection: Collection, total: int, max_share: float) -> None:
    """Raise InputError when more than `max_share` of `total` files cannot be read; note those that are skipped."""
    count = len(collection.unreadable)
    if not count:
        return
    named = "; ".join(collection.unreadable[:3]) + (f"; and {count - 3} more" if count > 3 else "")
    if count > max_share * total:
        raise InputError(
            f"{count} of {total} files under {collection.root} cannot be read, more than "
            f"data.max_unreadable_share={max_share:g} allows: {named}"
        )
    collection.notes.append(f"{count} of {total} files cannot be read and are skipped: {named}")

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
    """N images of known classes.

    `read(index, channels, least_size_px)` decodes one of them as uint8 (height, width, channels); an image that is going to be scaled
    down to `least_size_px` may come out smaller than it is (see `media.read_image`).
    """

    class_names: list[str]
    names: list[str]  # N: a path relative to the root, or a position
    labels: Indices  # (N,)
    digests: Digests  # (N,) of each file's content
    given: Indices  # (N,) the part that the layout names: TRAIN, VALIDATION, TEST or UNASSIGNED
    sizes: Indices  # (N, 2) height and width in pixels
    colour: npt.NDArray[np.bool_]  # (N,)
    read: Callable[[int, int, int | None], Pixels]
    root: str = ""
    cacheable: bool = True  # decoding takes time, so that its outcome is worth a file
    unreadable: list[str] = field(default_factory=list)  # beside the N: one line each, the file and what is wrong with it
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def keep(self, mask: npt.NDArray[np.bool_]) -> "Collection":
        """The images where `mask` is true, without what is known of unreadable ones beside them."""
        kept = np.flatnonzero(mask)
        return Collection(
            class_names=self.class_names,
            names=[self.names[index] for index in kept],
            labels=self.labels[kept],
            digests=self.digests[kept],
            given=self.given[kept],
            sizes=self.sizes[kept],
            colour=self.colour[kept],
            read=lambda index, channels, least_size_px: self.read(int(kept[index]), channels, least_size_px),
            root=self.root,
            cacheable=self.cacheable,
            notes=list(self.notes),
        )


def check_unreadable(errors: list[str], total: int, root: str, max_share: float) -> None:
    """Raise InputError when the errors, a line a file, are more than `max_share` of `total` files, or all."""
    if errors and len(errors) == total:
        raise InputError(f"none of the {total} files under {root} can be read: {first_of(errors)}")
    if len(errors) > max_share * total:
        raise InputError(
            f"{len(errors)} of {total} files under {root} cannot be read, more than data.max_unreadable_share={max_share:g} "
            f"allows: {first_of(errors)}"
        )


def skipped(errors: list[str], total: int) -> list[str]:
    """A line about the files that are skipped, where there are any."""
    return [f"{len(errors)} of {total} files cannot be read and are skipped: {first_of(errors)}"] if errors else []


def first_of(errors: list[str]) -> str:
    return "; ".join(errors[:3]) + (f"; and {len(errors) - 3} more" if len(errors) > 3 else "")

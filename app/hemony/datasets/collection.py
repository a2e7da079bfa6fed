"""A data set as it is found, before anything is chosen for a network: names, labels, digests, and how to read one example."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from hemony.errors import InputError
from hemony.preprocessing import window_spans

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
UNASSIGNED = -1

Pixels = npt.NDArray[np.uint8]  # (height, width, channels)
Samples = npt.NDArray[np.int16]  # (samples,), mono
Digests = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


def digest_of(content: bytes) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


@dataclass(kw_only=True)
class Collection:
    """N examples of known classes."""

    noun: ClassVar[str] = "example"  # what one of them is

    class_names: list[str]
    names: list[str]  # N: a path relative to the root, or a position
    labels: Indices  # (N,)
    digests: Digests  # (N,) of each example's content
    given: Indices  # (N,) the part that the layout names: TRAIN, VALIDATION, TEST or UNASSIGNED
    groups: list[str] = field(default_factory=list)  # N, or none: what must not lie in two parts, such as a speaker or a recording
    root: str = ""
    cacheable: bool = True  # decoding takes time, so that its outcome is worth a file
    unreadable: list[str] = field(default_factory=list)  # beside the N: one line each, the file and what is wrong with it
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def keep(self, mask: npt.NDArray[np.bool_]) -> Self:
        """The examples where `mask` is true, without what is known of unreadable ones beside them."""
        kept = np.flatnonzero(mask)
        return replace(
            self,
            names=[self.names[index] for index in kept],
            labels=self.labels[kept],
            digests=self.digests[kept],
            given=self.given[kept],
            groups=[self.groups[index] for index in kept] if self.groups else [],
            unreadable=[],
            notes=list(self.notes),
            **self._kept(kept),
        )

    def readable(self, errors: list[str]) -> Self:
        """Of N examples those whose error is ""; the lines of the others are remembered."""
        kept = self.keep(np.array([not error for error in errors]))
        kept.unreadable = [error for error in errors if error]
        return kept

    def units(self) -> Indices:
        """(N,) equal numbers for examples that are judged as one, such as the windows of a recording."""
        return np.arange(len(self))

    def _kept(self, kept: Indices) -> dict[str, Any]:
        """What a kind of collection has beside all this, for the examples at these positions."""
        return {}


@dataclass(kw_only=True)
class ImageCollection(Collection):
    """Images; `read(index, channels, least_size_px)` decodes one of them as uint8 (height, width, channels).

    An image that is going to be scaled down to `least_size_px` may come out smaller than it is (see `media.image.read_image`).
    """

    noun = "image"
    sizes: Indices  # (N, 2) height and width in pixels
    colour: npt.NDArray[np.bool_]  # (N,)
    read: Callable[[int, int, int | None], Pixels]

    def _kept(self, kept: Indices) -> dict[str, Any]:
        return {
            "sizes": self.sizes[kept],
            "colour": self.colour[kept],
            "read": lambda index, channels, least_size_px: self.read(int(kept[index]), channels, least_size_px),
        }


@dataclass(kw_only=True)
class AudioCollection(Collection):
    """Clips; `read(index, sample_rate_hz, start_s, end_s)` decodes one of them, or a span of it, as mono int16 (samples,)."""

    noun = "clip"
    durations_s: npt.NDArray[np.float64]  # (N,)
    sample_rates_hz: Indices  # (N,) of the files
    folds: Indices  # (N,) that the data set comes with, from 0; -1 for none
    read: Callable[..., Samples]
    recordings: Indices = field(default_factory=lambda: np.empty(0, np.int64))  # (N,): equal for windows of one; none: all differ

    def units(self) -> Indices:
        return self.recordings if len(self.recordings) else super().units()

    def windows(self, clip_s: float) -> "AudioCollection":
        """The same recordings with those of more than twice `clip_s` cut into windows of it, side by side, the last one at the end."""
        spans = [window_spans(duration_s, clip_s) for duration_s in self.durations_s.tolist()]
        if all(len(own) == 1 for own in spans):
            return self
        origin = np.repeat(np.arange(len(self)), [len(own) for own in spans])
        flat = [span for own in spans for span in own]
        whole = [len(spans[index]) == 1 for index in origin]

        def read(index: int, sample_rate_hz: int) -> Samples:
            return self.read(int(origin[index]), sample_rate_hz, *(() if whole[index] else flat[index]))

        def name(index: int) -> str:
            own = self.names[origin[index]]
            return own if whole[index] else f"{own}@{flat[index][0]:g}-{flat[index][1]:g}"

        return replace(
            self,
            names=[name(index) for index in range(len(origin))],
            labels=self.labels[origin],
            digests=self.digests[origin],
            given=self.given[origin],
            groups=[self.groups[index] for index in origin] if self.groups else [],
            notes=[*self.notes, f"{len(self):,} recordings are cut into {len(origin):,} clips of {clip_s:g} s"],
            durations_s=np.array([end_s - start_s for start_s, end_s in flat]),
            sample_rates_hz=self.sample_rates_hz[origin],
            folds=self.folds[origin],
            read=read,
            recordings=origin,
        )

    def _kept(self, kept: Indices) -> dict[str, Any]:
        return {
            "durations_s": self.durations_s[kept],
            "sample_rates_hz": self.sample_rates_hz[kept],
            "folds": self.folds[kept],
            "read": lambda index, *rest: self.read(int(kept[index]), *rest),
            "recordings": self.recordings[kept] if len(self.recordings) else self.recordings,
        }


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

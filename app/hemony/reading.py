"""Files decoded ahead of their turn, in their order, so that decoding and what becomes of it overlap and memory stays bounded.

Without torch, whose import takes longer than a thousand small files: recordings are decoded meanwhile.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from hemony.errors import InputError
from hemony.sources import Source

SHORT_S = 10.0  # up to this a recording is held as a whole, and gets one row
FILES_A_TASK = 16  # to hand a task over takes as long as to decode a quarter of a small file
FILES_SINGLY = 64  # at first, so that a few large files have all cores


class Long:
    """A recording that is not held in memory."""


Decode = Callable[[Path], Any]  # raises InputError for a file that cannot be decoded
Item = tuple[Path, Any]  # a path with what was decoded, or the line (str) that says why nothing was


@dataclass(frozen=True)
class Recordings:
    """Decodes recordings of up to `most_s` seconds, mono int16 (samples,); longer ones are Long, all are where `most_s` is 0."""

    sample_rate_hz: int
    most_s: float

    def __call__(self, path: Path) -> Any:
        if not self.most_s:
            return Long()
        from hemony.media.audio import TooLong, read_audio

        try:
            return read_audio(path, self.sample_rate_hz, self.most_s)
        except TooLong:
            return Long()


class ReadAhead:
    """Iterates over the files of `sources`, of which about `ahead` are decoded before their turn, in threads, from the first `fill` on."""

    def __init__(self, sources: Iterable[Source], decode: Decode, ahead: int) -> None:
        self.groups = grouped(sources, max(1, min(FILES_A_TASK, ahead // 8)))
        self.decode, self.ahead, self.pending = decode, ahead, 0
        self.waiting: deque[tuple[int, Future[list[Item]]]] = deque()
        self.pool = ThreadPoolExecutor(os.cpu_count())

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pool.shutdown(cancel_futures=True)

    def fill(self) -> None:
        """Have as many decoded as may be."""
        while self.pending <= self.ahead and (group := next(self.groups, None)):
            self.waiting.append((len(group), self.pool.submit(read, self.decode, group)))
            self.pending += len(group)

    def __iter__(self) -> Iterator[Item]:
        self.fill()
        while self.waiting:
            count, future = self.waiting.popleft()
            yield from future.result()
            self.pending -= count
            self.fill()


def read(decode: Decode, group: list[Source]) -> list[Item]:
    """The files of a group; nothing that is wrong with one of them keeps the others from being read."""

    def content(source: Source) -> Any:
        path, wrong = source
        try:
            return wrong or decode(path)
        except InputError as error:
            return str(error)

    return [(source[0], content(source)) for source in group]


def grouped(sources: Iterable[Source], largest: int) -> Iterator[list[Source]]:
    """The first FILES_SINGLY sources one by one, the others `largest` at a time."""
    upcoming = iter(sources)
    yield from ([source] for source in itertools.islice(upcoming, FILES_SINGLY))
    while group := list(itertools.islice(upcoming, largest)):
        yield group

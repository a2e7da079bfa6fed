"""The file that a long batch writes, and what is needed to go on after an interruption as if there had been none."""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from hemony.errors import UsageError
from hemony.sources import Source


class Journal:
    """Where rows go: stdout, or a file that has its name only when it is whole.

    Until then it is called NAME.part, and NAME.journal holds a line for every batch of sources: how many there are so far, which, and
    where in the file their rows end. A resumed run cuts off what came after the last line and goes on behind it. Batches begin where they
    would have begun, so the outcome is the same to the byte.
    """

    def __init__(self, out: str | None, key: dict[str, Any], resume: bool) -> None:
        self.file: TextIO = sys.stdout
        self.rows = 0  # that are in the file already
        self.begun = False  # whether there is anything in it
        self.failed = False
        self.done = 0
        self.sources = hashlib.blake2b(digest_size=16)  # of the names of all sources so far
        self.path = Path(out).expanduser() if out else None
        if self.path is None:
            return
        self.part, self.log = (self.path.with_name(self.path.name + suffix) for suffix in (".part", ".journal"))
        lines = self.read(key) if resume else []
        last: dict[str, Any] = lines[-1] if lines else {"sources": 0, "bytes": 0, "rows": 0, "failed": False, "digest": ""}
        self.expected, self.rows, self.failed, self.digest = last["sources"], last["rows"], last["failed"], last["digest"]
        self.begun = last["bytes"] > 0
        try:
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self.file = self.part.open("r+" if lines else "w", encoding="utf-8", errors="backslashreplace", newline="")
            self.log.write_text(
                "".join(json.dumps(line) + "\n" for line in ({"key": key}, *lines))
            )  # without a line that broke off
        except OSError as error:
            raise UsageError(f"--out {out} cannot be written: {error.strerror}") from None
        self.file.truncate(last["bytes"])
        self.file.seek(last["bytes"])

    def read(self, key: dict[str, Any]) -> list[dict[str, Any]]:
        """The lines of an interrupted run with the same key; none if there is no such run."""
        assert self.path is not None
        if not self.log.exists():
            return []
        lines = []
        for text in self.log.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break  # it was being written when the run broke off
        if not lines or lines[0].get("key") != key:
            raise UsageError(
                f"--resume: {self.path} was begun with another bundle or other options; leave --resume out to begin anew"
            )
        return lines[1:] if self.part.exists() else []

    def __enter__(self) -> "Journal":
        return self

    def remaining(self, sources: Iterable[Source]) -> Iterator[Source]:
        """The sources that are not done yet. Raises UsageError if those that are done are not the same any more."""
        if self.path is None or not self.expected:
            yield from sources
            return
        for source in sources:
            if self.done < self.expected:
                self.note(source[0])
                if self.done == self.expected:
                    self.check()
            else:
                yield source
        if self.done < self.expected:
            self.check()

    def check(self) -> None:
        if self.done != self.expected or self.sources.hexdigest() != self.digest:
            raise UsageError(
                f"--resume: the files are not those with which {self.path} was begun; leave --resume out to begin anew"
            )

    def note(self, source: Path) -> None:
        self.sources.update(os.fsencode(source) + b"\0")
        self.done += 1

    def commit(self, sources: list[Path], rows: int) -> None:
        """What was written is the whole of these sources."""
        if self.path is None:
            return
        for source in sources:
            self.note(source)
        self.file.flush()
        os.fsync(self.file.fileno())
        entry = {
            "sources": self.done,
            "bytes": self.file.tell(),
            "rows": rows,
            "failed": self.failed,
            "digest": self.sources.hexdigest(),
        }
        with self.log.open("a") as log:
            log.write(json.dumps(entry) + "\n")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.path is None:
            return
        self.file.close()
        if kind is None:
            self.part.replace(self.path)
            self.log.unlink()
        elif not self.done and not self.expected:  # it broke off before the first batch: there is nothing to go on with
            self.part.unlink(missing_ok=True)
            self.log.unlink(missing_ok=True)
        elif issubclass(kind, KeyboardInterrupt):
            print(
                f"hemony: interrupted; the same command with --resume goes on, the rows so far are in {self.part}", file=sys.stderr
            )

"""What every decoder needs before it decodes: regular files of reasonable size, found, opened and named in one line."""

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hemony.errors import InputError, UsageError

MARKS = {
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file (SVG drawings are not read)",
    b"%pdf": "a PDF document",
    b"pk\x03\x04": "a ZIP archive",
    b"%!ps": "a PostScript document",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with `git lfs pull`",
}


def shown(source: Path | str) -> str:
    """A path as it can stand in one line."""
    text = str(source)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def check_folder(path: Path) -> None:
    """Raise UsageError where there is no folder in which `path` could be written."""
    if not path.parent.is_dir():
        raise UsageError(f"{shown(path)}: there is no folder {shown(path.parent)}")


def check_file(path: Path) -> None:
    """Raise UsageError where no regular file can be written: a folder, a device, a pipe, or no folder to hold it."""
    if path.is_dir():
        raise UsageError(f"{shown(path)} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UsageError(f"{shown(path)} is no regular file, and is not written to; name a file")
    check_folder(path)


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """A regular file that is not empty, open for reading. A pipe or a device is refused before it can block. Raises InputError."""
    name = shown(path)
    try:
        stream = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    except IsADirectoryError:
        raise InputError(f"{name}: a folder, not a file") from None
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    with stream:
        status = os.fstat(stream.fileno())
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name}: a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name}: a pipe or a device, not a file")
        if not status.st_size:
            raise InputError(f"{name}: an empty file")
        yield stream


def what_it_is(start: bytes, wanted: str, otherwise: str) -> str:
    """A guess at a file that is not what is `wanted`, from its first bytes, so that the user sees what went wrong."""
    start = start.lstrip().lower()
    for mark, kind in MARKS.items():
        if start.startswith(mark):
            return f"{kind}, not an {wanted}"
    return otherwise


def find_files(root: Path, suffixes: frozenset[str]) -> tuple[list[Path], Counter[str]]:
    """Every file below `root` with one of the suffixes, sorted by path, and how many others there are of each suffix.

    Hidden files and folders are left out of both, and no folder is entered twice.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    visited: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in suffixes and not name.startswith("."):
                found.append(Path(folder, name))
            elif not name.startswith(".") and name not in ("Thumbs.db", "desktop.ini"):
                others[suffix] += 1
    return sorted(found, key=os.fsencode), others

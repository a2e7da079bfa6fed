"""Files that survive a kill, a full disk and a lost cable: whole or not there, and never at the cost of the previous one.

Everything is written to a temporary file in the *same* folder, flushed to the disk, checked, and renamed.
"""

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

STATE_NAME = re.compile(r"state-(\d{9})-([0-9a-f]{16})\.ckpt")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends well, and vanishes when it does not.

    A symbolic link stays one: what it names is replaced.
    """
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:  # what is written is what the user named
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a rename to the disk, where the platform can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """JSON without NaN or infinity: what is not a number has no place in a result."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def save_state(folder: Path, step: int, state: Any) -> Path:
    """Write a training state as `state-STEP-DIGEST.ckpt` and keep the one before it.

    The digest is part of the name, so one rename makes both valid at once.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"state-{step:09d}-{digest(content)[:16]}.ckpt"
    if not path.exists():
        write_bytes(path, content)
    for old in sorted(states(folder), key=lambda entry: entry.name)[:-2]:
        old.unlink(missing_ok=True)
    return path


def states(folder: Path) -> list[Path]:
    """The state files of a run folder, whether or not they can be read."""
    return [entry for entry in folder.iterdir() if STATE_NAME.fullmatch(entry.name)] if folder.is_dir() else []


def load_state(folder: Path) -> Any | None:
    """The newest state whose digest is right, read with `weights_only=True`; None if there is none."""
    import torch

    for path in sorted(states(folder), key=lambda entry: entry.name, reverse=True):
        match = STATE_NAME.fullmatch(path.name)
        content = path.read_bytes()
        if match and digest(content).startswith(match[2]):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return None

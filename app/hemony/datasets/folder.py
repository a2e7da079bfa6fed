"""Finding files in class folders: one folder a class, with or without train/, val/ and test/ above them."""

import contextlib
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hemony import durable
from hemony.config import DataConfig
from hemony.datasets.collection import TEST, TRAIN, UNASSIGNED, VALIDATION
from hemony.errors import HemonyError, InputError
from hemony.media.files import shown

Probe = Callable[[Path], tuple[int, ...]]

PART_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}


@dataclass(frozen=True)
class FileFacts:
    """What is remembered of a file as long as its size and time of change stay the same."""

    size_bytes: int
    modified_ns: int
    digest: int  # 64 bits of BLAKE2b of the content
    header: tuple[int, ...] = ()  # what its header says, by the probe that read it
    error: str = ""  # what is wrong with it, in a line; it is then read again the next time


def cache_folder() -> Path:
    """Where decoded data and file facts are kept: `$HEMONY_CACHE`, else the user's cache folder."""
    if os.environ.get("HEMONY_CACHE"):
        return Path(os.environ["HEMONY_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hemony"


def data_root(config: DataConfig) -> Path:
    """`data.root`, else `$HEMONY_DATA/KIND` where that is set, else `data/KIND`."""
    if config.root:
        return Path(config.root)
    base = os.environ.get("HEMONY_DATA")
    return (Path(base).expanduser() if base else Path("data")) / config.kind


@contextlib.contextmanager
def or_told_where(kind: str, root: Path, remedy: str) -> Iterator[None]:
    """For a download into `root`: its progress goes to stderr, and whatever fails in it becomes one line that says what to do."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # urllib, socket, archive and checksum errors, a full disk: the remedy is the same
        with contextlib.suppress(OSError):
            root.rmdir()  # only an empty folder goes
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{kind} is not in {shown(root)} and cannot be downloaded ({reason}): {remedy} with data.root=") from None


def subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__")))


def class_folders(root: Path) -> list[tuple[int, str, Path]]:
    """(part, class name, folder) for every class folder under `root`.

    A folder called train counts as a part only if it holds folders itself: a set of vehicles may have a class of that name.
    """
    if not root.is_dir():
        raise InputError(f"data.root={root} is not a folder; give one that holds a folder for each class")
    tops = subfolders(root)
    parts = {top: PART_NAMES[top.name.lower()] for top in tops if top.name.lower() in PART_NAMES and subfolders(top)}
    if TRAIN in parts.values():
        stray = [top.name for top in tops if top not in parts]
        if stray:
            raise InputError(
                f"{root} holds parts ({', '.join(top.name for top in parts)}) and also {', '.join(stray)}: move it away"
            )
        return named([(part, folder) for top, part in parts.items() for folder in subfolders(top)])
    if not tops:
        raise InputError(f"{root} holds no folders; put the files of each class into a folder of the class's name")
    if len(parts) == len(tops):
        raise InputError(f"{root} holds {' and '.join(top.name for top in tops)}, but no train: there is nothing to learn from")
    return named([(UNASSIGNED, folder) for folder in tops])


def named(folders: list[tuple[int, Path]]) -> list[tuple[int, str, Path]]:
    """The folders with the names of their classes. Raises InputError for a name that cannot be written down as text."""
    for _, folder in folders:
        if any("\ud800" <= character <= "\udfff" for character in folder.name):  # bytes that are not UTF-8, from an old ZIP file
            raise InputError(f"{shown(folder)}: the folder's name is not text, and it would be the class's; rename it")
    return [(part, folder.name, folder) for part, folder in folders]


@dataclass(frozen=True)
class ClassedFiles:
    """The files of a layout of class folders, and what of the folders is not one of them."""

    class_names: list[str]
    paths: list[Path]
    labels: list[int]
    parts: list[int]  # that the layout names: TRAIN, VALIDATION, TEST or UNASSIGNED
    left_out: Counter[str]  # other files, by suffix

    def left_out_notes(self, nouns: str) -> list[str]:
        """A line about the files that are none of `nouns`, where there are any."""
        count = self.left_out.total()
        return [f"{count:,} files are left out as no {nouns}{of_suffixes(self.left_out)}"] if count else []


def classed_files(root: Path, noun: str, find: Callable[[Path], tuple[list[Path], Counter[str]]]) -> ClassedFiles:
    """All that `find` finds in the class folders under `root`. Raises InputError for a layout that is not one of classes."""
    folders = class_folders(root)
    class_names = sorted({name for _, name, _ in folders})
    _check_layout(root, folders, class_names)
    files = ClassedFiles(class_names, [], [], [], Counter())
    for part, name, folder in folders:
        found, others = find(folder)
        if not found:
            raise InputError(f"class folder {folder} holds no {noun}{of_suffixes(others)}; add some or remove it")
        files.paths.extend(found)
        files.left_out.update(others)
        files.labels.extend([class_names.index(name)] * len(found))
        files.parts.extend([part] * len(found))
    if len(class_names) < 2:
        inner = [folder.name for _, _, folder in folders if subfolders(folder)]
        hint = f"; if its classes are the folders in {inner[0]}, name that one: data.root={root / inner[0]}" if inner else ""
        raise InputError(f"{root} holds one class, {class_names[0]}; a recogniser needs at least two{hint}")
    return files


def of_suffixes(counts: Counter[str]) -> str:
    """` (90 .heic, 2 .txt)`; nothing where there are none."""
    named = ", ".join(f"{count:,} {shown(suffix) or 'without suffix'}" for suffix, count in counts.most_common(5))
    return f" ({named})" if named else ""


def _check_layout(root: Path, folders: list[tuple[int, str, Path]], class_names: list[str]) -> None:
    """Every part must have every class: a missing one would shift the labels."""
    for part in sorted({part for part, _, _ in folders}):
        present = {name for found, name, _ in folders if found == part}
        missing = sorted(set(class_names) - present)
        if missing:
            where = next(folder.parent for found, _, folder in folders if found == part)
            raise InputError(
                f"{where} lacks the class folder{'s' if len(missing) > 1 else ''} {', '.join(missing)} that other parts of "
                f"{root} have: every part needs every class"
            )


def file_facts(root: Path, paths: list[Path], noun: str, probe: Probe) -> list[FileFacts]:
    """The facts of every file, from the cache where size and time of change are the same as when it was read.

    `probe` reads a file's header, as whole numbers, and raises InputError for a file that is not one of `noun`.
    """
    place = hashlib.sha256(f"{noun} {root.resolve()}".encode(errors="surrogateescape")).hexdigest()[:24]
    store = cache_folder() / "folders" / f"{place}.json"
    known = _load_facts(store)
    keys = [os.path.relpath(path, root) for path in paths]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pairs = zip(paths, keys, strict=True)
        facts = list(pool.map(lambda pair: _facts_of(pair[0], known.get(pair[1]), probe), pairs, chunksize=64))
    fresh = dict(zip(keys, facts, strict=True))
    if fresh != known:
        _store_facts(store, fresh)
    return facts


def _facts_of(path: Path, known: FileFacts | None, probe: Probe) -> FileFacts:
    try:
        status = path.stat()
    except OSError as error:
        return FileFacts(0, 0, 0, error=f"{shown(path)}: {error.strerror}")
    if known and not known.error and (known.size_bytes, known.modified_ns) == (status.st_size, status.st_mtime_ns):
        return known
    try:
        header = probe(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).digest()
    except (HemonyError, OSError) as error:
        return FileFacts(status.st_size, status.st_mtime_ns, 0, error=str(error))
    return FileFacts(status.st_size, status.st_mtime_ns, int.from_bytes(digest, "little"), header)


def _load_facts(store: Path) -> dict[str, FileFacts]:
    try:
        rows = json.loads(store.read_bytes()).items()
        return {
            key: FileFacts(size, modified, digest, tuple(header), error) for key, (size, modified, digest, header, error) in rows
        }
    except (OSError, ValueError, TypeError):
        return {}  # a cache that cannot be read is a cache that is not there


def _store_facts(store: Path, facts: dict[str, FileFacts]) -> None:
    rows: dict[str, Iterable[object]] = {key: list(vars(fact).values()) for key, fact in facts.items()}
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        durable.write_bytes(store, json.dumps(rows).encode())
    except OSError:
        pass  # without a cache the next start is slower, no more

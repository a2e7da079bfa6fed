"""Finding a folder of pictures: one folder a class, with or without train/, val/ and test/ above them."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hemony import durable, media
from hemony.datasets.collection import TEST, TRAIN, UNASSIGNED, VALIDATION, Collection, Pixels
from hemony.errors import HemonyError, InputError

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
    height: int
    width: int
    colour: bool
    error: str = ""  # what is wrong with it, in a line; the other facts are then zero, and it is read again the next time


def cache_folder() -> Path:
    """Where decoded data and file facts are kept: `$HEMONY_CACHE`, else the user's cache folder."""
    if os.environ.get("HEMONY_CACHE"):
        return Path(os.environ["HEMONY_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hemony"


def subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__")))


def class_folders(root: Path) -> list[tuple[int, str, Path]]:
    """(part, class name, folder) for every class folder under `root`.

    A folder called train counts as a part only if it holds folders itself: a set of vehicles may have a class of that name.
    """
    if not root.is_dir():
        raise InputError(f"data.root={root} is not a folder; give one that holds a folder of pictures for each class")
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
        raise InputError(f"{root} holds no folders; put the pictures of each class into a folder of the class's name")
    if len(parts) == len(tops):
        raise InputError(f"{root} holds {' and '.join(top.name for top in tops)}, but no train: there is nothing to learn from")
    return named([(UNASSIGNED, folder) for folder in tops])


def named(folders: list[tuple[int, Path]]) -> list[tuple[int, str, Path]]:
    """The folders with the names of their classes. Raises InputError for a name that cannot be written down as text."""
    for _, folder in folders:
        if any("\ud800" <= character <= "\udfff" for character in folder.name):  # bytes that are not UTF-8, from an old ZIP file
            raise InputError(f"{media.shown(folder)}: the folder's name is not text, and it would be the class's; rename it")
    return [(part, folder.name, folder) for part, folder in folders]


def scan_folder(root: Path) -> Collection:
    """All pictures under `root` with their classes, digests and sizes.

    Facts of unchanged files come from the cache. Raises InputError for a layout that is not one of classes.
    """
    folders = class_folders(root)
    class_names = sorted({name for _, name, _ in folders})
    _check_layout(root, folders, class_names)
    paths, labels, given, left_out = [], [], [], Counter[str]()
    for part, name, folder in folders:
        found, others = media.find_images(folder)
        if not found:
            raise InputError(f"class folder {folder} holds no picture{of_suffixes(others)}; add some or remove it")
        paths += found
        left_out += others
        labels += [class_names.index(name)] * len(found)
        given += [part] * len(found)
    if len(class_names) < 2:
        inner = [folder.name for _, _, folder in folders if subfolders(folder)]
        hint = f"; if its classes are the folders in {inner[0]}, name that one: data.root={root / inner[0]}" if inner else ""
        raise InputError(f"{root} holds one class, {class_names[0]}; a recogniser needs at least two{hint}")
    facts = file_facts(root, paths)
    names = [path.relative_to(root).as_posix() for path in paths]

    def read(index: int, channels: int, least_size_px: int | None) -> Pixels:
        return media.read_image(paths[index], channels, least_size_px)

    readable = np.array([not fact.error for fact in facts])

    collection = Collection(
        class_names=class_names,
        names=names,
        labels=np.array(labels),
        digests=np.array([fact.digest for fact in facts], dtype=np.uint64),
        given=np.array(given),
        sizes=np.array([(fact.height, fact.width) for fact in facts]),
        colour=np.array([fact.colour for fact in facts]),
        read=read,
        root=str(root),
    ).keep(readable)
    collection.unreadable = [fact.error for fact in facts if fact.error]
    if left_out:
        collection.notes.append(f"{left_out.total():,} files are left out as no images{of_suffixes(left_out)}")
    return collection


def of_suffixes(counts: Counter[str]) -> str:
    """` (90 .heic, 2 .txt)`; nothing where there are none."""
    named = ", ".join(f"{count:,} {media.shown(suffix) or 'without suffix'}" for suffix, count in counts.most_common(5))
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


def file_facts(root: Path, paths: list[Path]) -> list[FileFacts]:
    """The facts of every file, from the cache where size and time of change are the same as when it was read."""
    store = cache_folder() / "folders" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]}.json"
    known = _load_facts(store)
    keys = [str(path.relative_to(root)) for path in paths]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        facts = list(pool.map(lambda pair: _facts_of(pair[0], known.get(pair[1])), zip(paths, keys, strict=True), chunksize=64))
    fresh = dict(zip(keys, facts, strict=True))
    if fresh != known:
        _store_facts(store, fresh)
    return facts


def _facts_of(path: Path, known: FileFacts | None) -> FileFacts:
    try:
        status = path.stat()
    except OSError as error:
        return FileFacts(0, 0, 0, 0, 0, False, f"{path}: {error.strerror}")
    if known and not known.error and (known.size_bytes, known.modified_ns) == (status.st_size, status.st_mtime_ns):
        return known
    try:
        header = media.probe_image(path)
        digest = int.from_bytes(hashlib.blake2b(path.read_bytes(), digest_size=8).digest(), "little")
    except (HemonyError, OSError) as error:
        return FileFacts(status.st_size, status.st_mtime_ns, 0, 0, 0, False, str(error))
    return FileFacts(status.st_size, status.st_mtime_ns, digest, header.height, header.width, header.colour)


def _load_facts(store: Path) -> dict[str, FileFacts]:
    try:
        return {key: FileFacts(*values) for key, values in json.loads(store.read_bytes()).items()}
    except (OSError, ValueError, TypeError):
        return {}  # a cache that cannot be read is a cache that is not there


def _store_facts(store: Path, facts: dict[str, FileFacts]) -> None:
    rows: dict[str, Iterable[object]] = {key: list(vars(fact).values()) for key, fact in facts.items()}
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        durable.write_bytes(store, json.dumps(rows).encode())
    except OSError:
        pass  # without a cache the next start is slower, no more

"""Decoding a collection once: every example as the network sees it, in one file keyed by the content of all of them."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hemony import durable
from hemony.datasets.collection import Collection
from hemony.datasets.folder import cache_folder
from hemony.errors import InputError
from hemony.preprocessing import View

FORMAT = 3  # part of the key: a change of decoding or resizing raises it


def decode(collection: Collection, view: View, keep: bool) -> tuple[Tensor | None, list[str]]:
    """Every example (N, *view.shape), or None unless `keep`, and the errors: "" or one line each (N,).

    With `keep=False` each is decoded to see that it can be, and let go: for sets that are streamed.
    """
    store = cache_folder() / "decoded" / cache_key(collection, view, keep)
    cached = _load(store, keep) if collection.cacheable else None
    if cached:
        values, errors = cached
    else:
        layout = torch.channels_last if len(view.shape) == 3 else torch.contiguous_format
        values = torch.empty((len(collection), *view.shape), dtype=view.dtype, memory_format=layout) if keep else None
        errors = ["not decoded yet"] * len(collection)
    todo = [index for index, error in enumerate(errors) if error]  # what could not be read the last time may be read now
    changed = False
    for index, example in zip(todo, decoded(collection, todo, view), strict=True):
        errors[index] = example if isinstance(example, str) else ""
        changed |= not cached or not errors[index]
        if values is not None and not isinstance(example, str):
            values[index] = example
    if changed and collection.cacheable:
        _store(store, values, errors)
    return values, errors


def decoded(collection: Collection, chosen: list[int], view: View) -> Iterator[Tensor | str]:
    """In order, each chosen example decoded in a thread pool, or the line that says why it cannot be."""

    def one(index: int) -> Tensor | str:
        try:
            return view.example(collection, index)
        except InputError as error:
            return str(error)

    block = 2048  # results wait in memory until their turn: not more than these
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(chosen), block):
            yield from pool.map(one, chosen[start : start + block])
            if len(chosen) > block and collection.cacheable and sys.stderr.isatty():
                done = min(start + block, len(chosen))
                print(
                    f"\rdecoding {done:,} of {len(chosen):,} {collection.noun}s",
                    end="\n" if done == len(chosen) else "",
                    file=sys.stderr,
                )


def cache_key(collection: Collection, view: View, keep: bool) -> str:
    """A name whose first half says where the examples are and how they are seen, and whose second half what is in them, in order."""
    words = f"{FORMAT} {view.key} {keep} {collection.root}"
    place = hashlib.blake2b(words.encode(errors="surrogateescape"), digest_size=8)
    return f"{place.hexdigest()}-{hashlib.blake2b(collection.digests.tobytes(), digest_size=12).hexdigest()}"


def _load(store: Path, keep: bool) -> tuple[Tensor | None, list[str]] | None:
    try:
        errors = json.loads(store.with_suffix(".json").read_bytes())
        values = torch.from_numpy(np.load(store.with_suffix(".npy"), allow_pickle=False)) if keep else None
    except (OSError, ValueError):
        return None
    if values is not None and values.ndim == 4:
        values = values.permute(0, 3, 1, 2)
    return values, errors


def _store(store: Path, values: Tensor | None, errors: list[str]) -> None:
    """Best effort: a full disk must not stop a training that has all it needs in memory."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        forget(store)
        if values is not None:
            in_order = values.permute(0, 2, 3, 1) if values.ndim == 4 else values  # as images lie in memory: channels last
            with durable.replacing(store.with_suffix(".npy")) as file:
                np.save(file, in_order.numpy(), allow_pickle=False)
        durable.write_bytes(store.with_suffix(".json"), json.dumps(errors).encode())
    except OSError as error:
        print(f"warning: the decoded data is not cached in {store.parent}: {error.strerror}", file=sys.stderr)


def forget(store: Path) -> None:
    """Of what was decoded in the same way from the same folder, keep the newest beside `store`: an evaluation reads a part of it."""
    family = store.parent.glob(f"{store.name.partition('-')[0]}-*.json")
    for outdated in sorted(family, key=lambda path: path.stat().st_mtime, reverse=True)[1:]:
        for suffix in (".json", ".npy"):
            outdated.with_suffix(suffix).unlink(missing_ok=True)

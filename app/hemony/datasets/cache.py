"""Decoding a collection once: every image resized to the network's size, in one file keyed by the content of all of them."""

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
from hemony.config import Fit
from hemony.datasets.collection import Collection
from hemony.datasets.folder import cache_folder
from hemony.errors import InputError
from hemony.preprocessing import Resize

FORMAT = 2  # part of the key: a change of decoding or resizing raises it


def decode(collection: Collection, channels: int, size_px: int, fit: Fit, keep: bool) -> tuple[Tensor | None, list[str]]:
    """Every image as uint8 (N, channels, size_px, size_px), or None unless `keep`, and the errors: "" or one line each (N,).

    With `keep=False` each image is decoded to see that it can be, and let go: for sets that are streamed.
    """
    store = cache_folder() / "images" / cache_key(collection, channels, size_px, fit, keep)
    cached = _load(store, keep) if collection.cacheable else None
    if cached:
        pixels, errors = cached
    else:
        shape = (len(collection), channels, size_px, size_px)
        pixels = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last) if keep else None
        errors = ["not decoded yet"] * len(collection)
    todo = [index for index, error in enumerate(errors) if error]  # what could not be read the last time may be read now
    changed = False
    for index, image in zip(todo, decoded(collection, todo, channels, Resize(size_px, fit)), strict=True):
        errors[index] = image if isinstance(image, str) else ""
        changed |= not cached or not errors[index]
        if pixels is not None and not isinstance(image, str):
            pixels[index] = image
    if changed and collection.cacheable:
        _store(store, pixels, errors)
    return pixels, errors


def decoded(collection: Collection, chosen: list[int], channels: int, resize: Resize) -> Iterator[Tensor | str]:
    """In order, each chosen image decoded and resized in a thread pool, or the line that says why it cannot be."""

    def one(index: int) -> Tensor | str:
        try:
            return resized(collection, index, channels, resize)
        except InputError as error:
            return str(error)

    block = 2048  # results wait in memory until their turn: not more than these
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(chosen), block):
            yield from pool.map(one, chosen[start : start + block])
            if len(chosen) > block and collection.cacheable and sys.stderr.isatty():
                done = min(start + block, len(chosen))
                print(
                    f"\rdecoding {done:,} of {len(chosen):,} images",
                    end="\n" if done == len(chosen) else "",
                    file=sys.stderr,
                )


def resized(collection: Collection, index: int, channels: int, resize: Resize) -> Tensor:
    """One image, uint8 (channels, size_px, size_px). Raises InputError for one that cannot be decoded."""
    image: Tensor = resize(torch.from_numpy(collection.read(index, channels, resize.size_px)))
    return image


def cache_key(collection: Collection, channels: int, size_px: int, fit: Fit, keep: bool) -> str:
    """A name whose first half says where the images are and how they are decoded, and whose second half what is in them, in order."""
    place = hashlib.blake2b(f"{FORMAT} {channels} {size_px} {fit.name} {keep} {collection.root}".encode(), digest_size=8)
    return f"{place.hexdigest()}-{hashlib.blake2b(collection.digests.tobytes(), digest_size=12).hexdigest()}"


def _load(store: Path, keep: bool) -> tuple[Tensor | None, list[str]] | None:
    try:
        errors = json.loads(store.with_suffix(".json").read_bytes())
        pixels = torch.from_numpy(np.load(store.with_suffix(".npy"), allow_pickle=False)).permute(0, 3, 1, 2) if keep else None
    except (OSError, ValueError):
        return None
    return pixels, errors


def _store(store: Path, pixels: Tensor | None, errors: list[str]) -> None:
    """Best effort: a full disk must not stop a training that has all it needs in memory."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        forget(store)
        if pixels is not None:
            with durable.replacing(store.with_suffix(".npy")) as file:
                np.save(file, pixels.permute(0, 2, 3, 1).numpy(), allow_pickle=False)
        durable.write_bytes(store.with_suffix(".json"), json.dumps(errors).encode())
    except OSError as error:
        print(f"warning: the decoded images are not cached in {store.parent}: {error.strerror}", file=sys.stderr)


def forget(store: Path) -> None:
    """Of what was decoded in the same way from the same folder, keep the newest beside `store`: an evaluation reads a part of it."""
    family = store.parent.glob(f"{store.name.partition('-')[0]}-*.json")
    for outdated in sorted(family, key=lambda path: path.stat().st_mtime, reverse=True)[1:]:
        for suffix in (".json", ".npy"):
            outdated.with_suffix(suffix).unlink(missing_ok=True)

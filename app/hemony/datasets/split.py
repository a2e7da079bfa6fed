"""Which image is for training, which for choosing, which for the final figure.

An image's part follows from its class, the contents of that class and `split_seed`: renaming files or listing them in another order
changes nothing, and equal files of a class fall into the same part. The split that was made is stored in the bundle.
"""

import numpy as np

from hemony.config import DataConfig
from hemony.datasets.collection import PARTS, TEST, TRAIN, UNASSIGNED, VALIDATION, Collection, Digests, Indices
from hemony.errors import InputError
from hemony.media import shown


def assign_parts(collection: Collection, config: DataConfig) -> Indices:
    """(N,) TRAIN, VALIDATION or TEST for every image, stratified by class; parts that the layout gives stay as they are.

    Raises InputError for a class that would be missing from a part.
    """
    parts = collection.given.copy()
    if config.folds:
        parts[:] = UNASSIGNED  # a cross-validation makes its own test parts
    given = set(parts.tolist())
    for label, name in enumerate(collection.class_names):
        members = np.flatnonzero(collection.labels == label)
        _assign_class(parts, members, collection.digests, name, given, config)
    _check_parts(collection, parts, config)
    return parts


def _assign_class(parts: Indices, members: Indices, digests: Digests, name: str, given: set[int], config: DataConfig) -> None:
    """Fill in `parts` for one class's members: test first, then validation, then the rest for training."""
    if TEST not in given:
        free = members[np.isin(parts[members], (UNASSIGNED, TRAIN))]
        ranks, distinct = content_ranks(digests[free], config.split_seed)
        if config.folds:
            chosen = ranks % config.folds == config.fold
        else:
            chosen = ranks < max(1, round(config.test_share * distinct))
        parts[free[chosen]] = TEST
    if VALIDATION not in given and config.validation_share:
        free = members[np.isin(parts[members], (UNASSIGNED, TRAIN))]
        ranks, distinct = content_ranks(digests[free], config.split_seed + 1)
        parts[free[ranks < max(1, round(config.validation_share * distinct))]] = VALIDATION
    parts[members[parts[members] == UNASSIGNED]] = TRAIN


def content_ranks(digests: Digests, seed: int) -> tuple[Indices, int]:
    """A seeded shuffle by content: the rank of each digest among the distinct ones, and how many are distinct."""
    mixed = splitmix64(digests ^ splitmix64(np.array([seed], dtype=np.uint64)))
    distinct, ranks = np.unique(mixed, return_inverse=True)
    return ranks.astype(np.int64), len(distinct)


def splitmix64(values: Digests) -> Digests:
    """A bijective mixer of 64-bit integers (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def _check_parts(collection: Collection, parts: Indices, config: DataConfig) -> None:
    for part, part_name in enumerate(PARTS):
        if part == VALIDATION and not (parts == VALIDATION).any() and not config.validation_share:
            continue
        present = np.bincount(collection.labels[parts == part], minlength=len(collection.class_names))
        for label, count in enumerate(present):
            if not count:
                total = int((collection.labels == label).sum())
                name = collection.class_names[label]
                raise InputError(
                    f"class '{name}' has no image in the {part_name} part (it has {total} in all): "
                    f"add images to it, or take the class out everywhere"
                )


def duplicate_notes(collection: Collection, parts: Indices) -> list[str]:
    """What a careful person would want to know about equal files: across parts, and under different labels."""
    notes = []
    order = np.argsort(collection.digests, kind="stable")
    digests = collection.digests[order]
    starts = np.flatnonzero(np.r_[True, digests[1:] != digests[:-1]])
    groups = [group for group in np.split(order, starts[1:]) if len(group) > 1]
    across = [group for group in groups if len(set(parts[group].tolist())) > 1]
    if across:
        first = " = ".join(shown(collection.names[index]) for index in across[0][:2])
        notes.append(f"{len(across)} exact duplicates lie in more than one part, for example {first}")
    clashing = [group for group in groups if len(set(collection.labels[group].tolist())) > 1]
    if clashing:
        first = " = ".join(shown(collection.names[index]) for index in clashing[0][:2])
        notes.append(f"{len(clashing)} exact duplicates bear different labels, for example {first}")
    if groups and not across:
        extra = sum(len(group) - 1 for group in groups)
        notes.append(f"{extra} files are exact copies of another one; copies are kept in the same part")
    return notes

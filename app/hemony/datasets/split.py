"""Which example is for training, which for choosing, which for the final figure.

An example's part follows from its class, the contents of that class and `split_seed`: renaming files or listing them in another order
changes nothing, and equal files of a class fall into the same part. The split that was made is stored in the bundle.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hemony.config import DataConfig
from hemony.datasets.collection import (
    PARTS,
    TEST,
    TRAIN,
    UNASSIGNED,
    VALIDATION,
    AudioCollection,
    Collection,
    Digests,
    Indices,
    digest_of,
)
from hemony.errors import InputError, UsageError, did_you_mean
from hemony.media.files import shown


def assign_parts(collection: Collection, config: DataConfig) -> Indices:
    """(N,) TRAIN, VALIDATION or TEST for every example; parts that the layout gives stay as they are.

    An example of a later part whose content is in an earlier one too is UNASSIGNED: nobody is judged on what it has learnt.

    Stratified by class where there are no groups; where there are, a group lies in one part as a whole. Raises UsageError for a
    `holdout` that is no group, InputError for a class that would be missing from a part.
    """
    parts = collection.given.copy()
    if config.folds or config.holdout:
        parts[:] = UNASSIGNED  # they make their own test parts
    by_group = assign_test(parts, collection, config) or separate(collection, parts == TEST)
    if config.validation_share and VALIDATION not in parts:
        share = config.validation_share
        if by_group:
            free = np.isin(parts, (UNASSIGNED, TRAIN))
            parts[chosen_groups(collection, free, share, config.split_seed + 1)] = VALIDATION
        else:
            for_each_class(
                parts,
                collection,
                VALIDATION,
                lambda ranks, distinct: ranks < max(1, round(share * distinct)),
                config.split_seed + 1,
            )
    parts[parts == UNASSIGNED] = TRAIN
    for judged, learnt in ((VALIDATION, (TRAIN,)), (TEST, (TRAIN, VALIDATION))):  # parts that were given may share contents
        parts[(parts == judged) & np.isin(collection.digests, collection.digests[np.isin(parts, learnt)])] = UNASSIGNED
    _check_parts(collection, parts, config)
    return parts


def separate(collection: Collection, chosen: npt.NDArray[np.bool_]) -> bool:
    """Whether there are groups, and none has members both in and out of the `chosen` (N,)."""
    groups = np.array(collection.groups)
    return len(groups) > 0 and not set(groups[chosen].tolist()) & set(groups[~chosen].tolist())


def assign_test(parts: Indices, collection: Collection, config: DataConfig) -> bool:
    """Fill in the test part, and say whether it is made of groups."""
    groups = np.array(collection.groups)
    if config.holdout:
        parts[np.isin(groups, held_out(config.holdout, collection.groups))] = TEST
        return True
    if config.folds:
        own = collection.folds if isinstance(collection, AudioCollection) else np.full(len(collection), -1)
        if (own >= 0).all():
            if config.folds != own.max() + 1:
                raise UsageError(f"data.folds={config.folds}, but the data comes with {own.max() + 1} folds of its own")
            parts[own == config.fold] = TEST
        elif len(groups):
            parts[fold_of_groups(collection, config.folds, config.split_seed) == config.fold] = TEST
            return True
        else:
            for_each_class(parts, collection, TEST, lambda ranks, _: ranks % config.folds == config.fold, config.split_seed)
    elif TEST not in parts:
        share = config.test_share
        if len(groups):
            parts[chosen_groups(collection, parts != VALIDATION, share, config.split_seed)] = TEST
            return True
        for_each_class(parts, collection, TEST, lambda ranks, distinct: ranks < max(1, round(share * distinct)), config.split_seed)
    return False


def for_each_class(
    parts: Indices, collection: Collection, part: int, choose: Callable[[Indices, int], npt.NDArray[np.bool_]], seed: int
) -> None:
    """Move into `part` those of each class's free examples that `choose` takes, from their ranks and the number of distinct contents."""
    for label in range(len(collection.class_names)):
        free = np.flatnonzero((collection.labels == label) & np.isin(parts, (UNASSIGNED, TRAIN)))
        ranks, distinct = content_ranks(collection.digests[free], seed)
        parts[free[choose(ranks, distinct)]] = part


def held_out(names: str, groups: list[str]) -> list[str]:
    """The groups that `holdout` names, separated by commas."""
    known = sorted(set(groups))
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known) if known else "; the data has no groups"
            raise UsageError(f"data.holdout={name} is no group of the data{hint}")
    return wanted


def chosen_groups(collection: Collection, free: npt.NDArray[np.bool_], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """(N,) a seeded choice of whole groups among the free examples: of each class about `share` of those, at least one group, not all."""
    groups, taken = np.array(collection.groups), set[str]()
    for label in range(len(collection.class_names)):
        names, counts = np.unique(groups[free & (collection.labels == label)], return_counts=True)
        wanted = max(1, round(share * counts.sum()))
        size = dict(zip(names.tolist(), counts.tolist(), strict=True))
        have = sum(size.get(name, 0) for name in taken)
        for name in by_rank(names, seed):
            if have >= wanted or len(size.keys() - taken) <= 1:
                break
            if name not in taken:
                taken.add(name)
                have += size[name]
    return free & np.isin(groups, sorted(taken))


def fold_of_groups(collection: Collection, folds: int, seed: int) -> Indices:
    """(N,) a fold for every group, those of the class that a group mostly holds dealt out in turn."""
    groups = np.array(collection.groups)
    found: dict[str, int] = {}
    classes: dict[int, list[str]] = {}
    for name in np.unique(groups):
        classes.setdefault(int(np.bincount(collection.labels[groups == name]).argmax()), []).append(str(name))
    dealt = 0
    for names in classes.values():
        for name in by_rank(np.array(names), seed):
            found[name] = dealt % folds
            dealt += 1
    return np.array([found[name] for name in groups.tolist()])


def by_rank(names: npt.NDArray[np.str_], seed: int) -> list[str]:
    """The names in a seeded order that does not depend on which others there are."""
    if not len(names):
        return []
    order: list[str] = names[np.argsort(content_ranks(group_codes(names), seed)[0])].tolist()
    return order


def group_codes(names: npt.NDArray[np.str_]) -> Digests:
    """64 bits for each name."""
    codes = {name: digest_of(name.encode()) for name in set(names.tolist())}
    return np.array([codes[name] for name in names.tolist()], dtype=np.uint64)


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
                    f"class '{name}' has no {collection.noun} in the {part_name} part (it has {total} in all): "
                    f"add {collection.noun}s to it, or take the class out everywhere"
                )


def duplicate_notes(collection: Collection, parts: Indices) -> list[str]:
    """What a careful person would want to know about equal files: across parts, and under different labels."""
    notes = []
    first_of_unit = np.unique(collection.units(), return_index=True)[1]  # the windows of a recording are no copies of one another
    order = first_of_unit[np.argsort(collection.digests[first_of_unit], kind="stable")]
    digests = collection.digests[order]
    starts = np.flatnonzero(np.r_[True, digests[1:] != digests[:-1]])
    groups = [group for group in np.split(order, starts[1:]) if len(group) > 1]
    across = [group for group in groups if len(set(parts[group].tolist())) > 1]
    if across:
        first = " = ".join(shown(collection.names[index]) for index in across[0][:2])
        notes.append(
            f"{len(across)} exact duplicates lie in more than one part, for example {first}: they count for training alone"
        )
    clashing = [group for group in groups if len(set(collection.labels[group].tolist())) > 1]
    if clashing:
        first = " = ".join(shown(collection.names[index]) for index in clashing[0][:2])
        notes.append(f"{len(clashing)} exact duplicates bear different labels, for example {first}")
    if groups and not across:
        extra = sum(len(group) - 1 for group in groups)
        notes.append(f"{extra} files are exact copies of another one; copies are kept in the same part")
    return notes

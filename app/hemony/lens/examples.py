"""A few examples of the data that a bundle is inspected on."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hemony import compose, domains
from hemony.bundle import Bundle
from hemony.config import EvaluateConfig
from hemony.errors import InputError
from hemony.evaluate import recorded_data
from hemony.judge import common_test_examples, match_classes, match_domain, relabelled


@dataclass(frozen=True)
class Examples:
    """N of them, as they lie in files: of the test part, or of data that no training saw."""

    inputs: Tensor  # (N, *view.shape)
    labels: Tensor  # (N,) int64
    data: str  # where they are from


def drawn(bundle: Bundle, folder: Path, overrides: list[str], count: int, seed: int) -> Examples:
    """`count` examples of as many classes as there are. Raises InputError where there is no data."""
    found: list[Examples] = []

    def draw(job: compose.Job) -> None:
        config = job.config
        assert isinstance(config, EvaluateConfig)
        match_domain(config.data, bundle)
        collection = domains.find(config.data)
        match_classes(collection, bundle)
        mask, part = common_test_examples(collection, [bundle])
        collection = domains.of(config.data).seen(collection.keep(mask), bundle.preprocessing)
        labels = relabelled(collection, bundle)
        order = np.random.default_rng(seed).permutation(len(labels))
        rank = np.zeros(len(labels), dtype=np.int64)  # the first of every class come first
        for label in np.unique(labels):
            rank[order[labels[order] == label]] = np.arange((labels == label).sum())
        places = order[np.argsort(rank[order], kind="stable")][:count]
        inputs = torch.empty(len(places), *bundle.preprocessing.shape, dtype=bundle.preprocessing.dtype)
        for row in np.argsort(places):  # as they lie: what is rendered is rendered in blocks
            inputs[row] = bundle.preprocessing.example(collection, int(places[row]))
        found.append(Examples(inputs, torch.from_numpy(labels[places]).long(), f"{config.data.kind}, {part}"))

    overrides = [*recorded_data(folder, overrides), *overrides]
    if not overrides:
        raise InputError(f"{folder} records no data")
    with tempfile.TemporaryDirectory() as scratch:
        compose.run_hydra("evaluate", overrides, draw, own=[f"hydra.sweep.dir={scratch}"])
    return found[0]

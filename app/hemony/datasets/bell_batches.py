"""Training batches of excerpts and lines as a pure function of (seed, step), rendered by worker processes ahead of their turn."""

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hemony.datasets.bell_excerpts import Excerpts, excerpts
from hemony.datasets.bell_melodies import Lines, Melodies
from hemony.datasets.seeding import derived_seed

EPOCH_BATCHES = 50
LONGEST_LINE = 80  # notes
LINES_AN_EXCERPT = 6

Batch = tuple[Excerpts, Lines, int]  # and the step


class BellBatches:
    """Batches up to `epochs` times EPOCH_BATCHES. `step`, the number taken so far, is all the state there is."""

    epoch_batches = EPOCH_BATCHES

    def __init__(self, batch_size: int, epochs: int, seed: int, workers: int | None = None) -> None:
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.workers = max(1, (os.cpu_count() or 1) - 1) if workers is None else workers
        self.step = 0

    def __len__(self) -> int:
        """Batches of the whole training."""
        return self.epochs * self.epoch_batches

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the training, from `step` on."""
        left = _Rendered(self.batch_size, self.seed, range(self.step, len(self)))
        loader = DataLoader(left, batch_size=None, num_workers=self.workers, prefetch_factor=2 if self.workers else None)
        for found, lines in loader:
            step = self.step
            self.step += 1
            yield found, lines, step


class _Rendered(Dataset[tuple[Excerpts, Lines]]):
    """The batches of some steps."""

    def __init__(self, batch_size: int, seed: int, steps: range) -> None:
        self.batch_size = batch_size
        self.seed = seed
        self.steps = steps
        self.melodies = Melodies(seed)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, place: int) -> tuple[Excerpts, Lines]:
        torch.set_num_threads(1)  # one process a core: threads beside them would only compete
        draw = np.random.default_rng(derived_seed(self.seed, "bells", self.steps[place]))
        lines = self.melodies.lines(LINES_AN_EXCERPT * self.batch_size, LONGEST_LINE, draw)
        return excerpts(self.melodies, self.batch_size, draw), lines

"""Training batches of excerpts and lines as a pure function of (seed, step), rendered by worker processes ahead of their turn."""

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hemony.config import BellMelodiesConfig
from hemony.datasets.bell_excerpts import Excerpts, excerpts
from hemony.datasets.bell_melodies import Lines, Melodies
from hemony.datasets.seeding import derived_seed

EPOCH_BATCHES = 400
LONGEST_LINE = 80  # notes

Batch = tuple[Excerpts | None, Lines, int]  # and the step


class BellBatches:
    """Batches up to `epochs` times EPOCH_BATCHES. `step`, the number taken so far, is all the state there is.

    Each has lines of notes; every so many steps there are recordings beside them, which cost more and of which fewer are needed.
    """

    epoch_batches = EPOCH_BATCHES

    def __init__(self, data: BellMelodiesConfig, batch_size: int, epochs: int, seed: int) -> None:
        self.data = data
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.workers = max(1, (os.cpu_count() or 1) - 1) if data.workers is None else data.workers
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
        left = _Rendered(self.data, self.batch_size, self.seed, range(self.step, len(self)))
        ahead = 2 * self.data.recordings_every if self.workers else None  # recordings take long, and are to be there in time
        loader = DataLoader(left, batch_size=None, num_workers=self.workers, prefetch_factor=ahead)
        for found, lines in loader:
            step = self.step
            self.step += 1
            yield found, lines, step


class _Rendered(Dataset[tuple[Excerpts | None, Lines]]):
    """The batches of some steps."""

    def __init__(self, data: BellMelodiesConfig, batch_size: int, seed: int, steps: range) -> None:
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.steps = steps
        self.melodies = Melodies(seed)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, place: int) -> tuple[Excerpts | None, Lines]:
        torch.set_num_threads(1)  # one process a core: threads beside them would only compete
        step = self.steps[place]
        draw = np.random.default_rng(derived_seed(self.seed, "bells", step))
        lines = self.melodies.lines(self.data.lines, LONGEST_LINE, draw)
        return excerpts(self.melodies, self.batch_size, draw) if step % self.data.recordings_every == 0 else None, lines

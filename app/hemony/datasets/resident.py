"""Training batches as a pure function of (seed, step): held on the device where they fit, streamed through workers where not."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hemony.datasets.parts import Part
from hemony.datasets.seeding import generator

Batch = tuple[Tensor, Tensor, int]  # inputs (B, ...), targets (B,) or (B, K), step


@dataclass(frozen=True)
class Moment:
    """Where in the training a batch is augmented, and by which draws."""

    positions: Tensor  # (B,) of the batch's examples in the training part
    epoch: int
    share: float  # of the whole training that is done
    draw: Generator  # on the batch's device, for this step alone


class Augmentation(Protocol):
    """What is done to a training batch: inputs and labels (B,) in, inputs and labels or shares of classes (B, K) out."""

    def __call__(self, inputs: Tensor, labels: Tensor, moment: Moment, /) -> tuple[Tensor, Tensor]: ...


class TrainingBatches:
    """Augmented batches, one epoch after another, up to `epochs`.

    `step` is the number of batches taken so far. It is all the state there is: Lightning saves and restores it, and iteration
    goes on from there, in the middle of an epoch too. The last batch of an epoch is left out if it is not full, unless it is the
    only one.
    """

    def __init__(
        self,
        part: Part,
        batch_size: int,
        epochs: int,
        seed: int,
        augment: Augmentation,
        device: torch.device,
        workers: int | None = None,
    ) -> None:
        self.part = part
        self.batch_size = min(batch_size, len(part))
        self.epoch_batches = len(part) // self.batch_size
        self.epochs = epochs
        self.seed = seed
        self.augment = augment
        self.device = device
        self.workers = (os.cpu_count() or 1) if workers is None else workers
        self.step = 0
        self.labels = part.labels.to(device)
        self.store, self.places = part.store, part.places
        if part.store is not None and device.type != "cpu":  # not the other parts
            self.store, self.places = part.store[part.places].to(device), torch.arange(len(part), device=device)

    def __len__(self) -> int:
        """Batches of the whole training."""
        return self.epochs * self.epoch_batches

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the training, from `step` on."""
        while self.step < len(self):
            epoch, first = divmod(self.step, self.epoch_batches)
            order = torch.randperm(len(self.part), generator=generator(self.seed, "order", epoch))
            positions = list(torch.split(order[: self.epoch_batches * self.batch_size], self.batch_size))[first:]
            for chosen, inputs in zip(positions, self._inputs(positions), strict=True):
                step = self.step
                self.step += 1
                yield self._augmented(chosen.to(self.device), inputs, epoch, step)

    def _inputs(self, positions: list[Tensor]) -> Iterator[Tensor]:
        if self.store is not None:
            for chosen in positions:
                yield self.store[self.places[chosen.to(self.device)]]
        else:
            for inputs in stream(self.part, positions, self.workers):
                yield inputs.to(self.device, non_blocking=True)

    def _augmented(self, chosen: Tensor, inputs: Tensor, epoch: int, step: int) -> Batch:
        moment = Moment(chosen, epoch, step / len(self), generator(self.seed, "augment", step, self.device))
        return *self.augment(inputs, self.labels[chosen], moment), step


class PlainBatches:
    """Inputs and labels in order, without augmentation: for validation and evaluation."""

    def __init__(self, part: Part, batch_size: int, device: torch.device, workers: int | None = None) -> None:
        self.part = part
        self.batch_size = batch_size
        self.device = device
        self.workers = (os.cpu_count() or 1) if workers is None else workers

    def __len__(self) -> int:
        return -(-len(self.part) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        positions = list(torch.split(torch.arange(len(self.part)), self.batch_size))
        labels = self.part.labels
        for chosen, inputs in zip(positions, stream(self.part, positions, self.workers), strict=True):
            yield inputs.to(self.device), labels[chosen].to(self.device)


class _Stream(Dataset[Tensor]):
    """One item is one batch, so that a worker decodes a batch at a time."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __getitem__(self, positions: Tensor) -> Tensor:
        torch.set_num_threads(1)  # one process a core: threads beside them would only compete
        return self.part.batch(positions)


def stream(part: Part, positions: list[Tensor], workers: int) -> Iterator[Tensor]:
    """The batches at these positions: sliced from memory, or decoded by worker processes, in the order asked for."""
    if part.store is not None or not workers:
        yield from (part.batch(chosen) for chosen in positions)
        return
    sampler = cast("Sampler[int]", positions)
    yield from DataLoader(_Stream(part), batch_size=None, sampler=sampler, num_workers=workers, prefetch_factor=2)

"""Training what hears melodies: the sense of melody on notes in every step, the ear on recordings in those that have them."""

import math
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from hemony.config import TrainConfig
from hemony.datasets.bell_excerpts import Excerpts
from hemony.datasets.bell_melodies import UNKNOWN, Lines
from hemony.datasets.seeding import derived_seed, generator
from hemony.models.ear import HOP, SAMPLE_RATE_HZ, Ear, pitch_targets
from hemony.models.melody import MelodyNetwork
from hemony.models.precision import at_least_float32
from hemony.models.sense import settled
from hemony.optimizers import build_optimizer
from hemony.rules import Rule
from hemony.tasks.classification import NonFiniteLoss, averaging, learning_rate_share

Batch = tuple[Excerpts | None, Lines, int]  # and the step

MOMENTS = 160  # of a batch, at which pitches are asked for: other recordings teach more than all notes of these
JITTER = 300  # samples by which an onset may be found too early or too late
FALSE_SHARE = 0.3  # moments at which nothing begins, beside the onsets
FALSE_APART_S = 0.06  # of them, from any onset
EARLY_SHARE = 0.35  # of the moments that are heard as in a stream
STREAM_EVERY = 8  # steps, of which one judges melodies as in a stream
FIRST_EVERY = 2  # steps, of which one judges melodies at first hearing, unless it is as in a stream; the others at a second one
ONSET_WEIGHT = 4.0  # of a frame with an onset beside one without
ONSET_SCALE, KIND_SCALE = 10.0, 0.2  # of the losses beside that of the pitch


class Corrector(lightning.LightningModule):
    """Everything random in a step follows from (seed, step). `steps` is the number of optimiser steps of the whole training."""

    def __init__(self, network: MelodyNetwork, rule: Rule, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.network = network
        self.rule = rule
        self.config = config
        self.steps = steps
        self.averaged = AveragedModel(network, multi_avg_fn=averaging(config.trainer.ema_decay or 0.0))
        self.loss = torch.zeros(())  # of the last batch

    @property
    def best(self) -> MelodyNetwork:
        """The network to keep: the average over the last steps."""
        averaged = self.averaged.module
        assert isinstance(averaged, MelodyNetwork)
        return averaged

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_index: int) -> Batch:
        excerpts, lines, step = batch
        return excerpts.to(device) if excerpts else None, lines.to(device), step

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        excerpts, lines, step = batch
        torch.manual_seed(derived_seed(self.config.seed, "step", step))  # dropout
        loss = self.melody_loss(lines, step)
        if excerpts:
            draw = generator(self.config.seed, "moments", step, excerpts.waves.device)
            heard = ear_losses(self.network.ear, excerpts, draw)
            loss = loss + ONSET_SCALE * heard.onset + heard.pitch + KIND_SCALE * heard.kind
        if not math.isfinite(loss.item()):
            raise NonFiniteLoss(
                f"the loss is {loss.item()} at step {step}: training stopped before the update, the states saved before it are kept. "
                f"Try a lower optimizer.learning_rate or trainer.precision=fp32"
            )
        self.loss = loss.detach()
        return loss

    def melody_loss(self, lines: Lines, step: int) -> Tensor:
        """How wrong the sense of melody is: at first hearing, at a second one, or in a stream, by turns."""
        sense = self.network.sense
        if step % STREAM_EVERY == 0:
            return sense_loss(sense(lines.semitones, lines.step_s, lines.there, streaming=True), lines.answers)
        if step % FIRST_EVERY == 0:
            return sense_loss(sense(lines.semitones, lines.step_s, lines.there), lines.answers)
        with torch.no_grad():
            first = sense(lines.semitones, lines.step_s, lines.there)
        moved, certain = settled(lines.semitones, first)
        again = sense(moved, lines.step_s, lines.there, certain=certain)
        return sense_loss(again, lines.answers.masked_fill(certain, UNKNOWN))

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        self.rule.backward(loss)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The step, and right after it the average: whoever saves a state finds both of the same age."""
        super().optimizer_step(*args, **kwargs)
        self.averaged.update_parameters(self.network)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.network, self.config.optimizer)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_share(self.config, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@dataclass(frozen=True)
class EarLosses:
    """Of a batch of excerpts, each a mean."""

    onset: Tensor
    pitch: Tensor
    kind: Tensor


def ear_losses(ear: Ear, excerpts: Excerpts, draw: Generator) -> EarLosses:
    """How wrong the ear is about when notes begin, how high they are, and on which kind of bell."""
    waves, owner = excerpts.waves, excerpts.owner
    logits = ear.onsets(waves)
    frames = (excerpts.onset / HOP).round().long()
    target, weight = torch.zeros_like(logits), torch.ones_like(logits)
    for beside in (-1, 1):  # neither right nor wrong
        weight[owner, (frames + beside).clamp(0, logits.shape[1] - 1)] = 0.0
    target[owner, frames], weight[owner, frames] = 1.0, ONSET_WEIGHT
    onset = functional.binary_cross_entropy_with_logits(logits, target, weight)
    false_owner, false_onset = quiet_moments(excerpts, draw)
    chosen = torch.randperm(len(owner), generator=draw, device=owner.device)[:MOMENTS]
    owner = owner[chosen]
    jitter = torch.randint(-JITTER, JITTER + 1, owner.shape, generator=draw, device=owner.device)
    all_owner = torch.cat((owner, false_owner))
    all_onset = torch.cat((excerpts.onset[chosen] + jitter, false_onset)).clamp(0, waves.shape[1] - 1)
    midi = torch.cat((excerpts.midi[chosen], torch.full(false_owner.shape, math.nan, dtype=torch.float64, device=owner.device)))
    early = torch.rand(all_owner.shape, generator=draw, device=owner.device) < EARLY_SHARE
    pitches, kinds = ear.pitches(waves, all_owner, all_onset, early)
    pitch = -(pitch_targets(midi) * pitches.log_softmax(dim=1)).sum(dim=1).mean()
    kind = functional.cross_entropy(kinds[: len(owner)], excerpts.kind[owner], reduction="sum") / max(1, len(owner))
    return EarLosses(onset, pitch, kind)


def quiet_moments(excerpts: Excerpts, draw: Generator) -> tuple[Tensor, Tensor]:
    """Moments at which no note begins: in which recordings (M,), and samples (M,)."""
    device, count = excerpts.waves.device, max(4, round(min(len(excerpts.onset), MOMENTS) * FALSE_SHARE))
    owner = torch.randint(len(excerpts.waves), (count,), generator=draw, device=device)
    onset = torch.randint(excerpts.waves.shape[1], (count,), generator=draw, device=device)
    near = (onset[:, None] - excerpts.onset).abs() < FALSE_APART_S * SAMPLE_RATE_HZ
    quiet = ~(near & (owner[:, None] == excerpts.owner)).any(dim=1)
    return owner[quiet], onset[quiet]


def sense_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, N, answers) over the notes that have an answer; 0 if none has."""
    total = functional.cross_entropy(at_least_float32(logits).transpose(1, 2), answers, ignore_index=UNKNOWN, reduction="sum")
    return total / (answers != UNKNOWN).sum().clamp(min=1)

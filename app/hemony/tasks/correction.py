"""Training what hears melodies: the sense of melody on notes in every step, the ear on recordings in those that have them."""

import math
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from hemony.config import BellMelodiesConfig, TrainConfig
from hemony.datasets.bell_excerpts import Excerpts
from hemony.datasets.bell_melodies import UNKNOWN, Lines
from hemony.datasets.seeding import derived_seed, generator
from hemony.models.ear import CANDIDATE, HOP, SAMPLE_RATE_HZ, Ear, pitch_targets
from hemony.models.melody import MelodyNetwork
from hemony.models.precision import at_least_float32
from hemony.models.sense import settled
from hemony.optimizers import build_optimizer
from hemony.rules import Rule
from hemony.tasks.classification import NonFiniteLoss, averaging, learning_rate_share

Batch = tuple[Excerpts | None, Lines, int]  # and the step

MOMENTS = 320  # of a batch, at which pitches are asked for: other recordings teach more than all notes of these
JITTER = 300  # samples by which an onset may be found too early or too late
FALSE_SHARE = 0.3  # moments at which nothing begins, beside the onsets
FALSE_PEAKS_SHARE = 0.5  # and moments that might be taken for onsets, at most, where they are known
FALSE_APART_S = 0.06  # of them, from any onset
EARLY_SHARE = 0.35  # of the moments that are heard as in a stream
ONSETS_EVERY = 2  # batches of recordings, of which one is searched for onsets as well, which costs as much as all pitches
STREAM_EVERY = 8  # steps, of which one judges melodies as in a stream
FIRST_EVERY = 2  # steps, of which one judges melodies at first hearing, unless it is as in a stream; the others at a second one
ONSET_WEIGHT = 4.0  # of a frame with an onset beside one without
ONSET_SCALE, KIND_SCALE, CHORDS_SCALE = 10.0, 0.2, 1.0  # of the losses beside that of the pitch


class Corrector(lightning.LightningModule):
    """Everything random in a step follows from (seed, step). `steps` is the number of optimiser steps of the whole training."""

    def __init__(self, network: MelodyNetwork, rule: Rule, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.network = network
        self.rule = rule
        self.config = config
        assert isinstance(config.data, BellMelodiesConfig)
        self.recordings_every = config.data.recordings_every
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
            heard = ear_losses(self.network.ear, excerpts, draw, onsets=step // self.recordings_every % ONSETS_EVERY == 0)
            loss = loss + ONSET_SCALE * heard.onset + heard.pitch + KIND_SCALE * heard.kind + CHORDS_SCALE * heard.chords
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
    chords: Tensor


def ear_losses(ear: Ear, excerpts: Excerpts, draw: Generator, *, onsets: bool = True) -> EarLosses:
    """How wrong the ear is about when notes begin, if that is asked, how high they are, on which kind of bell, and whether with chords."""
    waves, owner = excerpts.waves, excerpts.owner
    false_owner, false_onset = quiet_moments(excerpts, draw)
    onset = torch.zeros((), device=waves.device)
    if onsets:
        logits = ear.onsets(waves)
        onset = onset_loss(logits, excerpts)
        more_owner, more_onset = false_peaks(excerpts, logits.detach(), draw)
        false_owner, false_onset = torch.cat((false_owner, more_owner)), torch.cat((false_onset, more_onset))
    chosen = torch.randperm(len(owner), generator=draw, device=owner.device)[:MOMENTS]
    owner = owner[chosen]
    jitter = torch.randint(-JITTER, JITTER + 1, owner.shape, generator=draw, device=owner.device)
    all_owner = torch.cat((owner, false_owner))
    all_onset = torch.cat((excerpts.onset[chosen] + jitter, false_onset)).clamp(0, waves.shape[1] - 1)
    midi = torch.cat((excerpts.midi[chosen], torch.full(false_owner.shape, math.nan, dtype=torch.float64, device=owner.device)))
    early = torch.rand(all_owner.shape, generator=draw, device=owner.device) < EARLY_SHARE
    heard, targets = ear.pitches(waves, all_owner, all_onset, early), pitch_targets(midi)
    highest, only = (-(targets * logits.log_softmax(dim=1)).sum(dim=1) for logits in (heard.highest, heard.only))
    pitch = highest.mean() + (only * ~excerpts.chords[all_owner]).mean()
    struck, notes = slice(len(owner)), max(1, len(owner))
    kind = functional.cross_entropy(heard.kind[struck], excerpts.kind[owner], reduction="sum") / notes
    chords = excerpts.chords[owner].to(heard.chords.dtype)
    chord = functional.binary_cross_entropy_with_logits(heard.chords[struck], chords, reduction="sum") / notes
    return EarLosses(onset, pitch, kind, chord)


def onset_loss(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """How wrong logits (B, frames) are about when notes begin: cross-entropy of each frame."""
    owner, frames = excerpts.owner, (excerpts.onset / HOP).round().long()
    target, weight = torch.zeros_like(logits), torch.ones_like(logits)
    for beside in (-1, 1):  # neither right nor wrong
        weight[owner, (frames + beside).clamp(0, logits.shape[1] - 1)] = 0.0
    target[owner, frames], weight[owner, frames] = 1.0, ONSET_WEIGHT
    return functional.binary_cross_entropy_with_logits(logits, target, weight)


def quiet_moments(excerpts: Excerpts, draw: Generator) -> tuple[Tensor, Tensor]:
    """Moments at which no note begins: in which recordings (M,), and samples (M,)."""
    device, count = excerpts.waves.device, max(4, round(min(len(excerpts.onset), MOMENTS) * FALSE_SHARE))
    owner = torch.randint(len(excerpts.waves), (count,), generator=draw, device=device)
    onset = torch.randint(excerpts.waves.shape[1], (count,), generator=draw, device=device)
    quiet = away(excerpts, owner, onset)
    return owner[quiet], onset[quiet]


def false_peaks(excerpts: Excerpts, logits: Tensor, draw: Generator) -> tuple[Tensor, Tensor]:
    """Moments that the ear, by its logits (B, frames), would take for a beginning though there is none: what it has most to learn from."""
    beside = functional.pad(logits, (1, 1), value=-math.inf)
    peaks = (logits.sigmoid() >= CANDIDATE) & (logits > beside[:, :-2]) & (logits >= beside[:, 2:])
    owner, frame = peaks.nonzero(as_tuple=True)
    onset = frame * HOP
    false = away(excerpts, owner, onset).nonzero()[:, 0]
    false = false[torch.randperm(len(false), generator=draw, device=false.device)[: round(MOMENTS * FALSE_PEAKS_SHARE)]]
    return owner[false], onset[false]


def away(excerpts: Excerpts, owner: Tensor, onset: Tensor) -> Tensor:
    """Whether moments (M,) of recordings `owner` (M,) are far enough from all where a note begins (M,)."""
    near = (onset[:, None] - excerpts.onset).abs() < FALSE_APART_S * SAMPLE_RATE_HZ
    return ~(near & (owner[:, None] == excerpts.owner)).any(dim=1)


def sense_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, N, ANSWERS + 1) over the notes that have an answer; 0 if none has."""
    total = functional.cross_entropy(at_least_float32(logits).transpose(1, 2), answers, ignore_index=UNKNOWN, reduction="sum")
    return total / (answers != UNKNOWN).sum().clamp(min=1)

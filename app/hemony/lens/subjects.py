"""What of a bundle, or of anybody's own module, is put to the proof: modules with inputs and a loss, as functions of every number in them."""

import copy
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony.bundle import Bundle
from hemony.datasets.bell_excerpts import Excerpts, excerpts
from hemony.datasets.bell_melodies import Melodies
from hemony.datasets.seeding import derived_seed, generator
from hemony.errors import UsageError, one_line
from hemony.lens.examples import Examples
from hemony.lens.taylor import projection
from hemony.melody_bundle import MelodyBundle
from hemony.models.ear import SAMPLE_RATE_HZ, Ear
from hemony.tasks.correction import ear_losses, onset_loss, sense_loss

DRAWN = 16  # examples
FEW = 2  # of them: in their gradients nothing is hidden by a mean over many
EXCERPT_S, LINE = 1.0, 24  # of a recording, and notes of a melody


@dataclass(frozen=True)
class Trial:
    """A module, inputs for it and what makes a scalar of its answer; a projection of it where `loss` is None."""

    prefix: str  # before the names of its layers
    module: nn.Module
    inputs: tuple[Any, ...]
    loss: Callable[[Any], Tensor] | None
    many: bool = False  # whether the module takes batches of any size


def of_recogniser(bundle: Bundle, examples: Examples | None, seed: int, count: int = FEW) -> list[Trial]:
    """Its network on `count` normalised examples, or on noise where there is no data."""
    draw = generator(seed, "inspected")
    if examples is None:
        inputs = torch.randn(count, *bundle.preprocessing.shape, generator=draw) * 0.3
        labels = torch.randint(len(bundle.labels), (count,), generator=draw)
    else:
        inputs = bundle.recogniser.normalise(examples.inputs[:count])
        labels = examples.labels[:count]
    return [Trial("", bundle.recogniser.network, (inputs,), lambda logits: functional.cross_entropy(logits, labels), many=True)]


class EarTrial(nn.Module):
    """An ear that hears an excerpt and answers with how wrong it is."""

    def __init__(self, ear: Ear, heard: Excerpts, seed: int) -> None:
        super().__init__()
        self.ear, self.heard, self.seed = ear, heard, seed

    def forward(self, waves: Tensor) -> Tensor:
        heard, draw = replace(self.heard, waves=waves), generator(self.seed, "moments")
        losses = ear_losses(self.ear, heard, draw, onsets=False)  # the same moments whatever the weights: a smooth function of them
        return onset_loss(self.ear.onsets(waves), heard) + losses.pitch + losses.kind + losses.chords


class SenseTrial(nn.Module):
    """A sense of melody on lines of notes: logits."""

    def __init__(self, sense: nn.Module, step_s: Tensor, there: Tensor) -> None:
        super().__init__()
        self.sense, self.step_s, self.there = sense, step_s, there

    def forward(self, semitones: Tensor) -> Tensor:
        logits: Tensor = self.sense(semitones, self.step_s.to(semitones.dtype), self.there)
        return logits


def of_melody(bundle: MelodyBundle, seed: int) -> list[Trial]:
    """Its ear on a recording and its sense of melody on lines of notes, both rendered."""
    draw = np.random.default_rng(derived_seed(seed, "inspected"))
    melodies = Melodies(seed)
    heard = cut(excerpts(melodies, 1, draw))
    lines = melodies.lines(FEW, LINE, draw)
    sense = SenseTrial(bundle.network.sense, lines.step_s, lines.there)
    return [
        Trial("ear", EarTrial(bundle.network.ear, heard, seed), (heard.waves,), lambda loss: loss),
        Trial("sense", sense, (lines.semitones,), lambda logits: sense_loss(logits, lines.answers)),
    ]


def cut(heard: Excerpts) -> Excerpts:
    """The beginning of an excerpt."""
    samples = round(EXCERPT_S * SAMPLE_RATE_HZ)
    inside = heard.onset < samples
    return replace(
        heard, waves=heard.waves[:, :samples], owner=heard.owner[inside], onset=heard.onset[inside], midi=heard.midi[inside]
    )


def of_factory(path: str) -> list[Trial]:
    """What `package.module:factory` makes: (module, inputs), inputs a tensor or several. Raises UsageError for anything else."""
    name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it
    try:
        made = getattr(importlib.import_module(name), attribute)()
    except Exception as error:  # it is the user's own code
        raise UsageError(
            f"{path} cannot be called: {one_line(error)}; name a function without arguments as package.module:function"
        ) from None
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], nn.Module):
        raise UsageError(f"{path} gives {type(made).__name__}; (module, inputs) is expected, inputs a tensor or a tuple of them")
    module, inputs = made
    inputs = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    try:
        with torch.no_grad():
            projection(copy.deepcopy(module)(*inputs))
    except Exception as error:
        raise UsageError(f"{path}: the module does not answer to its inputs with a tensor: {one_line(error)}") from None
    return [Trial("", module, inputs, None)]

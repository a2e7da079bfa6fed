"""`data=bell_types`: which kind of bell is this, or is it none? Made of `hemony.bells`, without end for training, fixed for the test.

No training clip is ever drawn from where the test's notes and factors of decay lie, in a gap between those of the training, nor from
where the widths of its spreads, its transients and its rooms lie, beyond them.
"""

import functools
import threading
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from hemony.bells.strikes import Range, others, strikes
from hemony.bells.synth import BellKind
from hemony.config import BellTypesConfig
from hemony.datasets.collection import TEST, TRAIN, VALIDATION, AudioCollection, Samples, digest_of
from hemony.datasets.resident import Moment
from hemony.datasets.seeding import generator, uniform
from hemony.datasets.wave_augment import WaveAugment, change_gain, in_noise, in_rooms, later, to_some
from hemony.media import FULL_SCALE

NONE = "none"
CLASS_NAMES = sorted([*(kind.value for kind in BellKind), NONE])
SAMPLE_RATE_HZ = 22_050
CLIP_S = 2.0
CLIPS = {TRAIN: 2000, VALIDATION: 500, TEST: 2000}
BATCH = 100  # clips rendered at a time
RENDERING = threading.Lock()


@dataclass(frozen=True)
class Place:
    """How clips are recorded."""

    t60_s: tuple[float, float]
    snr_db: tuple[float, float]
    level_db: tuple[float, float]


TRAINED = Range(
    pitch_classes=(5.0, 15.0), spread=(0.4, 1.2), decay=((0.2, 1.6), (2.0, 4.0)), transient_db=(-40.0, -3.0), level_spread_db=4.0
)
TESTED = Range(pitch_classes=(3.0, 5.0), spread=(1.2, 1.5), decay=((1.6, 2.0),), transient_db=(-3.0, 0.0), level_spread_db=0.0)
TRAINED_PLACE = Place(t60_s=(0.05, 0.8), snr_db=(0.0, 50.0), level_db=(-40.0, 0.0))
TESTED_PLACE = Place(t60_s=(0.8, 1.2), snr_db=(6.0, 50.0), level_db=(-40.0, 0.0))


def find(config: BellTypesConfig) -> AudioCollection:
    """The clips of all parts, rendered when they are first read."""
    parts = np.repeat(list(CLIPS), list(CLIPS.values()))
    labels = np.concatenate([np.arange(count) % len(CLASS_NAMES) for count in CLIPS.values()])
    numbers = np.concatenate([np.arange(count) for count in CLIPS.values()])
    names = [f"{CLASS_NAMES[label]}-{part}-{number:04d}" for part, label, number in zip(parts, labels, numbers, strict=True)]

    def read(index: int, sample_rate_hz: int, start_s: float = 0.0, end_s: float | None = None) -> Samples:
        part, block = int(parts[index]), int(numbers[index]) // BATCH
        with RENDERING:  # whoever comes next finds the block made
            clip: Samples = fixed_clips(part, block, sample_rate_hz)[int(numbers[index]) % BATCH]
        return clip[round(start_s * sample_rate_hz) : None if end_s is None else round(end_s * sample_rate_hz)]

    return AudioCollection(
        class_names=CLASS_NAMES,
        names=names,
        labels=labels,
        digests=np.array([digest_of(name.encode()) for name in names], dtype=np.uint64),
        given=parts,
        durations_s=np.full(len(names), CLIP_S),
        sample_rates_hz=np.full(len(names), SAMPLE_RATE_HZ),
        folds=np.full(len(names), -1),
        read=read,
        root="hemony.bells",
        cacheable=False,
    )


@functools.lru_cache(maxsize=4)
def fixed_clips(part: int, block: int, sample_rate_hz: int) -> Samples:
    """BATCH clips of the labels 0, 1, 2, ... in turn, int16 (BATCH, samples)."""
    draw = generator(part, "bell_types", block)
    labels = torch.arange(block * BATCH, (block + 1) * BATCH) % len(CLASS_NAMES)
    ranges, place = (TESTED, TESTED_PLACE) if part == TEST else (TRAINED, TRAINED_PLACE)
    waves = recorded(render(labels, round(CLIP_S * sample_rate_hz), sample_rate_hz, ranges, draw), place, sample_rate_hz, draw)
    samples: Samples = (waves * (FULL_SCALE - 1)).round().to(torch.int16).numpy()
    return samples


def render(labels: Tensor, samples: int, sample_rate_hz: int, ranges: Range, draw: Generator) -> Tensor:
    """A new sound of each label's kind (B, samples), peak 1."""
    waves = torch.empty((len(labels), samples), device=draw.device)
    for label, name in enumerate(CLASS_NAMES):
        chosen = labels == label
        count = int(chosen.sum())
        if not count:
            continue
        if name == NONE:
            waves[chosen] = others(count, samples, sample_rate_hz, ranges, draw)
        else:
            waves[chosen] = strikes(BellKind(name), count, samples, sample_rate_hz, ranges, draw).to(waves.dtype)
    return waves


def recorded(waves: Tensor, place: Place, sample_rate_hz: int, draw: Generator) -> Tensor:
    """Clips (B, samples) of peak 1 as a microphone may have heard them: in a room, in noise, cut short, at some level, never clipped."""
    waves = to_some(waves, 0.6, lambda some: in_rooms(some, sample_rate_hz, place.t60_s, 0.4, draw), draw)
    waves = to_some(waves, 0.8, lambda some: in_noise(some, place.snr_db, draw), draw)
    waves = to_some(waves, 0.3, lambda some: cut_short(some, draw), draw)
    waves = waves / waves.abs().amax(dim=1, keepdim=True).clamp(min=1e-6)
    low_db, high_db = place.level_db
    return change_gain(waves * 10 ** ((low_db + high_db) / 40), (high_db - low_db) / 2, draw)


def cut_short(waves: Tensor, draw: Generator) -> Tensor:
    """The first two fifths or more of each clip in the middle of silence: how a view sees a recording that is shorter than a clip."""
    count, samples = waves.shape
    lengths = uniform((count,), 0.4, 1.0, draw) * samples
    places = torch.arange(samples, device=waves.device)
    return later(waves * (places < lengths[:, None]), ((samples - lengths) / 2).long()[:, None])


class EndlessBells:
    """A training batch made anew at every step: only the labels of the given one are kept."""

    def __init__(self, augment: WaveAugment) -> None:
        self.augment = augment

    def __call__(self, samples: Tensor, labels: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        rate_hz = self.augment.sample_rate_hz
        waves = recorded(render(labels, samples.shape[1], rate_hz, TRAINED, moment.draw), TRAINED_PLACE, rate_hz, moment.draw)
        return self.augment(waves * FULL_SCALE, labels, moment)

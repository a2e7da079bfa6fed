"""Bells from their partials: batches of strikes as sums of decaying sinusoids, with the exact pitch that each was given.

The tables hold what was measured on real bells: ratios to the strike note with their spread between bells, levels and decay times
from the lowest to the highest bell, and how often a partial is a doublet, two modes so close that they beat. Sources: 101 carillon
bells of two towers (1658 and 20th century); Fletcher and Rossing 1998, "The Physics of Musical Instruments", chapters 19 to 21, for
tubular bells, glockenspiel bars and handbells.
"""

import math
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Generator, Tensor

from hemony.bells.tuning import midi_to_hz, shifted

NEPERS_PER_T60 = 3 * math.log(10)  # an amplitude falls by 60 dB in T60


class BellKind(Enum):
    carillon = "carillon"
    handbell = "handbell"
    tubular_bell = "tubular_bell"
    glockenspiel = "glockenspiel"


@dataclass(frozen=True)
class Partial:
    """One partial of a kind of bell. Pairs are at the lowest and the highest strike note of the kind, and linear in between."""

    ratio: float  # to the strike note
    spread_cents: float  # standard deviation between bells
    level_db: tuple[float, float]  # of the amplitude
    t60_s: tuple[float, float]  # linear in their logarithms
    doublet_share: float = 0.0  # of the bells have two modes here


@dataclass(frozen=True)
class BellTable:
    """A kind of bell: its compass in MIDI numbers of the strike note, its partials, how far doublets are apart."""

    lowest_midi: float
    highest_midi: float
    partials: tuple[Partial, ...]
    anchors: tuple[tuple[int, float], ...]  # the strike note is the median of these partials' frequencies times these factors
    doublet_hz: tuple[tuple[float, float], tuple[float, float]] = (
        (1.0, 2.5),
        (2.0, 6.0),
    )  # least and most, lowest and highest bell


TABLES = {
    BellKind.carillon: BellTable(
        55, 104,
        (
            Partial(0.500, 2, (-16, 0), (48, 6.4), 0.3),  # hum
            Partial(1.000, 2, (-8, -13), (14, 2.7), 0.5),  # prime
            Partial(1.195, 12, (-4, -13), (20, 1.9), 0.5),  # tierce, a minor third
            Partial(1.505, 36, (-40, -40), (6, 3), 0.3),  # quint
            Partial(2.000, 4, (-1, -22), (5.5, 2.1), 0.7),  # nominal
            Partial(2.500, 30, (-30, -40), (5, 2), 0.3),  # deciem
            Partial(2.600, 30, (-30, -40), (5, 2), 0.3),  # undeciem
            Partial(2.976, 17, (-4, -38), (6, 1.8), 0.5),  # superquint
            Partial(3.300, 40, (-28, -42), (4, 2), 0.3),
            Partial(4.080, 24, (-13, -46), (3.5, 1.6), 0.5),  # octave nominal
            Partial(5.350, 30, (-18, -52), (2, 1), 0.3),
            Partial(6.700, 35, (-24, -58), (1.5, 0.8), 0.3),
        ),
        anchors=((0, 2.0), (1, 1.0), (4, 0.5)),
    ),
    BellKind.handbell: BellTable(
        55, 103,
        (
            Partial(1.000, 3, (0, 0), (9, 2.5), 0.4),
            Partial(2.000, 2, (-22, -26), (5, 1.4)),  # radiated octave of the fundamental, from the motion of the rim
            Partial(3.000, 15, (-7, -12), (4, 1.0), 0.4),
            Partial(4.100, 40, (-34, -40), (2, 0.7)),
            Partial(5.400, 50, (-32, -40), (1.5, 0.5), 0.3),
            Partial(6.200, 60, (-38, -46), (1.2, 0.4)),
        ),
        anchors=((0, 1.0),),
    ),
    BellKind.tubular_bell: BellTable(
        60, 79,
        (
            Partial(0.634, 25, (-16, -16), (9, 5), 0.3),
            Partial(1.235, 15, (-8, -8), (8, 4), 0.3),
            Partial(2.007, 6, (-2, -2), (6, 3), 0.3),  # mode 4
            Partial(2.930, 12, (0, -2), (5, 2.5), 0.3),
            Partial(3.960, 18, (-3, -6), (4, 2), 0.3),
            Partial(4.930, 25, (-8, -12), (3, 1.5), 0.3),
            Partial(6.000, 35, (-16, -20), (2, 1), 0.2),
            Partial(7.100, 40, (-22, -28), (1.5, 0.8), 0.2),
        ),
        anchors=((2, 0.5),),
    ),
    BellKind.glockenspiel: BellTable(
        79, 108,
        (
            Partial(1.00, 2, (0, 0), (5, 1.5)),
            Partial(2.70, 45, (-12, -18), (1.6, 0.5)),
            Partial(5.30, 60, (-16, -24), (0.7, 0.25)),
            Partial(8.80, 70, (-22, -32), (0.35, 0.15)),
        ),
        anchors=((0, 1.0),),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Modes:
    """B strikes of M decaying sinusoids each, and the pitch that each is heard at."""

    frequency_hz: Tensor  # (B, M)
    amplitude: Tensor  # (B, M), 0 for one that is not there
    t60_s: Tensor  # (B, M)
    phase: Tensor  # (B, M), radians
    strike_hz: Tensor  # (B,): of what was drawn, not of what was asked for


def draw_modes(kind: BellKind, strike_midi: Tensor, draw: Generator, spread: float = 1.0) -> Modes:
    """A bell for each strike note (B,), MIDI: ratios, levels, decays and doublets drawn as they differ between real bells.

    `spread` multiplies the spread of the ratios. The modes come in pairs, (B, 2 * partials): the second of a pair is silent unless the
    partial is a doublet.
    """
    table, device = TABLES[kind], strike_midi.device
    count, partials = len(strike_midi), len(table.partials)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, device=device, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw, device=device, dtype=torch.float64)

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    midi = strike_midi.double()[:, None]
    place = ((midi - table.lowest_midi) / (table.highest_midi - table.lowest_midi)).clamp(-0.2, 1.2)  # (B, 1): 0 lowest, 1 highest
    ratios = column([partial.ratio for partial in table.partials])
    cents = normal(count, partials) * column([partial.spread_cents for partial in table.partials]) * spread
    centres_hz = shifted(midi_to_hz(midi) * ratios, cents)  # (B, P)
    low_db, high_db = (column([partial.level_db[end] for partial in table.partials]) for end in (0, 1))
    levels_db = low_db + (high_db - low_db) * place + normal(count, partials) * 4
    low_t60, high_t60 = (column([partial.t60_s[end] for partial in table.partials]).log() for end in (0, 1))
    t60_s = (low_t60 + (high_t60 - low_t60) * place + normal(count, partials) * 0.25).exp()
    doubled = uniform(count, partials) < column([partial.doublet_share for partial in table.partials])
    (least_low, most_low), (least_high, most_high) = table.doublet_hz
    least, most = least_low + (least_high - least_low) * place, most_low + (most_high - most_low) * place
    apart_hz = (least + (most - least) * uniform(count, partials)) * doubled
    second = torch.where(doubled, 0.2 + 0.8 * uniform(count, partials), 0.0)  # amplitude beside the first, which has 1
    weight = 1 + second
    first_hz = centres_hz - apart_hz * second / weight  # the amplitude-weighted mean of the two is the centre
    amplitude = 10 ** (levels_db / 20) / weight
    anchors = torch.stack([centres_hz[:, index] * factor for index, factor in table.anchors])
    return Modes(
        frequency_hz=torch.cat((first_hz, first_hz + apart_hz), dim=1),
        amplitude=torch.cat((amplitude, amplitude * second), dim=1),
        t60_s=torch.cat((t60_s, t60_s * (0.8 + 0.4 * uniform(count, partials))), dim=1),
        phase=uniform(count, 2 * partials) * 2 * math.pi,
        strike_hz=anchors.median(dim=0).values,
    )


def sound(modes: Modes, sample_rate_hz: int, samples: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The sum of the modes (B, samples). Differentiable in frequency, amplitude, decay and phase.

    A decaying sinusoid is a complex exponential, and exp(r (s + k)) = exp(r s) exp(r k): with block starts s and offsets k inside a
    block, all samples of all blocks are one product of matrices for each bell. Modes above half the sample rate are left out.
    """
    block = max(1, math.isqrt(samples))
    blocks = -(-samples // block)
    rate = torch.complex(-NEPERS_PER_T60 / modes.t60_s, 2 * math.pi * modes.frequency_hz) / sample_rate_hz  # a sample, (B, M)
    offsets = torch.arange(max(block, blocks), dtype=torch.float64, device=rate.device)
    heard = modes.amplitude * (modes.frequency_hz < sample_rate_hz / 2)
    starts = (rate[..., None] * (offsets[:blocks] * block)).exp() * torch.polar(heard, modes.phase)[..., None]  # (B, M, blocks)
    inside = (rate[..., None] * offsets[:block]).exp()  # (B, M, block)
    # the imaginary part of the product of two complex matrices, as one real product
    left = torch.cat((starts.real, starts.imag), dim=1).to(dtype)  # (B, 2M, blocks)
    right = torch.cat((inside.imag, inside.real), dim=1).to(dtype)  # (B, 2M, block)
    return (left.transpose(1, 2) @ right).flatten(1)[:, :samples]

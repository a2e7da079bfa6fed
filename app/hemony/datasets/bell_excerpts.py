"""Recordings of melodies on bells without end: what the ear learns from.

Tunes are those from which the sense of melody learns; bells, errors, rooms, noise, microphones and players are drawn for each excerpt.
A few excerpts hold no bells at all.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hemony.bells.pieces import Mistuning, Playing, fitting, play
from hemony.bells.strikes import Range, others
from hemony.bells.tunes import Score
from hemony.datasets.bell_melodies import Melodies
from hemony.datasets.wave_augment import coloured_noise
from hemony.models.ear import KINDS, SAMPLE_RATE_HZ

EXCERPT_S = 8.0
KIND_SHARES = (0.49, 0.17, 0.17, 0.17)  # of KINDS: carillons are the hardest to hear, and the most that there is to hear
FOREIGN_SHARE = 0.08  # of the excerpts, with sounds that are no bells
HARD_SHARE = 0.5  # of the others: quick, in a large room, with noise; where most is missed there is most to learn
ANYTHING = Range((0.0, 12.0), (0.5, 1.5), ((0.5, 1.5),), (-30.0, -5.0), 3.0)
OCTAVES = 9  # of the microphone's response


@dataclass(frozen=True)
class Excerpts:
    """B recordings and the N notes of their melodies."""

    waves: Tensor  # (B, samples) float32 at SAMPLE_RATE_HZ, peak at most 1
    owner: Tensor  # (N,) int64: in which recording
    onset: Tensor  # (N,) int64: samples
    midi: Tensor  # (N,) float64: the strike note, with fractions
    kind: Tensor  # (B,) int64: of KINDS; -1 for no bells
    chords: Tensor  # (B,) bool: whether bells are struck together with some notes

    def to(self, device: torch.device) -> "Excerpts":
        return Excerpts(*(getattr(self, entry.name).to(device) for entry in fields(self)))


def excerpts(melodies: Melodies, count: int, draw: np.random.Generator) -> Excerpts:
    """`count` of them."""
    samples = round(EXCERPT_S * SAMPLE_RATE_HZ)
    waves, kinds, chords = [], [], []
    owner, onset, midi = (
        [torch.zeros(0, dtype=torch.int64)],
        [torch.zeros(0, dtype=torch.int64)],
        [torch.zeros(0, dtype=torch.float64)],
    )
    for number in range(count):
        torch_draw = torch.Generator().manual_seed(int(draw.integers(2**62)))
        if draw.random() < FOREIGN_SHARE:
            waves.append(others(1, samples, SAMPLE_RATE_HZ, ANYTHING, torch_draw)[0] * 10 ** draw.uniform(-2, 0))
            kinds.append(-1)
            chords.append(False)
            continue
        place = int(draw.choice(len(KINDS), p=KIND_SHARES))
        hard = draw.random() < HARD_SHARE
        score = fitting(melodies.score(draw), KINDS[place])
        score, begins_s = beginning(moved(score, draw), draw, quick=hard)
        mistuning, playing = drawn_mistuning(draw), drawn_playing(place, draw, hard=hard)
        wave, notes = play(score, begins_s, mistuning, playing, torch_draw)
        wave = functional.pad(wave, (0, max(0, samples - len(wave))))[:samples]
        wave = through_microphone(wave, draw)
        if draw.random() < 0.4:
            snr_db = draw.uniform(6, 50)
            noise = coloured_noise(1, samples, torch_draw, steepest=1.5)[0]
            wave = wave + noise * wave.square().mean().sqrt() * 10 ** (-snr_db / 20)
        waves.append(wave / wave.abs().max().clamp(min=1e-9))
        kinds.append(place)
        chords.append(playing.chord_every > 0)
        inside = notes.onset_s < EXCERPT_S - 0.4
        onset.append(torch.from_numpy(np.round(notes.onset_s[inside] * SAMPLE_RATE_HZ).astype(np.int64)))
        sounding = notes.intended_midi + (notes.deviation_cents + notes.tuning_cents) / 100
        midi.append(torch.from_numpy(sounding[inside]))
        owner.append(torch.full((int(inside.sum()),), number))
    return Excerpts(
        torch.stack(waves), torch.cat(owner), torch.cat(onset), torch.cat(midi), torch.tensor(kinds), torch.tensor(chords)
    )


def moved(score: Score, draw: np.random.Generator) -> Score:
    """By up to half an octave: all keys, and the ends of the compass."""
    return score.transposed(int(draw.integers(-6, 7)))


def beginning(
    score: Score, draw: np.random.Generator, *, quick: bool
) -> tuple[Score, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """A stretch of the score that lasts as long as an excerpt, and when each note begins."""
    first = int(draw.integers(len(score.midi)))
    order = np.roll(np.arange(len(score.midi)), -first)
    beats = np.log(np.array(score.beats)[order])
    slow = draw.random() < 0.15
    low, high = np.sort(
        draw.uniform(0.13, 0.35, 2) if quick else draw.uniform(0.6, 2.0, 2) if slow else draw.uniform(0.13, 0.65, 2)
    )
    steps_s = (
        low * (high / low) ** ((beats - beats.min()) / max(float(np.ptp(beats)), 1e-9)) * np.exp(draw.normal(0, 0.03, len(beats)))
    )
    begins_s = np.concatenate(([0.0], np.cumsum(steps_s)[:-1])) + draw.uniform(-0.2, 0.3)
    count = max(1, int(np.searchsorted(begins_s, EXCERPT_S - 0.6)))
    midi = tuple(score.midi[place] for place in order[:count])
    return Score(score.name, midi, tuple(score.beats[place] for place in order[:count]), score.tonic, score.scale), begins_s[:count]


def drawn_mistuning(draw: np.random.Generator) -> Mistuning:
    return Mistuning(
        spread_cents=float(draw.uniform(0, 15)),
        off_share=float(draw.uniform(0, 0.3)),
        semitone_share=0.05,
        per_bell=draw.random() < 0.3,
    )


def drawn_playing(place: int, draw: np.random.Generator, *, hard: bool) -> Playing:
    return Playing(
        kind=KINDS[place],
        sample_rate_hz=SAMPLE_RATE_HZ,
        tuning_cents=float(draw.uniform(-50, 50)),
        drift_cents=float(draw.uniform(0, 20)) if draw.random() < 0.3 else 0.0,
        spread=float(draw.uniform(0.3, 1.7)),
        decay=float(np.exp(draw.uniform(np.log(0.4), np.log(1.6)))),
        transient_db=float(draw.uniform(-35, -5)),
        dynamics_db=float(draw.uniform(0, 4)),
        chord_every=int(draw.choice((0, 1, 2, 3), p=(0.55, 0.1, 0.25, 0.1))),
        room_t60_s=float(draw.uniform(0.8, 2.2)) if hard else float(draw.uniform(0.2, 2.5)) if draw.random() < 0.6 else 0.0,
        snr_db=float(draw.uniform(6, 14)) if hard else float(draw.uniform(4, 30)) if draw.random() < 0.55 else None,
    )


def through_microphone(wave: Tensor, draw: np.random.Generator) -> Tensor:
    """A smooth response, drawn octave by octave."""
    gains_db = torch.from_numpy(draw.normal(0, draw.uniform(0, 7), OCTAVES + 1)).float()
    spectrum = torch.fft.rfft(wave)
    octaves = torch.linspace(0, 1, len(spectrum)).clamp(min=2.0**-OCTAVES).log2() + OCTAVES
    low = octaves.long().clamp(max=OCTAVES - 1)
    response_db = gains_db[low].lerp(gains_db[low + 1], octaves - low)
    heard: Tensor = torch.fft.irfft(spectrum * 10 ** (response_db / 20), n=len(wave))
    return heard

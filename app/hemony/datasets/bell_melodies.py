"""Melodies that are off pitch, as notes: what the sense of melody learns from, without a sound.

Tunes come from the composer and from those that everybody knows, never from `tunes.UNSEEN`. They are mistuned in many ways, and heard as an
ear may hear them: a little wrong, now and then an octave off or at another pitch altogether, with a note missing or one too many.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from hemony.bells.composer import compose
from hemony.bells.grid import grid_cents
from hemony.bells.notes import Values
from hemony.bells.scores import hot_chilli_bells_100
from hemony.bells.tunes import KNOWN, UNSEEN, Score, stretches, tune
from hemony.datasets.seeding import derived_seed
from hemony.models.sense import FURTHEST, MISHEARD

Draw = np.random.Generator

UNKNOWN = -100  # the answer for a note that has none: it is not there, or was heard an octave off
KNOWN_SHARE = 0.4
ALIKE_NOTES = 12  # in a row that a composed tune may not have in common with an unseen one
COMPOSED = 3000  # tunes that are kept
NEW_SHARE = 0.1  # of the lines are of a tune that nobody has heard
STEPS_S = (0.15, 0.7)  # between notes
OCTAVE_SHARE, MISSED_SHARE, SPURIOUS_SHARE = 0.01, 0.01, 0.01
REPLACED_SHARE = 0.06  # of the notes, by any pitch in the compass of the line: MISHEARD


@dataclass(frozen=True)
class Lines:
    """B melodies of up to N notes, as they are heard."""

    semitones: Tensor  # (B, N) float32: MIDI numbers on the recording's own grid, with fractions
    step_s: Tensor  # (B, N) to the next note
    answers: Tensor  # (B, N) int64: from the nearest semitone to what was meant, plus FURTHEST; MISHEARD, or UNKNOWN if there is no answer
    there: Tensor  # (B, N) bool

    def to(self, device: torch.device) -> "Lines":
        return Lines(*(getattr(self, entry.name).to(device) for entry in fields(self)))


class Melodies:
    """Tunes to learn from: KNOWN ones, a store of composed ones, and new ones as they are asked for."""

    def __init__(self, seed: int) -> None:
        self.unseen = set().union(*(stretches(tune(name).midi, ALIKE_NOTES) for name in UNSEEN))
        draw = np.random.default_rng(derived_seed(seed, "composed tunes"))
        self.composed = [self.composed_score(draw) for _ in range(COMPOSED)]
        self.known = [tune(name) for name in KNOWN]

    def lines(self, count: int, longest: int, draw: Draw) -> Lines:
        """Lines of 20 to `longest` notes each."""
        return stacked([line(self.score(draw), int(draw.integers(20, longest + 1)), draw) for _ in range(count)], longest)

    def score(self, draw: Draw) -> Score:
        """Any tune."""
        chance = draw.random()
        if chance < KNOWN_SHARE:
            place = int(draw.integers(len(self.known) + 1))
            return hot_chilli_bells_100(draw) if place == len(self.known) else self.known[place]
        if chance < KNOWN_SHARE + NEW_SHARE:
            return self.composed_score(draw)
        return self.composed[int(draw.integers(len(self.composed)))]

    def composed_score(self, draw: Draw) -> Score:
        """A new tune, and not by chance a stretch of one that is to be unseen."""
        while stretches((score := compose(draw)).midi, ALIKE_NOTES) & self.unseen:
            pass
        return score


def line(score: Score, count: int, draw: Draw) -> tuple[Values, Values, Values]:
    """Some notes of a score from any place on, over and over if it is short: semitones, steps in seconds, answers."""
    places = (int(draw.integers(len(score.midi))) + np.arange(count)) % len(score.midi)
    midi = np.array(score.midi, dtype=np.float64)[places]
    step_s = drawn_steps_s(np.array(score.beats)[places], draw)
    cents = mistuned_cents(midi, draw)
    if draw.random() < 0.3:  # the reference pitch wanders
        turns = draw.random() + draw.uniform(0.3, 1.5) * np.arange(count) / count
        cents = cents + draw.uniform(0, 12) * np.sin(2 * np.pi * turns)
    meant, sounding = midi, midi + (cents + draw.normal(0, 0.5, count)) / 100 + draw.uniform(-0.5, 0.5)
    semitones, answers = answered(sounding, meant)
    replaced = draw.random(count) < REPLACED_SHARE
    others = draw.integers(int(midi.min()), int(midi.max()) + 1, count)
    semitones, answers = np.where(replaced, semitones + others - midi, semitones), np.where(replaced, MISHEARD, answers)
    octave = draw.random(count) < OCTAVE_SHARE
    semitones = semitones + np.where(octave, draw.choice((-12.0, 12.0), size=count), 0.0)
    answers = np.where(octave, UNKNOWN, answers)
    kept = draw.random(count) >= MISSED_SHARE
    spurious = np.flatnonzero(draw.random(count) < SPURIOUS_SHARE)
    starts = np.cumsum(step_s) - step_s
    times = np.concatenate((starts[kept], starts[spurious] + step_s[spurious] * draw.uniform(0.2, 0.8, len(spurious))))
    order = np.argsort(times)
    semitones = np.concatenate((semitones[kept], semitones[spurious] + draw.uniform(-12, 12, len(spurious))))[order]
    answers = np.concatenate((answers[kept], np.full(len(spurious), UNKNOWN)))[order]
    return semitones[:count], np.append(np.diff(times[order]), step_s[-1])[:count], answers[:count]


def mistuned_cents(midi: Values, draw: Draw) -> Values:
    """How far each of the notes is off (N,): most of them near, some by more than half a semitone, some by a whole one, a few between."""
    bells, which = np.unique(midi, return_inverse=True)
    per_bell = draw.random() < 0.3
    count = len(bells) if per_bell else len(midi)
    near = draw.normal(0, np.exp(draw.uniform(np.log(2), np.log(12))), count)
    side = draw.choice((-1.0, 1.0), size=count)
    off_share, semitone_share = draw.uniform(0.05, 0.3), draw.uniform(0, 0.06)
    between_share = draw.uniform(0, 0.05) if draw.random() < 0.4 else 0.0
    chance = draw.random(count)
    limits = np.cumsum([semitone_share, off_share, between_share])
    cents = np.select(
        [chance < limits[0], chance < limits[1], chance < limits[2]],
        [side * 100 + near, side * draw.uniform(50, 100, count), side * draw.uniform(10, 50, count)],
        near,
    )
    return cents[which] if per_bell else cents


def drawn_steps_s(beats: Values, draw: Draw) -> Values:
    """Seconds between notes: as the rhythm has them, or with long and short ones brought between two limits, and never quite even."""
    if draw.random() < 0.5:
        step_s = beats * draw.uniform(0.25, 0.7)
    else:
        logs = np.log(beats)
        low, high = np.sort(draw.uniform(*STEPS_S, 2))
        step_s = low * (high / low) ** ((logs - logs.min()) / max(np.ptp(logs), 1e-9))
    return step_s * np.exp(draw.normal(0, 0.03, len(beats)))


def answered(sounding: Values, meant: Values) -> tuple[Values, Values]:
    """Pitches (N,) on their own grid, and the answers (N,). Whether the grid is taken as a little high or a little low is the same answer."""
    grid = grid_cents(sounding) / 100
    semitones = sounding - grid
    turn = round(float(np.median(meant - semitones)))  # a grid near the middle between two semitones may be named by either
    steps = meant - turn - np.round(semitones)
    return semitones, np.where(np.abs(steps) <= FURTHEST, steps + FURTHEST, UNKNOWN)


def stacked(lines: list[tuple[Values, Values, Values]], longest: int) -> Lines:
    """Lines of different lengths, filled up to `longest`."""
    semitones, step_s = torch.zeros(len(lines), longest), torch.ones(len(lines), longest)
    answers = torch.full((len(lines), longest), UNKNOWN)
    there = torch.zeros(len(lines), longest, dtype=torch.bool)
    for row, (pitch, step, answer) in enumerate(lines):
        count = len(pitch)
        semitones[row, :count] = torch.from_numpy(pitch)
        step_s[row, :count] = torch.from_numpy(step)
        answers[row, :count] = torch.from_numpy(answer).long()
        there[row, :count] = True
    return Lines(semitones, step_s, answers, there)

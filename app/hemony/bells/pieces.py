"""A melody played on bells that are off pitch: the recording, and the truth of every note in it."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Generator, Tensor
from torch.nn import functional

from hemony.bells.notes import Notes, Values
from hemony.bells.strikes import transients
from hemony.bells.synth import TABLES, BellKind, Modes, draw_modes, sound
from hemony.bells.tunes import Score
from hemony.bells.tuning import midi_to_hz, shifted
from hemony.datasets.seeding import uniform
from hemony.datasets.wave_augment import coloured_noise, convolved, room_responses

TAIL_S = 3.0  # that the last note rings
FADE_S = 0.5  # at its end
LEAD_S = 0.25  # before the first note
TRANSIENT_S = 0.1
PEAK = 0.8  # of full scale
CHORD_DB = -4.0  # of a chord's bells beside the melody's, in the mean
CHORDS = ((-3, -8), (-4, -9), (-5, -9), (-4, -7), (-3, -7))  # semitones below: thirds and sixths, fourths and fifths
SPARE = 1.15  # of a partial's frequency: what is off by a semitone, in a tuning of half a semitone, with its spread
VALUES_AT_ONCE = 2**23  # samples of single notes that are rendered at a time


@dataclass(frozen=True)
class Mistuning:
    """How far the notes of a piece are off. What is not off by more than half a semitone is near its place."""

    spread_cents: float = 5.0  # standard deviation of the notes that are near
    off_share: float = 0.12  # of the notes are off by 50 to 100 cents
    semitone_share: float = 0.03  # of the notes are off by a whole semitone, and the spread
    per_bell: bool = False  # a bell is off alike whenever it sounds

    def deviations_cents(self, midi: Values, draw: Generator) -> Values:
        """(N,) for notes (N,), on the CPU."""
        bells, which = np.unique(midi, return_inverse=True)
        count = len(bells) if self.per_bell else len(midi)
        near = torch.randn(count, generator=draw, dtype=torch.float64) * self.spread_cents
        side = torch.randint(2, (count,), generator=draw) * 2.0 - 1
        off = side * uniform((count,), 50.0, 100.0, draw).double()
        chance = torch.rand(count, generator=draw)
        semitone = chance < self.semitone_share
        cents = torch.where(semitone, side * 100 + near, torch.where(chance < self.semitone_share + self.off_share, off, near))
        values: Values = cents.numpy()
        return values[which] if self.per_bell else values


@dataclass(frozen=True)
class Playing:
    """On which bells a piece is played, and how it is recorded."""

    kind: BellKind = BellKind.carillon
    sample_rate_hz: int = 44_100
    tuning_cents: float = 0.0  # of all bells beside A4 = 440 Hz, -50 to 50
    drift_cents: float = 0.0  # how far the reference pitch wanders, from its least to its most; part of the notes' deviations
    spread: float = 1.0  # of the partials' ratios, beside that between real bells
    decay: float = 1.0  # factor of the decay times
    transient_db: float = -15.0  # of the strike's noise beside the bell
    dynamics_db: float = 2.0  # standard deviation of the notes' levels
    chord_every: int = 0  # a chord of one or two bells below every so many notes; 0: none
    room_t60_s: float = 0.0  # 0: no room
    snr_db: float | None = None  # RMS of the melody over that of the noise; None: no noise


def onsets_s(score: Score, beat_s: float) -> Values:
    """When each note begins (N,), from 0."""
    return np.concatenate(([0.0], np.cumsum(score.beats)[:-1])) * beat_s


def even_onsets_s(score: Score, least_s: float, most_s: float) -> Values:
    """When each note begins (N,), from 0, with long and short notes brought to between `least_s` and `most_s` each."""
    beats = np.log(np.array(score.beats))
    low, high = beats.min(), beats.max()
    place = (beats - low) / (high - low) if high > low else np.full(len(beats), 0.5)
    steps = least_s * (most_s / least_s) ** place
    return np.concatenate(([0.0], np.cumsum(steps)[:-1]))


def fitting(score: Score, kind: BellKind) -> Score:
    """The score moved by octaves, and where that is not enough by semitones, to where bells of the kind can play most of it."""
    table = TABLES[kind]

    def outside(move: int) -> int:
        return sum(not table.lowest_midi <= note + move <= table.highest_midi for note in score.midi)

    return score.transposed(min(range(-60, 61), key=lambda move: (outside(move), move % 12 != 0, abs(move))))


def least_rate_hz(score: Score, kind: BellKind) -> float:
    """The sample rate above which the partials that make the strike note of the highest bell are heard, however far it is off."""
    table = TABLES[kind]
    highest_ratio = max(table.partials[partial].ratio for partial, _ in table.anchors)
    return 2 * SPARE * highest_ratio * midi_to_hz(float(max(score.midi)))


def play(score: Score, begins_s: Values, mistuning: Mistuning, playing: Playing, draw: Generator) -> tuple[Tensor, Notes]:
    """The recording, float32 (samples,) with peak PEAK, and its truth. All notes are of one kind of bell and ring to the end.

    Every pitch of the score has one bell, with the same partials whenever it sounds; each stroke on it has its own level, deviation and
    phases. Draws come from `draw`, on the CPU.
    """
    rate_hz = playing.sample_rate_hz
    starts = np.round((LEAD_S + begins_s) * rate_hz).astype(np.int64)
    midi = np.array(score.midi, dtype=np.float64)
    count = len(midi)
    drift = playing.drift_cents * wandering(begins_s, draw)
    deviations = mistuning.deviations_cents(midi, draw) + drift
    level_db = (torch.randn(count, generator=draw, dtype=torch.float64) * playing.dynamics_db).clamp(-8, 8).numpy()
    chords = chords_below(score, playing, draw)
    struck = np.concatenate((np.arange(count), chords.notes))
    all_midi = np.concatenate((midi, chords.midi))
    all_cents = np.concatenate((deviations, chords.cents + drift[chords.notes])) + playing.tuning_cents
    modes = strokes(all_midi, all_cents, np.concatenate((level_db, chords.level_db)), playing, draw)
    samples = int(starts[-1]) + round(TAIL_S * rate_hz)
    wave = mixed(modes, starts[struck], samples, playing, draw)
    if playing.room_t60_s:
        wave = in_room(wave, playing.room_t60_s, rate_hz, draw)
    if playing.snr_db is not None:
        melody_rms = float(wave.square().mean().sqrt())
        wave = wave + coloured_noise(1, samples, draw, steepest=1.0)[0] * (melody_rms * 10 ** (-playing.snr_db / 20))
    fade = round(FADE_S * rate_hz)
    wave[-fade:] *= torch.hann_window(2 * fade, periodic=False)[fade:]
    scale = PEAK / float(wave.abs().max())
    power = (modes.amplitude[:count].square() * (modes.frequency_hz[:count] < rate_hz / 2)).sum(dim=1) / 2
    notes = Notes(
        onset_s=starts / rate_hz,
        intended_midi=midi.astype(np.int64),
        deviation_cents=deviations,
        confidence=np.ones(count),
        level_db=10 * np.log10(power.numpy() * scale**2),
        tuning_cents=playing.tuning_cents,
    )
    return wave * scale, notes


def wandering(begins_s: Values, draw: Generator) -> Values:
    """A slow line through the beginnings of notes (N,), with mean 0 and, unless they all begin at once, a span of 1."""
    turns, phase = (float(value) for value in torch.rand(2, generator=draw, dtype=torch.float64))
    line: Values = np.sin(2 * math.pi * ((0.5 + turns) * begins_s / max(float(begins_s[-1]), 1e-9) + phase))
    line = (line - line.mean()) / max(float(np.ptp(line)), 1e-9)
    return line


@dataclass(frozen=True)
class Chords:
    """C bells that sound with notes of the melody, below them."""

    notes: np.ndarray[tuple[int], np.dtype[np.int64]]  # (C,) with which note
    midi: Values
    cents: Values
    level_db: Values


def chords_below(score: Score, playing: Playing, draw: Generator) -> Chords:
    """One or two notes of the scale below every `chord_every`th note, where there are bells so low."""
    chosen: list[tuple[int, int]] = []
    places = range(0, len(score.midi), playing.chord_every) if playing.chord_every else range(0)
    for place in places:
        top = score.midi[place]
        draws = torch.rand(2, generator=draw).tolist()
        fitting_chords = [
            chord for chord in CHORDS if all((top + step - score.tonic) % 12 in score.scale for step in chord)
        ] or list(CHORDS)
        chord = fitting_chords[int(draws[0] * len(fitting_chords))]
        steps = chord if draws[1] < 0.5 else chord[:1]
        chosen += [(place, top + step) for step in steps if top + step >= TABLES[playing.kind].lowest_midi]
    notes = np.array([place for place, _ in chosen], dtype=np.int64)
    midi = np.array([note for _, note in chosen], dtype=np.float64)
    return Chords(
        notes,
        midi,
        (torch.randn(len(notes), generator=draw, dtype=torch.float64) * 5).numpy(),
        (CHORD_DB + torch.randn(len(notes), generator=draw, dtype=torch.float64) * 2).numpy(),
    )


def strokes(midi: Values, cents: Values, level_db: Values, playing: Playing, draw: Generator) -> Modes:
    """The modes of S strokes: one bell for each pitch, moved to where each stroke sounds."""
    pitches, which = np.unique(midi, return_inverse=True)
    bells = draw_modes(playing.kind, torch.from_numpy(pitches), draw, playing.spread)
    index = torch.from_numpy(which)
    target_hz = torch.from_numpy(shifted(midi_to_hz(midi), cents))
    shape = (len(midi), bells.frequency_hz.shape[1])
    phase = uniform(shape, 0.0, 2 * math.pi, draw).double()
    level = torch.from_numpy(10 ** (level_db / 20))[:, None]
    loud = bells.amplitude.square().sum(dim=1, keepdim=True).sqrt()  # the bells of a set are voiced alike
    factor = (target_hz / bells.strike_hz[index])[:, None]
    moved = replace(bells, amplitude=bells.amplitude / loud, t60_s=bells.t60_s * playing.decay)
    return Modes(moved.frequency_hz[index] * factor, moved.amplitude[index] * level, moved.t60_s[index], phase, target_hz)


def mixed(
    modes: Modes, starts: np.ndarray[tuple[int], np.dtype[np.int64]], samples: int, playing: Playing, draw: Generator
) -> Tensor:
    """All strokes with their noise in one recording (samples,), each from its start on."""
    wave = torch.zeros(samples)
    order = np.argsort(starts, kind="stable")
    at_once = max(1, VALUES_AT_ONCE // samples)
    brief = min(round(TRANSIENT_S * playing.sample_rate_hz), samples)
    level = 10 ** (playing.transient_db / 20)
    for first in range(0, len(order), at_once):
        some = torch.from_numpy(order[first : first + at_once])
        length = samples - int(starts[order[first]])
        part = Modes(*(values[some] for values in (modes.frequency_hz, modes.amplitude, modes.t60_s, modes.phase, modes.strike_hz)))
        notes = sound(part, playing.sample_rate_hz, length)
        noise = transients(len(some), brief, playing.sample_rate_hz, draw)
        notes[:, :brief] += noise[:, : notes.shape[1]] * level * part.amplitude.square().sum(dim=1).sqrt().float()[:, None]
        for note, start in zip(notes, starts[order[first : first + at_once]].tolist(), strict=True):
            wave[start:] += note[: samples - start]
    return wave


def in_room(wave: Tensor, t60_s: float, sample_rate_hz: int, draw: Generator) -> Tensor:
    """A recording (samples,) with the sound of a room added to it; what comes directly stays as it was."""
    response = room_responses(1, round(t60_s * sample_rate_hz), sample_rate_hz, (t60_s, t60_s), draw)
    size = next_fast_len(
        len(wave) + response.shape[1], real=True
    )  # millions of samples: a size with large factors takes many times as long
    return convolved(wave[None], functional.pad(response, (0, size - len(wave) - response.shape[1])))[0]

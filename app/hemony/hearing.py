"""From a recording of a melody on bells to its notes: the ear, what it doubts, the measuring of partials, and the sense of melody."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from hemony.bells.grid import grid_cents
from hemony.bells.notes import Notes, Values
from hemony.bells.partials import measure
from hemony.bells.synth import BellKind
from hemony.bells.tuning import hz_to_midi, midi_to_hz
from hemony.doubt import ALTERNATIVES, SURE, chosen
from hemony.hardware import one_blas_thread
from hemony.models.ear import (
    CANDIDATE,
    FRAME,
    HOP,
    KINDS,
    LULL,
    MAP_FRAMES,
    PAST_FRAMES,
    PITCHES,
    SAMPLE_RATE_HZ,
    VIEWS,
    Ear,
    Pitches,
    likeliest,
    loudness,
)  # fmt: skip
from hemony.models.melody import MelodyNetwork
from hemony.models.sense import FURTHEST

APART_S = 0.1  # least, from one onset to the next
ONSET_SHARE, LEAST_SCORE = 2.0, -1.0  # of what counts as a strike; chosen by composed tunes
FRAMES_AT_ONCE = 6000  # of a recording
MELODY_PROBABILITY = (
    0.7  # of the pitch of half of the notes; of speech, drums and noise it is about a half, of noisy bells above 0.9
)
NOTES_AT_ONCE = 64
LEANS = (-240, 240)  # samples beside an onset, from where what is unsure is heard again
CHORDS = 0.5  # mean probability of chords, below which there are none; chosen by composed tunes
NOTES_WITH_CHORDS = 40  # of which that is the mean
NOTES_MEANT, NOTES_AROUND = 400, 100  # that are understood at a time, and those on either side

Waves = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Strikes:
    """N notes as the ear hears them, before anybody asks what they mean."""

    onset_s: Values
    might_be: Values  # (N, ALTERNATIVES) strike notes with fractions, a few cents from where they are, the most probable one first
    shares: Values  # (N, ALTERNATIVES): how probable they are
    kind: BellKind  # of all of them


def notes_of(network: MelodyNetwork, wave: Waves, temperature: float = 1.0) -> tuple[Notes, BellKind]:
    """The notes of a mono recording at SAMPLE_RATE_HZ, full scale 1, and on which kind of bell they are played."""
    strikes = strikes_of(network.ear, wave)
    if not len(strikes.onset_s):
        nothing = np.zeros(0)
        return Notes(nothing, np.zeros(0, np.int64), nothing, nothing, nothing, 0.0), strikes.kind
    steps_s = np.diff(strikes.onset_s)
    step_s = np.append(steps_s, np.median(steps_s) if len(steps_s) else 0.5)
    rough_midi, probability = chosen(network, strikes.might_be, strikes.shares, step_s)
    with one_blas_thread():
        partials = measure(wave, SAMPLE_RATE_HZ, strikes.onset_s, midi_to_hz(rough_midi), strikes.kind)
    midi = hz_to_midi(partials.strike_hz)
    tuning_cents = grid_cents(midi)
    semitones = midi - tuning_cents / 100
    shares = (meant(network, semitones, step_s) / temperature).softmax(dim=1).numpy()
    intended = np.round(semitones) + shares.argmax(axis=1) - FURTHEST
    notes = Notes(
        onset_s=strikes.onset_s,
        intended_midi=intended.astype(np.int64),
        deviation_cents=100 * (semitones - intended),
        confidence=shares.max(axis=1) * probability,
        level_db=partials.level_db,
        tuning_cents=tuning_cents,
    )
    return notes, strikes.kind


def meant(network: MelodyNetwork, semitones: Values, step_s: Values) -> Tensor:
    """Logits (N, answers) of what was meant by notes; long melodies are understood by overlapping stretches."""
    heard = []
    for first in range(0, len(semitones), NOTES_MEANT):
        begin, end = max(0, first - NOTES_AROUND), first + NOTES_MEANT + NOTES_AROUND
        places, steps = (torch.from_numpy(values[begin:end])[None].float() for values in (semitones, step_s))
        heard.append(network.meant(places, steps)[0, first - begin :][:NOTES_MEANT].double())
    return torch.cat(heard)


def strikes_of(ear: Ear, wave: Waves) -> Strikes:
    """When bells are struck in a mono recording, and how high.

    Wherever a note might begin the ear is asked which one; what it says to that decides whether there is one.
    """
    onset, probability = candidates_of(ear, wave)
    if not len(onset):
        return Strikes(np.zeros(0), np.zeros((0, ALTERNATIVES)), np.zeros((0, ALTERNATIVES)), KINDS[0])
    heard, begins = pitches_at(ear, wave, onset), torch.from_numpy(probability)
    kept = apart(onset, strike_score(heard.highest, begins).numpy())
    alone = without_chords(heard.chords, torch.from_numpy(kept))
    pitch = torch.where(alone[:, None], heard.only, heard.highest)
    kept = apart(onset, strike_score(pitch, begins).numpy())
    might_be, shares = likeliest(pitch[torch.from_numpy(kept)], ALTERNATIVES)
    if len(kept) and float(shares[:, 0].median()) < MELODY_PROBABILITY:
        kept, might_be, shares = kept[:0], might_be[:0], shares[:0]  # it might be anything: these are no bells
    kind = heard.kind[torch.from_numpy(kept)].sum(dim=0).argmax() if len(kept) else 0
    return Strikes(onset[kept] / SAMPLE_RATE_HZ, might_be.double().numpy(), shares.double().numpy(), KINDS[int(kind)])


def without_chords(chords: Tensor, strikes: Tensor) -> Tensor:
    """Whether no bells are struck together about each of N moments (N,), by the logits (N,) of those that are `strikes` (M,), places in
    order."""
    if not len(strikes):
        return torch.zeros(len(chords), dtype=torch.bool)
    total = functional.pad(chords[strikes].sigmoid().double().cumsum(dim=0), (1, 0))
    first = torch.searchsorted(strikes, torch.arange(len(chords))) - NOTES_WITH_CHORDS // 2
    first = first.clamp(max=len(strikes) - NOTES_WITH_CHORDS).clamp(min=0)
    end = (first + NOTES_WITH_CHORDS).clamp(max=len(strikes))
    none: Tensor = (total[end] - total[first]) / (end - first) < CHORDS
    return none


def pitches_at(ear: Ear, wave: Waves, onset: npt.NDArray[np.int64]) -> Pitches:
    """What is heard at each of some samples (N,), at least one, in order. What is unsure is heard from a little before and after as well,
    and what is heard then is the mean."""
    heard = pitches_from(ear, wave, onset)
    share = torch.stack([likeliest(logits, 1)[1][:, 0] for logits in (heard.highest, heard.only)]).amin(dim=0)
    unsure = share < SURE
    if not unsure.any():
        return heard
    again = [pitches_from(ear, wave, (onset[unsure.numpy()] + lean).clip(0, len(wave) - 1)) for lean in LEANS]
    means = [torch.stack((first[unsure], *others)).mean(dim=0) for first, *others in zip(heard, *again, strict=True)]
    return Pitches(*(first.index_put((unsure,), mean) for first, mean in zip(heard, means, strict=True)))


def pitches_from(ear: Ear, wave: Waves, onset: npt.NDArray[np.int64]) -> Pitches:
    """What is heard at each of some samples (N,), at least one, in order; logarithms of shares where there are several answers."""
    heard = []
    before, after = -min(start for start, _ in VIEWS), max(start + length for start, length in VIEWS)
    with torch.inference_mode():
        for first in range(0, len(onset), NOTES_AT_ONCE):
            some = onset[first : first + NOTES_AT_ONCE]
            begin = max(0, int(some[0]) - before)
            waves = torch.from_numpy(wave[begin : int(some[-1]) + after])[None]
            heard.append(ear.pitches(waves, torch.zeros(len(some), dtype=torch.int64), torch.from_numpy(some - begin)))
        highest, only, kind, chords = (torch.cat(parts) for parts in zip(*heard, strict=True))
        return Pitches(highest.log_softmax(dim=1), only.log_softmax(dim=1), kind.log_softmax(dim=1), chords)


def strike_score(pitch: Tensor, onset_probability: Tensor) -> Tensor:
    """How surely a note begins (N,), from what both networks say: log odds that it has a pitch, and a share of those of its onset."""
    has_pitch = pitch[:, :PITCHES].logsumexp(dim=1) - pitch[:, PITCHES]
    return has_pitch.double() + ONSET_SHARE * onset_probability.double().logit(eps=1e-6)


def apart(onset: npt.NDArray[np.int64], score: Values) -> npt.NDArray[np.int64]:
    """Places of those onsets (N,) that score enough and more than all others within APART_S, in order of time."""
    kept: list[int] = []
    for place in np.argsort(-score, kind="stable"):
        if score[place] < LEAST_SCORE:
            break
        if all(abs(onset[place] - onset[other]) >= APART_S * SAMPLE_RATE_HZ for other in kept):
            kept.append(int(place))
    return np.array(sorted(kept), dtype=np.int64)


def candidates_of(ear: Ear, wave: Waves) -> tuple[npt.NDArray[np.int64], Values]:
    """Samples (N,) at which notes may begin, in order, and how probable the first network finds each."""
    if not len(wave):
        return np.zeros(0, np.int64), np.zeros(0)
    with torch.inference_mode():
        powers = powers_of(ear, wave)
        reference = powers.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        probability, frames = [], powers.shape[2]
        for first in range(0, frames, FRAMES_AT_ONCE):
            begin, end = max(0, first - PAST_FRAMES - MAP_FRAMES - LULL[1]), first + FRAMES_AT_ONCE + MAP_FRAMES + 1
            some = ear.onset(*loudness(powers[:, :, begin:end], reference))[0, first - begin :]
            probability.append(some[:FRAMES_AT_ONCE].sigmoid())
        return peaks(torch.cat(probability).double().numpy())


def powers_of(ear: Ear, wave: Waves) -> Tensor:
    """Band powers (1, BANDS, frames) of a recording of any length."""
    powers, frames = [], len(wave) // HOP + 1
    padded = np.pad(wave, FRAME // 2)
    for first in range(0, frames, FRAMES_AT_ONCE):
        last = min(first + FRAMES_AT_ONCE, frames) - 1
        powers.append(ear.onset.band_powers(torch.from_numpy(padded[first * HOP : last * HOP + FRAME])[None]))
    return torch.cat(powers, dim=2)


def peaks(probability: Values) -> tuple[npt.NDArray[np.int64], Values]:
    """Samples (N,) of the frames that are more probable than the threshold and their neighbours, between frames by a parabola."""
    padded = np.pad(probability, 1)
    before, here, after = padded[:-2], padded[1:-1], padded[2:]
    frames = np.flatnonzero((here >= CANDIDATE) & (here > before) & (here >= after))
    before, here, after = before[frames], here[frames], after[frames]
    curve = before - 2 * here + after
    part = np.where(curve < 0, 0.5 * (before - after) / np.where(curve < 0, curve, -1.0), 0.0)
    samples: npt.NDArray[np.int64] = np.maximum(np.round((frames + np.clip(part, -0.5, 0.5)) * HOP), 0).astype(np.int64)
    return samples, here

"""From a recording of a melody on bells to its notes: the ear, the measuring of partials, and the sense of melody, one after the other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hemony.bells.grid import grid_cents
from hemony.bells.notes import Notes, Values
from hemony.bells.partials import measure
from hemony.bells.synth import BellKind
from hemony.bells.tuning import hz_to_midi, midi_to_hz
from hemony.hardware import one_blas_thread
from hemony.models.ear import (
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
    heard_midi,
    loudness,
)  # fmt: skip
from hemony.models.melody import MelodyNetwork
from hemony.models.sense import FURTHEST

CANDIDATE = 0.02  # probability of an onset from which it is worth asking for its pitch
APART_S = 0.1  # least, from one onset to the next
ONSET_SHARE, LEAST_SCORE = 3.0, -1.5  # of what counts as a strike; chosen by composed tunes
FRAMES_AT_ONCE = 6000  # of a recording
MELODY_PROBABILITY = (
    0.7  # of the pitch of half of the notes; of speech, drums and noise it is about a half, of noisy bells above 0.9
)
NOTES_AT_ONCE = 64
NOTES_MEANT, NOTES_AROUND = 400, 100  # that are understood at a time, and those on either side

Waves = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Strikes:
    """N notes as the ear hears them, before anybody asks what they mean."""

    onset_s: Values
    midi: Values  # strike notes with fractions, a few cents from where they are
    probability: Values  # of the pitch
    kind: BellKind  # of all of them


def notes_of(network: MelodyNetwork, wave: Waves, temperature: float = 1.0) -> tuple[Notes, BellKind]:
    """The notes of a mono recording at SAMPLE_RATE_HZ, full scale 1, and on which kind of bell they are played."""
    strikes = strikes_of(network.ear, wave)
    with one_blas_thread():
        partials = measure(wave, SAMPLE_RATE_HZ, strikes.onset_s, midi_to_hz(strikes.midi), strikes.kind)
    return named(network, strikes, hz_to_midi(partials.strike_hz), partials.level_db, temperature), strikes.kind


def named(network: MelodyNetwork, strikes: Strikes, midi: Values, level_db: Values, temperature: float) -> Notes:
    """What was meant by notes that sound at `midi` (N,), with fractions."""
    tuning_cents = grid_cents(midi)
    semitones = midi - tuning_cents / 100
    if not len(midi):
        nothing = np.zeros(0)
        return Notes(nothing, np.zeros(0, np.int64), nothing, nothing, nothing, tuning_cents)
    steps_s = np.diff(strikes.onset_s)
    step_s = np.append(steps_s, np.median(steps_s) if len(steps_s) else 0.5)
    shares = (meant(network, semitones, step_s) / temperature).softmax(dim=1).numpy()
    intended = np.round(semitones) + shares.argmax(axis=1) - FURTHEST
    return Notes(
        onset_s=strikes.onset_s,
        intended_midi=intended.astype(np.int64),
        deviation_cents=100 * (semitones - intended),
        confidence=shares.max(axis=1) * strikes.probability,
        level_db=level_db,
        tuning_cents=tuning_cents,
    )


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
    pitch, kinds = pitches_at(ear, wave, onset)
    score = strike_score(pitch, torch.from_numpy(probability)).numpy()
    kept = apart(onset, score)
    if len(kept) and float(pitch_probability(pitch[torch.from_numpy(kept)]).median()) < MELODY_PROBABILITY:
        kept = kept[:0]  # it might be anything: these are no bells
    kind = kinds[torch.from_numpy(kept)].sum(dim=0).argmax() if len(kept) else 0
    heard = pitch[torch.from_numpy(kept)]
    return Strikes(
        onset_s=onset[kept] / SAMPLE_RATE_HZ,
        midi=heard_midi(heard).double().numpy(),
        probability=pitch_probability(heard).double().numpy(),
        kind=KINDS[int(kind)],
    )


def pitches_at(ear: Ear, wave: Waves, onset: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Logits (N, PITCHES + 1) of the strike note that begins at each of some samples (N,), and of the kind of bell (N, kinds)."""
    logits, kinds = [torch.zeros(0, PITCHES + 1)], [torch.zeros(0, len(KINDS))]
    before, after = -min(start for start, _ in VIEWS), max(start + length for start, length in VIEWS)
    with torch.inference_mode():
        for first in range(0, len(onset), NOTES_AT_ONCE):
            some = onset[first : first + NOTES_AT_ONCE]
            begin = max(0, int(some[0]) - before)
            waves = torch.from_numpy(wave[begin : int(some[-1]) + after])[None]
            pitch, kind = ear.pitches(waves, torch.zeros(len(some), dtype=torch.int64), torch.from_numpy(some - begin))
            logits.append(pitch)
            kinds.append(kind.log_softmax(dim=1))
    return torch.cat(logits), torch.cat(kinds)


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


def pitch_probability(pitch: Tensor) -> Tensor:
    """(N,): of the places within half a semitone of the most probable one, where there is a note."""
    shares = pitch[:, :PITCHES].softmax(dim=1)
    best = shares.argmax(dim=1, keepdim=True)
    near = (best + torch.arange(-2, 3)).clamp(0, PITCHES - 1)
    inside: Tensor = shares.gather(1, near).sum(dim=1).clamp(max=1)
    return inside


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

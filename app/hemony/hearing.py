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
from hemony.models.ear import HOP, KINDS, PITCHES, SAMPLE_RATE_HZ, Ear, heard_midi
from hemony.models.melody import MelodyNetwork
from hemony.models.sense import FURTHEST

ONSET_PROBABILITY = 0.5
APART_FRAMES = 6  # least, from one onset to the next
AT_ONCE_S = 60.0  # of a recording that the ear hears in one piece
AROUND_S = 1.0  # that it hears beyond
NOTES_AT_ONCE = 64

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
    logits = network.meant(torch.from_numpy(semitones)[None].float(), torch.from_numpy(step_s)[None].float())[0]
    shares = (logits.double() / temperature).softmax(dim=1).numpy()
    intended = np.round(semitones) + shares.argmax(axis=1) - FURTHEST
    return Notes(
        onset_s=strikes.onset_s,
        intended_midi=intended.astype(np.int64),
        deviation_cents=100 * (semitones - intended),
        confidence=shares.max(axis=1) * strikes.probability,
        level_db=level_db,
        tuning_cents=tuning_cents,
    )


def strikes_of(ear: Ear, wave: Waves) -> Strikes:
    """When bells are struck in a mono recording, and how high."""
    onset = onsets_of(ear, wave)
    waves = torch.from_numpy(wave)[None]
    logits, kinds = [], []
    with torch.inference_mode():
        for some in torch.split(torch.from_numpy(onset), NOTES_AT_ONCE):
            pitch, kind = ear.pitches(waves, torch.zeros_like(some), some)
            logits.append(pitch)
            kinds.append(kind.log_softmax(dim=1))
    pitch = torch.cat(logits) if logits else torch.zeros(0, PITCHES + 1)
    shares = pitch.softmax(dim=1)
    there = (shares[:, PITCHES] < 0.5).numpy()
    chosen = torch.cat(kinds)[torch.from_numpy(there)].sum(dim=0).argmax() if there.any() else 0
    return Strikes(
        onset_s=onset[there] / SAMPLE_RATE_HZ,
        midi=heard_midi(pitch).double().numpy()[there],
        probability=pitch_probability(shares).double().numpy()[there],
        kind=KINDS[int(chosen)],
    )


def pitch_probability(shares: Tensor) -> Tensor:
    """(N,): of the places within a quarter of a semitone or so of the most probable one."""
    best = shares[:, :PITCHES].argmax(dim=1, keepdim=True)
    near = (best + torch.arange(-2, 3)).clamp(0, PITCHES - 1)
    inside: Tensor = shares.gather(1, near).sum(dim=1).clamp(max=1)
    return inside


def onsets_of(ear: Ear, wave: Waves) -> npt.NDArray[np.int64]:
    """Samples at which notes begin, in order."""
    if not len(wave):
        return np.zeros(0, np.int64)
    around, piece = round(AROUND_S * SAMPLE_RATE_HZ / HOP), round(AT_ONCE_S * SAMPLE_RATE_HZ / HOP)
    powers = []
    with torch.inference_mode():
        for first in range(0, len(wave) // HOP + 1, piece):
            start, end = max(0, (first - around) * HOP), (first + piece + around) * HOP
            power = ear.onset.powers(torch.from_numpy(wave[start:end])[None])
            skip = first - start // HOP
            powers.append(power[:, :, skip : skip + piece])
        probability = ear.onset_probability(torch.cat(powers, dim=2))[0].double().numpy()
    return peaks(probability)


def peaks(probability: Values) -> npt.NDArray[np.int64]:
    """Samples of the highest frames (frames,) above the threshold, APART_FRAMES apart, between frames by a parabola."""
    found: list[int] = []
    for frame in np.flatnonzero(probability >= ONSET_PROBABILITY):
        if found and frame - found[-1] < APART_FRAMES:
            if probability[frame] > probability[found[-1]]:
                found[-1] = int(frame)
        else:
            found.append(int(frame))
    frames = np.array(found, dtype=np.int64)
    if not len(frames):
        return frames
    before, here, after = (probability[np.clip(frames + step, 0, len(probability) - 1)] for step in (-1, 0, 1))
    curve = before - 2 * here + after
    part = np.where(curve < 0, 0.5 * (before - after) / np.where(curve < 0, curve, -1.0), 0.0)
    samples: npt.NDArray[np.int64] = np.round((frames + np.clip(part, -0.5, 0.5)) * HOP).astype(np.int64)
    return samples

"""Notes of a melody on bells put where they belong: every partial of a note moved by one factor, all else left as it sounds.

The tails of bells overlap, so a note cannot be cut out: it is told apart by its partials (see `modes`). The modes of a note that is moved
are subtracted at their frequencies and added at the new ones. Both have one phase at the onset, so that the change begins at nothing and
cannot click; strike, decay and neighbours stay as they are.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from hemony.bells.bands import BESIDE_HZ, EDGE_HZ, Spectrum
from hemony.bells.modes import Fit, Flags, Indices, Tones
from hemony.bells.notes import Values
from hemony.bells.partials import Partials, exponent_of, measure
from hemony.bells.synth import NEPERS_PER_T60, TABLES, BellKind, Modes, sound
from hemony.bells.tuning import cents_between, shifted

Wave = npt.NDArray[np.float32]

CORE_HZ = 120.0  # most that partials that are moved by one band lie apart
BELLS_CENTS = 25.0  # least that two bells lie apart
ELSEWHERE_CENTS = 6.0  # between a partial and where other strikes of its bell have it
STRETCH_S = 60.0  # of a recording in which notes are moved at a time,
BEFORE_S, AFTER_S = 15.0, 8.0  # with those before and after it that ring in it or over it
UNHEARD_DB = 100.0  # below its beginning a note is over
UNHEARD, UNHEARD_T60_S = 0.03, 3.0  # of a partial that was not found: beside the loudest one, and how long it rings


def retune(waves: Wave, sample_rate_hz: int, onset_s: Values, strike_hz: Values, factor_cents: Values, kind: BellKind) -> Wave:
    """The recording with its notes moved, float32 in the shape of `waves`.

    `waves` is (samples,) or (samples, channels), full scale 1. N notes begin at `onset_s` (N,), rising, and are heard at `strike_hz` (N,);
    `factor_cents` (N,) says how far each is moved, 0 for one that stays. The samples before the first note that is moved are those of
    `waves`, and where none is, all are. A partial that is moved beyond half the sample rate is dropped.
    """
    retuned = waves.copy()
    if not np.any(factor_cents) or not waves.any():
        return retuned
    exponent = exponent_of(waves)
    channels, added_to = waves.reshape(len(waves), -1), retuned.reshape(len(waves), -1)
    duration_s = len(waves) / sample_rate_hz
    for low_s, high_s in stretches(duration_s):
        first, end_s = max(0, round((low_s - BEFORE_S) * sample_rate_hz)), min(high_s + AFTER_S, duration_s)
        around, start_s = slice(first, round(end_s * sample_rate_hz)), first / sample_rate_hz
        some = np.flatnonzero((onset_s >= start_s) & (onset_s < end_s))
        inside = (onset_s[some] >= low_s) & (onset_s[some] < high_s)
        moved_cents = np.where(inside, factor_cents[some], 0.0)
        if not moved_cents.any():
            continue
        near = np.ldexp(channels[around].astype(np.float64), -exponent)
        found = separated(
            near, sample_rate_hz, onset_s[some] - start_s, strike_hz[some], factor_cents[some], moved_cents != 0, kind
        )
        for place in np.unique(found.note):
            begin_s, own = onset_s[some[place]], found.chosen(found.note == place)
            start = int(np.ceil(begin_s * sample_rate_hz - 1e-6))
            late_s = start / sample_rate_hz - begin_s
            audible_s = UNHEARD_DB / 20 * np.log(10) / max(float(-own.rate.real.max()), 1e-3)
            samples = min(len(waves) - start, int(np.ceil(audible_s * sample_rate_hz)))
            change = difference(own, float(moved_cents[place]), late_s, sample_rate_hz, samples)
            added_to[start : start + samples] += np.ldexp(change, exponent)
    return retuned


def stretches(duration_s: float) -> list[tuple[float, float]]:
    """From when to when the notes are moved at a time: the work for a stretch grows with the cube of its notes."""
    count = max(1, round(duration_s / STRETCH_S))
    return list(pairwise(np.linspace(0, duration_s, count + 1).tolist()))


def separated(
    channels: Values, sample_rate_hz: int, onset_s: Values, strike_hz: Values, factor_cents: Values, moved: Flags, kind: BellKind
) -> Tones:
    """The modes of the `moved` notes (N,) of a stretch (samples, channels), told apart from all others."""
    tones = heard(channels, sample_rate_hz, onset_s, strike_hz, factor_cents, kind)
    wanted = moved[tones.note]
    ranges = cores(tones.frequency_hz[wanted])
    if not ranges:
        return tones.chosen(wanted)
    spectrum = Spectrum.of(channels, sample_rate_hz, onset_s)
    return Tones.joined([fitted(spectrum, low_hz, high_hz, tones, wanted) for low_hz, high_hz in ranges])


def heard(channels: Values, sample_rate_hz: int, onset_s: Values, strike_hz: Values, factor_cents: Values, kind: BellKind) -> Tones:
    """The partials of all notes as one tone each, roughly; their amplitudes are (K, 1)."""
    loudest = int((channels**2).sum(axis=0).argmax())
    sides = np.where(channels.T @ channels[:, loudest] < 0, -1.0, 1.0)  # channels of opposite sign would cancel
    partials = measure((channels @ sides / len(sides)).astype(np.float32), sample_rate_hz, onset_s, strike_hz, kind)
    bell = bells(shifted(strike_hz, factor_cents))
    frequency_hz = completed(partials, strike_hz, bell, kind)
    loudest = np.nanmax(np.nan_to_num(partials.amplitude), axis=1, keepdims=True)
    amplitude = np.where(np.isfinite(partials.amplitude), partials.amplitude, UNHEARD * loudest)
    t60_s = np.where(np.isfinite(partials.t60_s), partials.t60_s, UNHEARD_T60_S)
    there = np.isfinite(frequency_hz) & (amplitude > 0) & (frequency_hz < sample_rate_hz / 2)
    note, partial = np.nonzero(there)
    rate = -NEPERS_PER_T60 / t60_s[there] + 2j * np.pi * frequency_hz[there]
    number = bell[note] * there.shape[1] + partial
    return Tones(note, number, rate, amplitude[there][:, None].astype(np.complex128), 2 * np.pi * strike_hz[note])


def completed(partials: Partials, strike_hz: Values, bell: Indices, kind: BellKind) -> Values:
    """Frequencies (N, P) with those that were not found, or found elsewhere than in most other strikes of the bell, where these have them;
    anchors that no strike has are where the table has them."""
    frequency_hz, table = partials.frequency_hz.copy(), TABLES[kind]
    for one in np.unique(bell):
        strikes = np.flatnonzero(bell == one)
        for index, partial in enumerate(table.partials):
            cents = cents_between(strike_hz[strikes], frequency_hz[strikes, index])
            known = cents[np.isfinite(cents)]
            if len(known):
                usual = float(np.median(known))
            elif index in dict(table.anchors):
                usual = cents_between(1.0, partial.ratio)
            else:
                continue
            far = ~(np.abs(cents - usual) < ELSEWHERE_CENTS) if len(known) > 2 else ~np.isfinite(cents)
            frequency_hz[strikes[far], index] = strike_hz[strikes[far]] * shifted(1.0, usual)
    return frequency_hz


def bells(meant_hz: Values) -> Indices:
    """Which bell each note (N,) is struck on, by where it belongs."""
    order = np.argsort(meant_hz)
    rises = cents_between(meant_hz[order][:-1], meant_hz[order][1:]) > BELLS_CENTS
    which = np.empty(len(meant_hz), dtype=np.int64)
    which[order] = np.concatenate(([0], np.cumsum(rises)))
    return which


def cores(frequency_hz: Values) -> list[tuple[float, float]]:
    """Ranges of at most CORE_HZ, from a frequency to a frequency, that hold all frequencies and do not overlap."""
    rising = np.sort(frequency_hz)
    ranges, first = [], 0
    while first < len(rising):
        after = int(np.searchsorted(rising, rising[first] + CORE_HZ, side="right"))
        ranges.append((float(rising[first]), float(rising[after - 1])))
        first = after
    return ranges


def fitted(spectrum: Spectrum, low_hz: float, high_hz: float, tones: Tones, wanted: Flags) -> Tones:
    """The modes of the `wanted` tones (K,) from `low_hz` to `high_hz`, told apart from all others."""
    frequency_hz, margin_hz = tones.frequency_hz, BESIDE_HZ + EDGE_HZ
    near = np.flatnonzero((frequency_hz > low_hz - margin_hz) & (frequency_hz < high_hz + margin_hz))
    inner = (frequency_hz[near] >= low_hz) & (frequency_hz[near] <= high_hz) & wanted[near]
    fit = Fit(spectrum.band(low_hz, high_hz), tones.chosen(near))
    fit.run(low_hz, high_hz)
    return fit.smeared(np.flatnonzero(inner[fit.source]))


def difference(tones: Tones, cents: float, late_s: float, sample_rate_hz: int, samples: int) -> Values:
    """What a note's tones add to a recording (samples, channels) when they are moved, from `late_s` after the onset on."""
    moved_hz = tones.frequency_hz * shifted(1.0, cents)
    rate = np.concatenate((tones.rate, tones.rate.real + 2j * np.pi * moved_hz))
    amplitude = np.concatenate((-tones.amplitude, tones.amplitude)) * np.exp(rate * late_s)[:, None]
    rates = np.tile(rate, (amplitude.shape[1], 1))  # (channels, modes)
    modes = (
        rates.imag / (2 * np.pi),
        np.abs(amplitude.T),
        -NEPERS_PER_T60 / rates.real,
        np.angle(amplitude.T) + np.pi / 2,
        rates.imag[:, 0],
    )
    added: Values = sound(Modes(*map(torch.from_numpy, modes)), sample_rate_hz, samples).numpy().T.astype(np.float64)
    return added

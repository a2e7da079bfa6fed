"""The partials of every note of a melody on bells, and from them its strike pitch to a fraction of a cent.

First each note's partials are found in a spectrum of what it sounds like until the next note, less what earlier notes leave ringing.
Then each is fitted in a band of its own, see `ringing`: in one sweep over all notes after another they are looked for ever nearer to where
they were, and heard ever longer, through later onsets, while what is known of the others gets better. The partials that make the strike
note are looked for together, at the strike pitch that they agree on; then each of them may turn out to be two modes. Last, notes on the
same bell are heard together, see `alike`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft

from hemony.bells.alike import strike_together
from hemony.bells.notes import Values
from hemony.bells.ringing import (
    MODES,
    REMEMBERED,
    Bands,
    Complex,
    Fitting,
    Heard,
    Indices,
    Width,
    bands,
    best_of,
    joined,
    task_of,
)
from hemony.bells.synth import NEPERS_PER_T60, TABLES, BellKind, BellTable
from hemony.bells.tuning import cents_between, hz_to_midi, shifted

Wave = npt.NDArray[np.float32]

ROUGH_CENTS = 40.0  # that the pitch given may be off
LOOK_S = (0.02, 0.012, 0.45)  # the first look: after the onset, before the next one, at most so long
LOOK_LEAST_S = 0.08
DOUBT = 0.5  # share of what earlier notes are thought to sound like that may be wrong
HEARD_SHARE = 0.98  # of half the sample rate, up to which partials are heard
NOISE = 3.0  # what is left of a band is no white noise: so many times its power
ANCHOR_CENTS, OTHER_CENTS = 2.0, 6.0  # beyond the spread between bells, that a partial may be off its place
APART_HZ = np.arange(1.0, 7.0, 0.5)  # of a second mode, where it is looked for
APART_LEAST_HZ, APART_MOST = 0.9, 1.3  # that a second mode is off; the latter in units of what bells have
GAIN = 0.7  # a second mode leaves at most so much of the energy that one left
LEAST_SHARE = 0.12  # of the louder mode's amplitude, that the other has
FOUND_HZ = 1.0  # a partial whose frequency is no better known was not found
OPPOSED = 4.0  # times what they sound like together, that two modes may have apart; more is one mode less another
FAINTEST = 1e-6  # amplitude of a partial, full scale 1
LONG_S = 1.7  # that the partials that make the strike note are listened to
AT_ONCE = 64  # notes: what they take in memory


@dataclass(frozen=True)
class Sweep:
    """One pass over all notes: how long each is listened to, how far a partial may be from where it was thought to be."""

    until_s: float
    reach_cents: int
    steps: int  # of Gauss-Newton
    anchors_only: bool = False


WIDE, NARROW = Width(32.0, 192.0, 144), Width(20.0, 128.0, 256)
SWEEPS = (
    (WIDE, (Sweep(0.3, 40, 2, anchors_only=True), Sweep(0.4, 16, 2))),
    (NARROW, (Sweep(0.5, 10, 2), Sweep(0.6, 6, 2), Sweep(0.8, 0, 2))),
)


@dataclass(frozen=True)
class Partials:
    """The P partials (as TABLES[kind].partials lists them) of N notes, as they are heard. Arrays are float64 (N, P), or (N,).

    A partial is sum of `amplitude` * 10 ** (-3 t / `t60_s`) * sin(2 pi `frequency_hz` t + `phase`), t from the onset given. One of two
    close modes has the amplitude-weighted mean of their frequencies. NaN where a partial was not found.
    """

    frequency_hz: Values
    amplitude: Values  # at the onset, full scale 1
    t60_s: Values
    phase: Values  # radians
    strike_hz: Values  # (N,)
    level_db: Values  # (N,): power of the partials at the onset, beside a sample of full scale


def measure(wave: Wave, sample_rate_hz: int, onset_s: Values, strike_hz: Values, kind: BellKind) -> Partials:
    """The partials of notes whose onsets (N,) are known to about 10 ms, in rising order, and whose strike pitches (N,) to 35 cents.

    `wave` is (samples,), full scale 1, at any level: it is heard as if its peak were near full scale.
    """
    table = TABLES[kind]
    exponent = exponent_of(wave)
    wave = np.ldexp(wave, -exponent)
    onset_s, strike_hz = np.asarray(onset_s, dtype=np.float64), np.asarray(strike_hz, dtype=np.float64)
    if not len(onset_s):
        empty = np.zeros((0, len(table.partials)))
        return Partials(empty, empty, empty, empty, np.zeros(0), np.zeros(0))
    heard, rough_hz = first_look(wave, sample_rate_hz, onset_s, strike_hz, table)
    refining = Refining(wave, sample_rate_hz, onset_s, strike_hz, table)
    for width, sweeps in SWEEPS:
        band = refining.bands(heard, width)
        for sweep in sweeps:
            refining.sweep(heard, band, sweep)
    for _ in range(2):
        refining.doublets(heard, band)
    partials = summary(heard, rough_hz, table)
    level_db = partials.level_db + 20 * math.log10(2) * exponent
    return replace(partials, amplitude=np.ldexp(partials.amplitude, exponent), level_db=level_db)


def exponent_of(wave: Wave) -> int:
    """By which power of two a recording has to be divided for its peak to be near full scale: so nothing of it is rounded."""
    return math.frexp(float(np.abs(wave).max(initial=0.0)))[1]


# ------------------------------------------------------------------------------------------------------- the first look


def first_look(wave: Wave, rate_hz: int, onset_s: Values, strike_hz: Values, table: BellTable) -> tuple[Heard, Values]:
    """The partials as peaks of a spectrum for each note, less what is known of earlier notes; and the strike pitch they agree on."""
    notes, partials = len(onset_s), len(table.partials)
    silent = np.zeros((notes, partials, MODES), dtype=np.complex128)
    heard = Heard(silent, silent.copy(), np.zeros((notes, partials)))
    better_hz = strike_hz.copy()
    ends_s = np.append(onset_s[1:], len(wave) / rate_hz) - LOOK_S[1]
    for note in range(notes):
        begin_s = onset_s[note] + LOOK_S[0]
        end_s = min(max(ends_s[note], begin_s + LOOK_LEAST_S), begin_s + LOOK_S[2])
        first, length = max(0, round(begin_s * rate_hz)), max(16, round((end_s - begin_s) * rate_hz))
        clip = np.zeros(length, dtype=np.float32)
        there = wave[first : first + length]
        clip[: len(there)] = there
        size = fft.next_fast_len(max(2 * length, round(0.5 * rate_hz)), real=True)
        spectrum = fft.rfft(clip * np.hanning(length).astype(np.float32), size).astype(np.complex128)
        back = slice(max(0, note - REMEMBERED), note)
        since = first / rate_hz - onset_s[back, None, None]
        tails = heard.amplitude[back] * np.exp(heard.rate[back] * since)
        look = Look(spectrum, size, length, rate_hz)
        look.subtract(heard.rate[back].ravel(), tails.ravel())
        better_hz[note], frequency_hz = peaks(look, strike_hz[note], table)
        decay = NEPERS_PER_T60 / usual_t60_s(table, strike_hz[note])
        found = np.isfinite(frequency_hz)
        rate = -decay + 2j * math.pi * np.where(found, frequency_hz, 0)
        amplitude = look.amplitudes(rate[found])
        heard.rate[note, :, 0] = rate
        heard.amplitude[note, found, 0] = amplitude * np.exp(-rate[found] * (first / rate_hz - onset_s[note]))
    return heard, better_hz


def usual_t60_s(table: BellTable, strike_hz: float) -> Values:
    """(P,): how long the partials of such a bell ring, by the table."""
    place = np.clip((hz_to_midi(strike_hz) - table.lowest_midi) / (table.highest_midi - table.lowest_midi), -0.2, 1.2)
    low, high = (np.log([partial.t60_s[end] for partial in table.partials]) for end in (0, 1))
    usual: Values = np.exp(low + (high - low) * place)
    return usual


@dataclass
class Look:
    """The spectrum of `length` samples under a Hann window, padded to `size`."""

    spectrum: Complex
    size: int
    length: int
    rate_hz: int

    def __post_init__(self) -> None:
        self.magnitude: Values = np.abs(self.spectrum)  # less what may be left of earlier notes

    def response(self, rate: Complex, bins: Indices) -> Complex:
        """The spectrum at `bins` (M, W) of exp(`rate` t), `rate` (M,), t from the first sample."""
        step = rate[:, None] / self.rate_hz - 2j * math.pi * bins / self.size
        turn = 2j * math.pi / (self.length - 1)

        def series(ratio: Complex) -> Complex:
            near = np.where(np.abs(ratio) < 1e-9, 1e-9, ratio)
            total: Complex = np.expm1(near * self.length) / np.expm1(near)
            return total

        return 0.5 * series(step) - 0.25 * series(step + turn) - 0.25 * series(step - turn)

    def subtract(self, rate: Complex, amplitude: Complex) -> None:
        loud = np.abs(amplitude) > 1e-5
        if not loud.any():
            return
        rate, amplitude = rate[loud], amplitude[loud]
        reach = round(6 * self.size / self.length)
        middle = np.round(rate.imag / (2 * math.pi) * self.size / self.rate_hz).astype(np.int64)
        bins = np.clip(middle[:, None] + np.arange(-reach, reach + 1), 0, len(self.spectrum) - 1)
        tails = np.zeros_like(self.spectrum)
        np.add.at(tails, bins.ravel(), (self.response(rate, bins) * amplitude[:, None] / 2).ravel())
        self.spectrum = self.spectrum - tails
        self.magnitude = np.maximum(np.abs(self.spectrum) - DOUBT * np.abs(tails), 0)

    def amplitudes(self, rate: Complex) -> Complex:
        """(M,) of modes (M,), by the spectrum at their frequencies, at the first sample."""
        bins = np.round(rate.imag / (2 * math.pi) * self.size / self.rate_hz).astype(np.int64)[:, None]
        bins = np.clip(bins, 0, len(self.spectrum) - 1)
        amplitude: Complex = (2 * self.spectrum[bins] / self.response(rate, bins))[:, 0]
        return amplitude

    def at(self, frequency_hz: Values) -> Values:
        """Magnitude, linear between bins; 0 above half the sample rate."""
        place = frequency_hz * self.size / self.rate_hz
        low = np.minimum(place.astype(np.int64), len(self.spectrum) - 2)
        share = place - low
        magnitude = self.magnitude
        found: Values = np.where(place < len(self.spectrum) - 1, magnitude[low] * (1 - share) + magnitude[low + 1] * share, 0.0)
        return found


def peaks(look: Look, rough_hz: float, table: BellTable) -> tuple[float, Values]:
    """The strike pitch that the partials agree on best, and the frequency of each (P,)."""
    ratios = np.array([partial.ratio for partial in table.partials])
    spread = np.array([max(partial.spread_cents, 2.0) for partial in table.partials])
    offsets = np.linspace(-3, 3, 49)  # of a partial's own place, in spreads
    moves = np.arange(-ROUGH_CENTS, ROUGH_CENTS + 1, 1.0)
    cents = moves[:, None, None] + spread[:, None] * offsets
    audible = rough_hz * ratios < look.rate_hz / 2 * HEARD_SHARE
    level = look.at(shifted(rough_hz * ratios[:, None], cents))  # (moves, P, offsets)
    floor = 1e-3 * level.max() + 1e-12
    score = np.log(level + floor) - math.log(floor) - offsets**2 / 2
    moved = moves[np.argmax((score.max(axis=2) * audible).sum(axis=1))]
    best_hz = shifted(rough_hz, float(moved))
    wide = np.linspace(-1, 1, 121) * (3 * spread[:, None] + 8)
    level = look.at(shifted(best_hz * ratios[:, None], wide))
    score = np.log(level + 1e-12) - (wide / (spread[:, None] + 4)) ** 2 / 2
    place = score.argmax(axis=1)
    frequency_hz = shifted(best_hz * ratios, wide[np.arange(len(ratios)), place])
    return best_hz, np.where(frequency_hz < look.rate_hz / 2 * HEARD_SHARE, frequency_hz, np.nan)


# -------------------------------------------------------------------------------------------------------------- bands


class Refining:
    """All notes of a piece while their partials are fitted."""

    def __init__(self, wave: Wave, rate_hz: int, onset_s: Values, strike_hz: Values, table: BellTable) -> None:
        self.wave, self.rate_hz, self.onset_s, self.table = wave, rate_hz, onset_s, table
        self.ratio = np.array([partial.ratio for partial in table.partials])
        self.spread = np.array([partial.spread_cents for partial in table.partials])
        self.anchors = np.array([index for index, _ in table.anchors])
        self.strike_hz = strike_hz.copy()
        self.usual = np.array([NEPERS_PER_T60 / usual_t60_s(table, hz) for hz in strike_hz])

    def chunks(self) -> list[Indices]:
        return np.split(np.arange(len(self.onset_s)), range(AT_ONCE, len(self.onset_s), AT_ONCE))

    def fitting(self, heard: Heard, band: Bands, notes: Indices, partials: Indices, until_s: float) -> Fitting:
        task = joined([task_of(heard, self.onset_s, band, note, partials, until_s) for note in notes])
        return Fitting(task, self.usual[notes][:, partials].ravel())

    def bands(self, heard: Heard, width: Width) -> Bands:
        return bands(self.wave, self.rate_hz, self.onset_s, heard.rate[:, :, 0].imag / (2 * math.pi), width)

    def sweep(self, heard: Heard, band: Bands, sweep: Sweep) -> None:
        """Every partial as one mode, where it explains most and agrees with the anchors of its note."""
        some = self.anchors if sweep.anchors_only else np.arange(len(self.ratio))
        for notes in self.chunks():
            fitting = self.fitting(heard, band, notes, some, sweep.until_s)
            rate = heard.rate[notes][:, some, 0]
            if sweep.reach_cents:
                rate = self.searched(fitting, rate, notes, some, sweep.reach_cents)
            fit = fitting(rate.reshape(-1, 1), sweep.steps)
            there, place = heard.amplitude[notes][:, some, 0] != 0, np.ix_(notes, some, np.zeros(1, dtype=np.int64))
            heard.rate[place] = fit.rate.reshape(*rate.shape, 1)
            heard.amplitude[place] = np.where(there, fit.amplitude.reshape(rate.shape), 0)[..., None]
            heard.error_hz[np.ix_(notes, some)] = fit.error.reshape(rate.shape)

    def searched(self, fitting: Fitting, rate: Complex, notes: Indices, some: Indices, reach_cents: int) -> Complex:
        """Rates (n, p) of some partials near those given, such that the anchors agree."""
        moves = np.arange(-reach_cents, reach_cents + 1.0)
        ratio, is_anchor = self.ratio[some], np.isin(some, self.anchors)
        middle_hz = np.maximum(rate.imag / (2 * math.pi), 1.0)
        middle_hz[:, is_anchor] = self.strike_hz[notes, None] * ratio[is_anchor]
        tried = rate.real[..., None] + 2j * math.pi * shifted(middle_hz[..., None], moves)
        flat = tried.reshape(-1, len(moves))
        explained = fitting.explained(flat[:, :0], flat)
        noise = np.maximum((fitting.energy - explained.max(axis=1)) / fitting.samples * NOISE, 1e-14)
        score = (explained / noise[:, None]).reshape(tried.shape)
        agreed = agreement(score[:, is_anchor], moves, self.spread[some][is_anchor])
        self.strike_hz[notes] = shifted(self.strike_hz[notes], agreed)
        cents = cents_between(self.strike_hz[notes, None, None] * ratio[:, None], tried.imag / (2 * math.pi))
        spread = np.hypot(self.spread[some], np.where(is_anchor, ANCHOR_CENTS, OTHER_CENTS))[:, None]
        return best_of(flat, (score - (cents / spread) ** 2 / 2).reshape(flat.shape)).reshape(rate.shape)

    def doublets(self, heard: Heard, band: Bands) -> None:
        """The anchors as one mode or two."""
        some, (least, most) = self.anchors, self.table.doublet_hz
        compass = (self.table.lowest_midi, self.table.highest_midi)
        for notes in self.chunks():
            fitting = self.fitting(heard, band, notes, some, LONG_S)
            one = fitting(heard.rate[notes][:, some, 0].reshape(-1, 1), 4)
            pairs = []
            for side in (-1, 1):
                tried = one.rate + 2j * math.pi * side * APART_HZ
                second = best_of(tried, fitting.explained(one.rate, tried))
                pairs.append(fitting(np.concatenate((one.rate, second), axis=1), 6))
            two = pairs[0].where(pairs[1].left < pairs[0].left, pairs[1])
            size = np.abs(two.amplitude)
            apart_hz = np.abs(two.rate[:, 0].imag - two.rate[:, 1].imag) / (2 * math.pi)
            most_hz = np.interp(hz_to_midi(self.strike_hz[notes]), compass, (least[1], most[1])).repeat(len(some)) * APART_MOST
            doubled = (
                (two.left < one.left * GAIN)
                & (size.min(axis=1) > LEAST_SHARE * size.max(axis=1))
                & (apart_hz < most_hz)
                & (apart_hz > APART_LEAST_HZ)
            )
            fit = one.paired().where(doubled, two)
            shape = (len(notes), len(some), MODES)
            there = heard.amplitude[notes][:, some, :1] != 0
            heard.error_hz[np.ix_(notes, some)] = (fit.error.max(axis=1) * np.where(doubled, 3, 1)).reshape(shape[:2])
            heard.rate[np.ix_(notes, some)] = fit.rate.reshape(shape)
            heard.amplitude[np.ix_(notes, some)] = np.where(there, fit.amplitude.reshape(shape), 0)


def agreement(score: Values, moves: Values, spread: Values) -> Values:
    """(N,): the move of the strike note, in cents, that all anchors' scores (N, A, G) at `moves` (G,) are best for.

    An anchor may be off the strike note by its `spread` (A,): what it scores at a distance counts less for it.
    """
    total = np.zeros((len(score), len(moves)))
    apart = (moves[:, None] - moves) ** 2
    for anchor, one in enumerate(spread):
        total += (score[:, anchor, None] - apart / (2 * (one**2 + ANCHOR_CENTS**2))).max(axis=2)
    agreed: Values = moves[total.argmax(axis=1)]
    return agreed


def summary(heard: Heard, rough_hz: Values, table: BellTable) -> Partials:
    """What was heard, each partial's modes as one."""
    size = np.abs(heard.amplitude)
    total = size.sum(axis=2)
    found = (total > FAINTEST) & (heard.error_hz < FOUND_HZ)
    size = size * found[..., None]
    total = size.sum(axis=2)
    share = size / np.where(found, total, 1)[..., None]
    frequency_hz = np.where(found, (heard.rate.imag * share).sum(axis=2) / (2 * math.pi), np.nan)
    t60_s = np.where(found, NEPERS_PER_T60 / np.maximum(-(heard.rate.real * share).sum(axis=2), 1e-3), np.nan)
    phase = np.where(found, np.angle(heard.amplitude.sum(axis=2)) + math.pi / 2, np.nan)
    anchors = np.stack([frequency_hz[:, index] * factor for index, factor in table.anchors], axis=1)
    heard_at = np.isfinite(anchors).any(axis=1)
    strike_hz = rough_hz.copy()
    strike_hz[heard_at] = np.nanmedian(anchors[heard_at], axis=1)
    if any(table.partials[index].doublet_share for index, _ in table.anchors):  # single modes need no help from other strokes
        strike_hz = strike_together(strike_hz, frequency_hz, heard.error_hz, rough_hz, table)
    power = (size**2).sum(axis=2)
    together = np.abs((heard.amplitude * found[..., None]).sum(axis=2)) ** 2
    power = np.where(power > OPPOSED * together, together, power)
    level_db = 10 * np.log10(power.sum(axis=1) / 2 + 1e-12)
    return Partials(frequency_hz, np.where(found, total, np.nan), t60_s, phase, strike_hz, level_db)

"""Decaying sinusoids (modes) that overlap in time and frequency, told apart by fitting all of a band together.

First one mode after another to what the others leave (RELAX: Li and Stoica 1996, "Efficient mixed-spectrum estimation"), then two modes in
place of one that beats, then all exponents together: Levenberg-Marquardt steps with the amplitudes, which are linear, eliminated (Golub
and Pereyra 1973). Strikes on one bell have their partials at the same ratios to the strike note; that is what keeps apart the long tails
of strikes that are a fraction of a hertz from each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, linalg

from hemony.bells.bands import Band, Complex
from hemony.bells.notes import Values
from hemony.bells.tuning import cents_between, shifted

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FAINT = np.log(10) * 75 / 20  # nepers that a mode has fallen by when it is no longer fitted
LOOK_S = 4.0  # of a mode, for its frequency
BLOCK_S = 1.0  # of the sums, in each of which only the modes count that ring
LOOSE = 3.0  # standard deviation of an amplitude beside what was measured
LEAST_LOUD = 1e-6
FIRST_NOISE_DB = -20.0  # of a band, before it is known what the modes leave
TRUST_DB = -40.0  # what decaying sinusoids leave of a recorded band at best
REACH_CENTS, REACH_HZ = 2.5, 0.4  # that a frequency may be off, whichever is more
AGAIN_HZ = 0.1  # and the second time
STRAY_CENTS = 1.5  # from the other strikes of a bell
PAIR_STEP_HZ = 0.1
PAIRS = np.arange(6, 71, 2)  # steps apart that two modes of a partial may be
OFFSETS = np.arange(-75, 13)  # steps of the lower one from where one was found
MOST_APART_HZ = PAIR_STEP_HZ * float(PAIRS[-1])
PAIR_DB = -15.0  # of the energy of one that two explain more
ROUNDS = 2  # the second for those pairs that the first has cleared the view of
STEPS = 4  # of all exponents together
STEP_HZ, MOST_STEP_HZ = 0.3, 0.5  # standard deviation of a step before damping, and the longest
TIE_CENTS = 0.5  # standard deviation of a mode about that of its bell
SMEARS_S = (0.04, 0.12, 0.4)  # time constants of what builds up around a partial: a room, modes too close to be told apart
SMEAR_DB = -10.0  # beside the partial
SMEAR_SPANS = 5  # time constants


@dataclass
class Tones:
    """K decaying sinusoids: real part of `amplitude` * exp(`rate` * t), t in seconds from the onset of `note`."""

    note: Indices  # (K,)
    partial: Indices  # (K,): a number for each partial of each bell
    rate: Complex  # (K,) a second: minus the decay, plus i times the angular frequency
    amplitude: Complex  # (K, channels)
    strike: Values  # (K,): angular frequency at which the note is heard

    @staticmethod
    def joined(parts: list["Tones"]) -> "Tones":
        names = "note partial rate amplitude strike".split()
        return Tones(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def chosen(self, which: Flags | Indices) -> "Tones":
        return Tones(self.note[which], self.partial[which], self.rate[which], self.amplitude[which], self.strike[which])

    @property
    def frequency_hz(self) -> Values:
        hz: Values = self.rate.imag / (2 * np.pi)
        return hz


# ------------------------------------------------------------------------------------------------------------------- fit


@dataclass
class Known:
    """Of K modes before their exponents are fitted."""

    noise: float  # power
    stiff: Values  # (K,): noise over the variance of the amplitudes, which keeps two that are nearly one from growing against each other
    tie: Values  # (K, K): noise over the variance of the rates about those of the same bell
    usual: Values  # (K,): decays
    centre: complex  # of the band


@dataclass
class Linearised:
    """Modes with the amplitudes that fit best, and the normal equations of these and of the modes' derivatives by their rates."""

    rate: Complex  # (K,)
    amplitude: Complex  # (K, channels)
    gram: Complex  # (2K, 2K)
    right: Complex  # (2K, channels)
    cost: float

    def moved(self, damping: float, known: Known) -> Complex:
        """The rates (K,) after a step; decays stay within a factor of the usual ones."""
        count = len(self.rate)
        slopes = slice(count, None)
        from_amplitudes = solved(self.gram[:count, :count], self.gram[:count, slopes])
        free = self.gram[slopes, slopes] - self.gram[slopes, :count] @ from_amplitudes
        unexplained = self.right[slopes] - self.gram[slopes, :count] @ self.amplitude
        curve = (self.amplitude.conj() @ self.amplitude.T) * free + known.tie
        pull = (self.amplitude.conj() * unexplained).sum(axis=1) - known.tie @ (self.rate + known.centre)
        diagonal = np.arange(count)
        curve[diagonal, diagonal] += damping * known.noise / (2 * np.pi * STEP_HZ) ** 2
        step = solved(curve, pull)
        decay = -self.rate.real - np.clip(step.real, -known.usual / 2, known.usual / 2)
        most = 2 * np.pi * MOST_STEP_HZ
        turned: Complex = -np.clip(decay, known.usual / 4, known.usual * 4) + 1j * (
            self.rate.imag + np.clip(step.imag, -most, most)
        )
        return turned


class Fit:
    """Modes fitted to a band. `rate` (K,) is beside the band's centre, `source` (K,) says of which tone each is a mode."""

    def __init__(self, band: Band, tones: Tones) -> None:
        """Begins with one mode for each tone, of whose amplitudes the sizes count."""
        self.band = band
        self.note, self.partial, self.strike = tones.note, tones.partial, tones.strike
        self.rate = tones.rate - 1j * band.centre
        self.usual = -tones.rate.real
        self.loud = np.maximum(np.linalg.norm(tones.amplitude, axis=1), LEAST_LOUD)
        self.source = np.arange(len(self.note))
        self.second = np.zeros(len(self.note), dtype=np.int64)  # 1 for the second mode of a tone
        self.amplitude: Complex = np.zeros((len(self.note), band.signal.shape[1]), dtype=np.complex128)

    def run(self, low_hz: float, high_hz: float) -> None:
        """All of it; modes are paired from `low_hz` to `high_hz`."""
        self.settle()
        self.relax(np.maximum(REACH_HZ, self.frequency_hz * (shifted(1.0, REACH_CENTS) - 1)))
        for turn in range(ROUNDS):
            self.agree()
            near = (self.frequency_hz > low_hz - MOST_APART_HZ) & (self.frequency_hz < high_hz + MOST_APART_HZ)
            alone = ~np.isin(self.partial, self.partial[self.second == 1])
            found = self.add_pairs(np.flatnonzero(near & alone))
            if turn and not found:
                break
            self.settle()
            self.relax(np.full(len(self.rate), AGAIN_HZ))
            self.agree()
            self.refine()

    @property
    def frequency_hz(self) -> Values:
        hz: Values = (self.rate.imag + self.band.centre) / (2 * np.pi)
        return hz

    # ------------------------------------------------------------------------------------------------ one mode at a time

    def span(self, mode: int, most_s: float = np.inf) -> slice:
        """The samples in which it is heard."""
        begin_s = self.band.onset_s[self.note[mode]]
        end_s = begin_s + min(FAINT / -self.rate[mode].real, most_s)
        first = int(np.ceil(begin_s / self.band.step_s - 1e-9))
        return slice(first, min(len(self.band.weight), max(first + 8, int(end_s / self.band.step_s))))

    def wave(self, mode: int, span: slice) -> Complex:
        begin_s = self.band.onset_s[self.note[mode]]
        unit: Complex = np.exp(self.rate[mode] * (np.arange(span.start, span.stop) * self.band.step_s - begin_s))
        return unit

    def relax(self, reach_hz: Values) -> None:
        """Each mode's frequency within its reach (K,), and its amplitude, by what the others leave; the strongest first."""
        left = self.left()
        for mode in np.argsort(-np.linalg.norm(self.amplitude, axis=1)):
            look, span = self.span(mode, LOOK_S), self.span(mode)
            left[span] += self.wave(mode, span)[:, None] * self.amplitude[mode]
            self.rate[mode] += (
                2j * np.pi * self.nearest_hz(self.wave(mode, look).conj() * self.band.weight[look], left[look], reach_hz[mode])
            )
            unit = self.wave(mode, span)
            weighted = unit.conj() * self.band.weight[span]
            self.amplitude[mode] = weighted @ left[span] / max(float((weighted * unit).sum().real), 1e-12)
            left[span] -= unit[:, None] * self.amplitude[mode]

    def nearest_hz(self, weighted: Complex, left: Complex, reach_hz: float) -> float:
        """How far from a mode (T,), conjugate, one like it explains most of what is left (T, channels), in Hz."""
        size = fft.next_fast_len(4 * len(weighted))
        power = (np.abs(fft.fft(left * weighted[:, None], size, axis=0)) ** 2).sum(axis=1)
        bin_hz = 1 / (self.band.step_s * size)
        reach = max(1, min(int(reach_hz / bin_hz), size // 2 - 1))
        around = power[np.arange(-reach, reach + 1)]
        place = int(around.argmax())
        offset = float(place - reach)
        if 0 < place < 2 * reach:  # the top of a parabola
            low, middle, high = around[place - 1 : place + 2]
            offset += float(0.5 * (low - high) / (low - 2 * middle + high - 1e-300))
        return float(offset * bin_hz)

    # ------------------------------------------------------------------------------------------------- strikes of a bell

    def agree(self) -> None:
        """Modes that lie where the other strikes of their bells have none are put where these have one."""
        kind = 2 * self.partial + self.second
        for one in np.unique(kind):
            same = np.flatnonzero(kind == one)
            cents = cents_between(self.strike[same], self.rate[same].imag + self.band.centre)
            middle = weighted_median(cents, np.linalg.norm(self.amplitude[same], axis=1))
            stray = same[np.abs(cents - middle) > STRAY_CENTS]
            if len(same) > 2:
                self.rate[stray] = self.rate[stray].real + 1j * (self.strike[stray] * shifted(1.0, middle) - self.band.centre)

    def add_pairs(self, modes: Indices) -> int:
        """Two modes in place of each of `modes` where that explains more, at the same places in all strikes of a bell; how many are added."""
        left = self.left()
        added: list[int] = []
        apart_hz: list[float] = []
        for partial in np.unique(self.partial[modes]):
            strikes = modes[self.partial[modes] == partial]
            absolute = self.rate[strikes].imag + self.band.centre
            cents = cents_between(self.strike[strikes], absolute)
            middle = weighted_median(cents, np.linalg.norm(self.amplitude[strikes], axis=1))
            from_hz = (self.strike[strikes] * shifted(1.0, middle) - absolute) / (2 * np.pi)
            explained = np.sum([self.paired(mode, hz, left) for mode, hz in zip(strikes, from_hz, strict=True)], axis=0)
            one, two = explained[0].max(), explained[1:]
            distance, place = np.unravel_index(two.argmax(), two.shape)
            if two.max() - one > one * 10 ** (PAIR_DB / 10):
                added += strikes.tolist()
                apart_hz += [float(PAIRS[distance] * PAIR_STEP_HZ)] * len(strikes)
                self.rate[strikes] += 2j * np.pi * (from_hz + OFFSETS[place] * PAIR_STEP_HZ)
        beside = np.array(added, dtype=np.int64)
        self.rate = np.append(self.rate, self.rate[beside] + 2j * np.pi * np.array(apart_hz))
        for name in ("note", "partial", "usual", "loud", "source", "strike"):
            setattr(self, name, np.append(getattr(self, name), getattr(self, name)[beside]))
        self.second = np.append(self.second, np.ones(len(beside), dtype=np.int64))
        self.amplitude = np.concatenate((self.amplitude, np.zeros_like(self.amplitude[beside])))
        return len(beside)

    def paired(self, mode: int, from_hz: float, left: Complex) -> Values:
        """The energy (1 + D, O) that one mode explains, and two that are PAIRS (D,) apart, the lower one at OFFSETS (O,) from `from_hz`
        beside the mode."""
        span = self.span(mode, LOOK_S)
        unit = self.wave(mode, span)
        weighted = unit.conj() * self.band.weight[span]
        own = left[span] + unit[:, None] * self.amplitude[mode]
        turned = weighted * np.exp(-2j * np.pi * from_hz * self.band.step_s * np.arange(len(unit)))
        size = round(1 / (PAIR_STEP_HZ * self.band.step_s))  # longer than LOOK_S
        alike = fft.fft(weighted * unit, size)[PAIRS]
        energy = max(float((weighted * unit).sum().real), 1e-12)
        overlap = fft.fft(own * turned[:, None], size, axis=0)  # (size, channels)
        lower, upper = overlap[OFFSETS], overlap[OFFSETS + PAIRS[:, None]]  # (O, channels), (D, O, channels)
        cross = (lower.conj() * upper).sum(axis=2) * (alike.conj() / energy)[:, None]
        one, other = ((np.abs(values) ** 2).sum(axis=-1) for values in (lower, upper))
        both = (one + other - 2 * cross.real) / np.maximum(1 - np.abs(alike / energy) ** 2, 0.05)[:, None]
        return np.concatenate((one[None], both)) / energy

    # ------------------------------------------------------------------------------------------------- all modes together

    def blocks(self, note: Indices, rate: Complex, longest_s: Values) -> Iterator[tuple[slice, Indices, Complex]]:
        """Stretches of the band with the modes (K,) that are heard in each (A,), for at most `longest_s` (K,), and these: (A, T)."""
        begin_s = self.band.onset_s[note]
        end_s = begin_s + np.minimum(longest_s, FAINT / -rate.real)
        step_s, length = self.band.step_s, max(1, round(BLOCK_S / self.band.step_s))
        inside = np.exp(rate[:, None] * step_s * np.arange(length))  # an exponential of a sum is a product: T + 1 of them for T * T
        for first in range(int(begin_s.min() / step_s), len(self.band.weight), length):
            part = slice(first, min(first + length, len(self.band.weight)))
            active = np.flatnonzero((begin_s <= (part.stop - 1) * step_s) & (end_s > first * step_s))
            if len(active):
                since_s = first * step_s - begin_s[active]
                modes = inside[active, : part.stop - first] * np.exp(rate[active] * since_s)[:, None]
                new = np.flatnonzero(since_s < 0)
                modes[new] *= np.arange(part.stop - first) * step_s >= -since_s[new, None]
                yield part, active, modes

    def left(self) -> Complex:
        """What the modes do not explain (T, channels)."""
        left = self.band.signal.copy()
        for part, active, modes in self.blocks(self.note, self.rate, np.full(len(self.rate), np.inf)):
            left[part] -= modes.T @ self.amplitude[active]
        return left

    def noise(self) -> float:
        """Power of what is left, and at least what decaying sinusoids leave of a recording."""
        weight = self.band.weight[:, None]
        left, whole = (float((np.abs(values) ** 2 * weight).sum()) for values in (self.left(), self.band.signal))
        return max(left, whole * 10 ** (TRUST_DB / 10), 1e-20) / max(float(weight.sum()), 1.0)

    def sums(self, note: Indices, rate: Complex, longest_s: Values, slopes: bool) -> tuple[Complex, Complex]:
        """Normal equations of modes (K,) that are heard for at most `longest_s` (K,), and where `slopes` of their derivatives by the rate:
        (K or 2K, as many) and (K or 2K, channels)."""
        count = len(rate)
        columns = 2 * count if slopes else count
        gram, right = np.zeros((columns, columns), complex), np.zeros((columns, self.band.signal.shape[1]), complex)
        for part, active, modes in self.blocks(note, rate, longest_s):
            if slopes:
                since_s = np.arange(part.start, part.stop) * self.band.step_s - self.band.onset_s[note[active], None]
                modes = np.concatenate((modes, modes * since_s))
                active = np.concatenate((active, active + count))
            weighted = modes.conj() * self.band.weight[part]
            gram[active[:, None], active] += weighted @ modes.T
            right[active] += weighted @ self.band.signal[part]
        return gram, right

    def settle(self) -> None:
        """All amplitudes at the rates that are known."""
        noise = float((np.abs(self.band.signal) ** 2).mean()) * 10 ** (FIRST_NOISE_DB / 10)
        gram, right = self.sums(self.note, self.rate, np.full(len(self.rate), np.inf), slopes=False)
        self.amplitude = solved(gram + np.diag(noise / (LOOSE * self.loud) ** 2), right)

    def refine(self) -> None:
        """All exponents, those of one bell's strikes held near each other."""
        noise, kind = self.noise(), 2 * self.partial + self.second
        mean = (kind[:, None] == kind).astype(np.float64)
        mean /= mean.sum(axis=1)
        ratio = mean @ ((self.rate.imag + self.band.centre) / self.strike)
        loose = self.strike * ratio * (shifted(1.0, TIE_CENTS) - 1)
        tie = (np.eye(len(kind)) - mean) * noise / np.outer(loose, loose)
        known = Known(noise, noise / (LOOSE * self.loud) ** 2, tie, self.usual, 1j * self.band.centre)
        best, damping = self.linearised(known), 1.0
        for _ in range(STEPS):
            self.rate = best.moved(damping, known)
            tried = self.linearised(known)
            if tried.cost < best.cost:
                best, damping = tried, damping / 4
            else:
                damping *= 8
        self.rate, self.amplitude = best.rate, best.amplitude

    def linearised(self, known: Known) -> Linearised:
        count = len(self.rate)
        gram, right = self.sums(self.note, self.rate, np.full(count, np.inf), slopes=True)
        gram[np.arange(count), np.arange(count)] += known.stiff
        amplitude = solved(gram[:count, :count], right[:count])
        absolute = self.rate + known.centre
        tension = float((absolute.conj() @ known.tie @ absolute).real)
        return Linearised(self.rate, amplitude, gram, right, tension - float((right[:count].conj() * amplitude).sum().real))

    def smeared(self, modes: Indices) -> Tones:
        """Some of the modes, each with what builds up around it, by all amplitudes together."""
        decays = np.concatenate(([0.0], 1 / np.array(SMEARS_S)))
        count, times = len(self.rate), len(decays)
        note = np.tile(self.note, times)
        rate = (self.rate - decays[:, None]).ravel()
        gram, right = self.sums(note, rate, np.repeat([np.inf, *(SMEAR_SPANS * np.array(SMEARS_S))], count), slopes=False)
        likely = np.maximum(np.linalg.norm(self.amplitude, axis=1) * 10 ** (SMEAR_DB / 20), LEAST_LOUD)
        spread = np.concatenate((LOOSE * self.loud, np.tile(likely, times - 1)))
        amplitude = solved(gram + np.diag(self.noise() / spread**2), right)
        which = (modes + count * np.arange(times)[:, None]).ravel()
        turned = amplitude[which] * np.exp(1j * self.band.centre * self.band.onset_s[note[which]])[:, None]
        rate = rate[which] + 1j * self.band.centre
        return Tones(note[which], np.tile(self.partial, times)[which], rate, turned, np.tile(self.strike, times)[which])


def solved(matrix: Complex, right: Complex) -> Complex:
    """`matrix` is Hermitian and, by what is known beforehand of each unknown, positive."""
    solution: Complex = linalg.solve(matrix, right, assume_a="her", check_finite=False)
    return solution


def weighted_median(values: Values, weight: Values) -> float:
    """The value below and above which half of the weight lies."""
    order = np.argsort(values)
    share = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(share, share[-1] / 2)])

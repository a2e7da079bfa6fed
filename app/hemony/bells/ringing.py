"""Decaying sinusoids fitted to narrow bands about the partials of notes that ring on into each other.

A band is the spectrum of a few seconds under a Gaussian filter, brought down to a low sample rate. In it a decaying sinusoid stays one.
The modes of a partial are fitted together with all modes of other notes in its band, each from its own onset on: Gauss-Newton on the
exponents with the amplitudes eliminated (variable projection, Golub and Pereyra 1973).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from hemony.bells.notes import Values

Complex = npt.NDArray[np.complex128]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

MODES = 2  # of a partial at most
STRUCK_S = (0.026, 0.032)  # before and after an onset, where a band says nothing: strike, error of the onset, length of the filter
EDGE_S = 0.04  # of a band that its ends spoil
LEAST_S = 0.06  # after an onset, that counts however soon the recording ends
LEAD_S = 0.25  # of a band before the onset
LOOSE = 0.5  # relative standard deviation of a decay about the usual one
COMPANY = 6  # modes of other notes and partials that are fitted along with a partial's
FAINT = 4  # further ones that are taken off as they are known
REMEMBERED = 48  # earlier notes that may still ring
MOST_HZ = 1.5  # that a step moves a mode


@dataclass
class Heard:
    """What is known so far of N notes of P partials of MODES modes each; amplitude 0 for a mode that is not there."""

    rate: Complex  # (N, P, MODES), a second: minus the decay, plus i times the angular frequency
    amplitude: Complex  # (N, P, MODES), at the onset: a mode sounds as the real part of amplitude * exp(rate * t)
    error_hz: Values  # (N, P): standard deviation of the frequency, were what is left of the band white noise


@dataclass(frozen=True)
class Width:
    """Of the bands about partials: standard deviation of the Gaussian filter, samples a second, samples."""

    sigma_hz: float
    rate_hz: float
    samples: int


@dataclass
class Bands:
    """Band signals about the partials of one note after another."""

    signal: Complex  # (N, P, T): wave = Re(signal * exp(2 pi i centre t)), t from the onset
    centre_hz: Values  # (N, P)
    time_s: Values  # (N, T) from the onset
    end_s: Values  # (N,) of the recording, from the onset
    width: Width


def bands(wave: npt.NDArray[np.float32], rate_hz: int, onset_s: Values, frequency_hz: Values, width: Width) -> Bands:
    size = fft.next_fast_len(round(width.samples * rate_hz / width.rate_hz), real=True)
    bin_hz = rate_hz / size
    first = np.round((onset_s - LEAD_S) * rate_hz).astype(np.int64)
    middle = np.round(frequency_hz / bin_hz).astype(np.int64)
    steps = np.arange(width.samples) - width.samples // 2
    gain = 2 * np.exp(-((steps * bin_hz / width.sigma_hz) ** 2) / 2) * width.samples / size
    signal = np.zeros((*frequency_hz.shape, width.samples), dtype=np.complex128)
    for note, start in enumerate(first):
        clip = np.zeros(size, dtype=np.float32)
        low, high = max(0, start), min(len(wave), start + size)
        if low < high:
            clip[low - start : high - start] = wave[low:high]
        spectrum = fft.rfft(clip)
        place = middle[note][:, None] + steps
        inside = (place >= 0) & (place < len(spectrum))
        picked = np.where(inside, spectrum[np.clip(place, 0, len(spectrum) - 1)], 0) * gain
        signal[note] = fft.ifft(fft.ifftshift(picked, axes=1), axis=1)
    start_s = first / rate_hz - onset_s
    centre_hz = middle * bin_hz
    time_s = start_s[:, None] + np.arange(width.samples) * size / rate_hz / width.samples
    signal *= np.exp(-2j * math.pi * centre_hz * start_s[:, None])[..., None]
    return Bands(signal, centre_hz, time_s, len(wave) / rate_hz - onset_s, width)


def gain(offset: Complex, sigma_hz: float) -> Complex:
    """Of a band's filter, for a mode whose rate differs so much from the band's centre."""
    near = np.clip(offset.imag, -50 * sigma_hz, 50 * sigma_hz)  # 8 standard deviations: nothing
    response: Complex = np.exp(((offset.real + 1j * near) / (2 * math.pi * sigma_hz)) ** 2 / 2)
    return response


def powers(rate: Complex, time_s: Values) -> Complex:
    """exp(rate t) (..., T) of rates (...), at evenly spaced times (..., T)."""
    count = time_s.shape[-1]
    block = math.isqrt(count)
    coarse = np.exp(rate[..., None] * time_s[..., ::block])
    fine = np.exp(rate[..., None] * (time_s[..., :block] - time_s[..., :1]))
    whole: Complex = (coarse[..., :, None] * fine[..., None, :]).reshape(*rate.shape, coarse.shape[-1] * block)[..., :count]
    return whole


@dataclass
class Task:
    """B bands in each of which the modes of one partial are to be fitted."""

    signal: Complex  # (B, T)
    weight: Values  # (B, T): 0 where it says nothing
    time_s: Values  # (B, T), from the onset
    company: Complex  # (B, K, T): modes of other notes and partials
    centre: Complex  # (B,): i times the angular frequency of the band
    sigma_hz: float


def weights(onset_s: Values, note: int, time_s: Values, until_s: float) -> Values:
    """(T,): 0 at the ends of a band, about each onset, and after `until_s`."""
    weight = (time_s > time_s[0] + EDGE_S) & (time_s < min(time_s[-1] - EDGE_S, until_s))
    others = onset_s - onset_s[note]
    for other in others[(time_s[0] < others) & (others < time_s[-1])]:
        weight &= (time_s < other - STRUCK_S[0]) | (time_s > other + STRUCK_S[1])
    found: Values = weight.astype(np.float64)
    return found


def task_of(heard: Heard, onset_s: Values, band: Bands, note: int, partials: Indices, until_s: float) -> Task:
    """What a note's `partials` are fitted to: their bands, less the faint modes of others, with the loud ones beside."""
    low, high = max(0, note - REMEMBERED), int(np.searchsorted(onset_s, onset_s[note] + min(until_s, band.time_s[note, -1])))
    samples = min(band.width.samples, math.ceil((until_s + LEAD_S) * band.width.rate_hz) + 1)
    time_s, signal = band.time_s[note, :samples], band.signal[note, partials, :samples].copy()
    others, numbers, which = np.nonzero(heard.amplitude[low:high])
    rate, amplitude = (values[low:high][others, numbers, which] for values in (heard.rate, heard.amplitude))
    begins_s = onset_s[low:high][others] - onset_s[note]
    own = np.where(others + low == note, numbers, -1)
    centre = 2j * math.pi * band.centre_hz[note, partials]
    start_s = np.maximum(begins_s, time_s[0])
    offset = rate - centre[:, None]  # (P, all modes)
    there = amplitude * np.exp(rate * (start_s - begins_s)) * gain(offset, band.width.sigma_hz)
    decay = -2 * rate.real
    energy = np.abs(there) ** 2 * -np.expm1(-np.maximum(decay, 1e-6) * (time_s[-1] - start_s)) / np.maximum(decay, 1e-6)
    energy[own == partials[:, None]] = 0
    kept = min(COMPANY + FAINT, energy.shape[1])
    order = np.argsort(-energy, axis=1)[:, :kept]
    rows = np.arange(len(partials))[:, None]
    modes = powers(offset[rows, order], time_s - start_s[order][..., None]) * (time_s >= begins_s[order][..., None])
    modes *= (energy[rows, order] > 0)[..., None]
    turned = there * np.exp(-centre[:, None] * start_s)  # a band's phase counts from the note's onset, a mode's from its own
    signal -= np.einsum("pk,pkt->pt", turned[rows, order][:, COMPANY:], modes[:, COMPANY:])
    company = np.zeros((len(partials), COMPANY, samples), dtype=np.complex128)
    company[:, : modes.shape[1]] = modes[:, :COMPANY]
    heard_s = min(until_s, max(float(band.end_s[note]) - EDGE_S, LEAST_S))  # the silence after the recording is none of the bell's
    weight = np.broadcast_to(weights(onset_s, note, time_s, heard_s), signal.shape)
    return Task(signal, weight, np.broadcast_to(time_s, signal.shape), company, centre, band.width.sigma_hz)


def joined(tasks: list[Task]) -> Task:
    """All their bands as one task."""
    return Task(
        signal=np.concatenate([task.signal for task in tasks]),
        weight=np.concatenate([task.weight for task in tasks]),
        time_s=np.concatenate([task.time_s for task in tasks]),
        company=np.concatenate([task.company for task in tasks]),
        centre=np.concatenate([task.centre for task in tasks]),
        sigma_hz=tasks[0].sigma_hz,
    )


@dataclass
class Fit:
    rate: Complex  # (B, M)
    amplitude: Complex  # (B, M), at the onset
    left: Values  # (B,): energy that is left of what was to be fitted
    samples: Values  # (B,): with weight
    error: Values  # (B, M): standard deviation of the frequency in Hz, were what is left white noise

    def paired(self) -> "Fit":
        """Of one mode: as two, of which one is silent."""
        silent = np.pad(self.amplitude, ((0, 0), (0, 1)))
        return Fit(self.rate.repeat(2, axis=1), silent, self.left, self.samples, self.error.repeat(2, axis=1))

    def where(self, better: Flags, other: "Fit") -> "Fit":
        """The other one where it is better (B,)."""
        pick = better[:, None]
        return Fit(
            np.where(pick, other.rate, self.rate),
            np.where(pick, other.amplitude, self.amplitude),
            np.where(better, other.left, self.left),
            self.samples,
            np.where(pick, other.error, self.error),
        )


class Fitting:
    """Tasks with the company's amplitudes eliminated, ready for one set of modes after another."""

    def __init__(self, task: Task, usual: Values) -> None:
        """The decays are held loosely at the `usual` ones (B,), a second."""
        self.centre, self.usual, self.sigma_hz = task.centre, usual, task.sigma_hz
        self.time_s, self.weight = task.time_s[:, None], (task.weight * (task.time_s >= 0))[:, None]
        self.samples = task.weight.sum(axis=1)
        beside = task.company * task.weight[:, None]
        beside = beside / (np.sqrt((np.abs(beside) ** 2).sum(axis=2, keepdims=True)) + 1e-12)
        self.signal = (task.signal * task.weight)[..., None]  # (B, T, 1)
        self.beside = beside.conj()  # (B, K, T)
        self.inverse = np.linalg.inv(self.beside @ beside.transpose(0, 2, 1) + np.eye(beside.shape[1]) * 1e-9)
        self.overlap = self.beside @ self.signal  # (B, K, 1)
        energy = (np.abs(self.signal) ** 2).sum(axis=1)[:, 0]
        self.energy = energy - (self.overlap.conj() * (self.inverse @ self.overlap)).sum(axis=1)[:, 0].real

    def __call__(self, rate: Complex, times: int) -> Fit:
        """Modes (B, M) moved `times` Gauss-Newton steps."""
        modes = rate.shape[1]
        for turn in range(times + 1):
            own = powers(rate - self.centre[:, None], self.time_s) * self.weight
            both = np.concatenate((own, own * self.time_s), axis=1) if turn < times else own
            scale = np.sqrt((np.abs(both) ** 2).sum(axis=2)) + 1e-12
            both /= scale[..., None]
            columns = both.transpose(0, 2, 1)
            cross = self.beside @ columns
            part = self.inverse @ np.concatenate((cross, self.overlap), axis=2)
            both = both.conj()
            gram = both @ columns - cross.conj().transpose(0, 2, 1) @ part[..., :-1]
            right = both @ self.signal - cross.conj().transpose(0, 2, 1) @ part[..., -1:]
            inner = gram[:, :modes, :modes] + np.eye(modes) * 1e-9
            solved = np.linalg.solve(inner, np.concatenate((gram[:, :modes, modes:], right[:, :modes]), axis=2))
            amplitude = solved[..., -1] / scale[:, :modes]
            left = np.maximum(self.energy - (right[:, :modes, 0].conj() * solved[..., -1]).sum(axis=1).real, 1e-12)
            if turn == times:
                break
            outer = gram[:, modes:, modes:] - gram[:, modes:, :modes] @ solved[..., :-1]
            slope = amplitude * scale[:, modes:]
            pull = slope.conj() * (right[:, modes:] - gram[:, modes:, :modes] @ solved[..., -1:])[..., 0]
            curve = slope.conj()[:, :, None] * outer * slope[:, None, :]
            rate = moved(rate, curve, pull, left / np.maximum(self.samples, 1), self.usual)
        power = np.abs(own) ** 2
        moments = [(power * self.time_s**order).sum(axis=2) for order in range(3)]
        about = (moments[2] - moments[1] ** 2 / np.maximum(moments[0], 1e-30)) * np.abs(amplitude) ** 2
        error = np.sqrt((left / self.samples)[:, None] / np.maximum(2 * about, 1e-30)) / (2 * math.pi)
        return Fit(rate, amplitude / gain(rate - self.centre[:, None], self.sigma_hz), left, self.samples, error)

    def explained(self, known: Complex, rate: Complex) -> Values:
        """(B, G): energy that each of the modes `rate` (B, G), alone, explains of what the company and `known` (B, M) leave."""
        own = powers(known - self.centre[:, None], self.time_s) * self.weight  # (B, M, T)
        beside = np.concatenate(
            (self.beside, own.conj() / (np.sqrt((np.abs(own) ** 2).sum(axis=2, keepdims=True)) + 1e-12)), axis=1
        )
        gram = beside @ beside.conj().transpose(0, 2, 1) + np.eye(beside.shape[1]) * 1e-9
        # a place is searched for: single precision is enough
        offset: Any = (rate - self.centre[:, None]).astype(np.complex64)
        time_s: Any = self.time_s.astype(np.float32)
        tried = powers(offset, time_s) * self.weight.astype(np.float32)  # (B, G, T)
        columns = tried.transpose(0, 2, 1)
        cross = beside.astype(np.complex64) @ columns
        rest = self.signal - beside.conj().transpose(0, 2, 1) @ np.linalg.solve(gram, beside @ self.signal)
        pull = (columns.transpose(0, 2, 1) @ rest.conj().astype(np.complex64))[..., 0]
        total = (tried.real**2 + tried.imag**2).sum(axis=2)
        own_energy = total - (cross.conj() * (np.linalg.inv(gram).astype(np.complex64) @ cross)).sum(axis=1).real
        explained: Values = np.abs(pull) ** 2 / np.maximum(own_energy, 1e-2 * total + 1e-12)
        return explained


def best_of(rate: Complex, score: Values) -> Complex:
    """(B, 1): of modes (B, G) the one with the highest score."""
    return np.take_along_axis(rate, score.argmax(axis=1)[:, None], axis=1)


def moved(rate: Complex, curve: Complex, pull: Complex, noise: Values, usual: Values) -> Complex:
    """The Gauss-Newton step in real numbers: decays and angular frequencies, with the decays' usual values beside the data."""
    modes = rate.shape[1]
    matrix = np.block([[curve.real, -curve.imag], [curve.imag, curve.real]])
    right = np.concatenate((pull.real, pull.imag), axis=1)
    loose = noise[:, None] / (usual[:, None] * LOOSE) ** 2
    stiff = np.concatenate((np.broadcast_to(loose, rate.shape), np.broadcast_to(loose * 1e-3, rate.shape)), axis=1)
    right[:, :modes] += loose * (-usual[:, None] - rate.real)
    trace = np.einsum("bii->bi", matrix)
    matrix = matrix + (stiff + 1e-9 * trace + 1e-30)[:, :, None] * np.eye(2 * modes)
    step = np.linalg.solve(matrix, right[..., None])[..., 0]
    most = 2 * math.pi * MOST_HZ
    decay = np.clip(rate.real + np.clip(step[:, :modes], -usual[:, None], usual[:, None]), -5 * usual[:, None], -usual[:, None] / 5)
    there: Complex = decay + 1j * (rate.imag + np.clip(step[:, modes:], -most, most))
    return there

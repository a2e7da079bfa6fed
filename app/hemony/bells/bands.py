"""Bands of a recording's spectrum as signals of their own, at a sample rate no higher than they need."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from hemony.bells.notes import Values

Complex = npt.NDArray[np.complex128]

BESIDE_HZ = 12.0  # beyond the frequencies that a band is for it is still flat,
EDGE_HZ = 60.0  # and from there it falls to nothing
STRUCK_S = (0.012, 0.02)  # before and after an onset, where a band says nothing: its own blur, and the strike
FADE_S, FADE_SHARE = 0.5, 0.1  # at the end of a recording, often faded out, whichever is less


@dataclass
class Band:
    """A part of the spectrum as a signal of its own: the wave is the real part of `signal` * exp(i `centre` t)."""

    signal: Complex  # (T, channels)
    step_s: float  # from one of its samples to the next; the first is the recording's first
    weight: Values  # (T,): 0 where it says nothing
    centre: float  # angular frequency
    onset_s: Values  # of all notes


@dataclass
class Spectrum:
    """Of a whole recording."""

    bins: Complex  # (F, channels)
    size: int  # samples, with silence after the end that keeps it from running into the beginning
    rate_hz: int
    samples: int
    onset_s: Values

    @staticmethod
    def of(channels: Values, sample_rate_hz: int, onset_s: Values) -> "Spectrum":
        """Of a recording (samples, channels)."""
        size = fft.next_fast_len(len(channels) + sample_rate_hz // 5, real=True)
        return Spectrum(fft.rfft(channels, size, axis=0), size, sample_rate_hz, len(channels), onset_s)

    def band(self, low_hz: float, high_hz: float) -> Band:
        """Flat from BESIDE_HZ below to BESIDE_HZ above, with edges that are cosines."""
        outer_hz = low_hz - BESIDE_HZ - EDGE_HZ, high_hz + BESIDE_HZ + EDGE_HZ
        bin_hz = self.rate_hz / self.size
        first, after = max(0, int(outer_hz[0] / bin_hz)), min(len(self.bins), int(outer_hz[1] / bin_hz))
        frequency_hz = np.arange(first, after) * bin_hz
        edge = np.clip(np.minimum(frequency_hz - outer_hz[0], outer_hz[1] - frequency_hz) / EDGE_HZ, 0, 1)
        length = fft.next_fast_len(after - first)
        picked = self.bins[first:after] * (0.5 - 0.5 * np.cos(np.pi * edge))[:, None]
        signal = fft.ifft(picked, length, axis=0) * (2 * length / self.size)
        step_s = self.size / self.rate_hz / length
        time_s = np.arange(length) * step_s
        length_s = self.samples / self.rate_hz
        weight = (time_s < length_s - min(FADE_S, FADE_SHARE * length_s)).astype(np.float64)
        for onset_s in self.onset_s:
            weight[np.searchsorted(time_s, onset_s - STRUCK_S[0]) : np.searchsorted(time_s, onset_s + STRUCK_S[1])] = 0
        return Band(signal, step_s, weight, 2 * np.pi * first * bin_hz, self.onset_s)

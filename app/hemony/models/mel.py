"""From a waveform to a log-mel spectrogram, inside the network, so that whoever has the weights hears the same."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony.models.precision import at_least_float32

FLOOR = 1e-6  # added to a mel value before its logarithm; the weakest tone of 16 bits has about 4e-6 in a window of 256
FRAMES_AT_ONCE = 1024  # on a CPU: more memory than this takes is fetched anew from the system each time, which is five times slower


class LogMel(nn.Module):
    """Waveforms, float (B, samples) in -1 to 1, to log(mel power + FLOOR), float32 (B, mels, frames).

    Frames of `window` samples (periodic Hann, zero-padded to a power of two) every `hop` samples; the first is centred on sample 0 and the
    clip is extended by zeros. Mel triangles are those of O'Shaughnessy (1987), 2595 log10(1 + f / 700), without area normalisation.

    The Fourier transform is in float64: in float32, by an FFT as by a convolution, the rounding of a loud tone fills its silent neighbours
    with up to 3e-3 in the logarithm. It costs less than the float32 convolution does: 0.12 against 0.19 ms for a second at 8 kHz.
    Mixed precision leaves all of it alone.
    """

    hann: Tensor
    filters: Tensor
    bins_hz: Tensor
    edges_hz: Tensor

    def __init__(
        self, sample_rate_hz: int, window: int, hop: int, mels: int, low_hz: float = 20.0, high_hz: float | None = None
    ) -> None:
        super().__init__()
        self.window = window
        self.hop = hop
        self.fft_size = 2 ** math.ceil(math.log2(window))
        places = torch.arange(window, dtype=torch.float64)
        self.register_buffer("hann", 0.5 - 0.5 * (2 * math.pi / window * places).cos(), persistent=False)
        bins_hz = torch.linspace(0, sample_rate_hz / 2, self.fft_size // 2 + 1, dtype=torch.float64)
        edges_hz = mel_edges_hz(mels, low_hz, sample_rate_hz / 2 if high_hz is None else high_hz)
        self.register_buffer("bins_hz", bins_hz, persistent=False)
        self.register_buffer("edges_hz", edges_hz, persistent=False)
        self.register_buffer("filters", triangles(bins_hz, edges_hz).float(), persistent=False)

    def frames(self, samples: int) -> int:
        """How many frames a clip of so many samples has."""
        return samples // self.hop + 1

    def forward(self, waves: Tensor, warp: Tensor | None = None) -> Tensor:
        """`warp` (B,) stretches the frequency axis of each clip: 1.1 moves a formant at 1,000 Hz to 1,100 Hz."""
        return self.log(self.mel(waves, warp))

    def log(self, mel: Tensor) -> Tensor:
        """Log-mel of mel power, in float32."""
        with torch.autocast(mel.device.type, enabled=False):
            return (at_least_float32(mel) + FLOOR).log()

    def mel(self, waves: Tensor, warp: Tensor | None = None) -> Tensor:
        """Mel power, float32 (B, mels, frames)."""
        samples, before = waves.shape[-1], self.window // 2
        needed = (self.frames(samples) - 1) * self.hop + self.window
        waves = functional.pad(waves, (before, needed - before - samples))
        at_once = max(1, FRAMES_AT_ONCE // self.frames(samples)) if waves.device.type == "cpu" else len(waves)
        if len(waves) <= at_once:
            return self.mel_of_frames(waves, warp)
        parts = torch.split(waves, at_once)
        warps = [None] * len(parts) if warp is None else torch.split(warp, at_once)
        return torch.cat([self.mel_of_frames(*part) for part in zip(parts, warps, strict=True)])

    def mel_of_frames(self, waves: Tensor, warp: Tensor | None = None) -> Tensor:
        """Mel power, float32 (B, mels, frames), of the frames that begin at samples 0, `hop`, 2 `hop`, ... of waves (B, samples)."""
        with torch.autocast(waves.device.type, enabled=False):
            frames = waves.double().unfold(-1, self.window, self.hop) * self.hann.double()  # (B, frames, window)
            spectra = torch.fft.rfft(frames, n=self.fft_size)
            power = (spectra.real.square() + spectra.imag.square()).to(self.filters.dtype)  # (B, frames, bins)
            filters = self.filters
            if warp is not None:  # what was at a frequency is heard as if it were at `warp` times that
                filters = triangles(self.bins_hz * warp[:, None], self.edges_hz).to(power.dtype)  # (B, bins, mels)
            mel: Tensor = (power @ filters).transpose(1, 2)
            return mel


def hz_to_mel(frequency_hz: float) -> float:
    return 2595 * math.log10(1 + frequency_hz / 700)


def mel_edges_hz(mels: int, low_hz: float, high_hz: float) -> Tensor:
    """The corners (mels + 2,) of triangles that are equally spaced in mel."""
    edges_mel = torch.linspace(hz_to_mel(low_hz), hz_to_mel(high_hz), mels + 2, dtype=torch.float64)
    return 700 * (10 ** (edges_mel / 2595) - 1)


def triangles(frequency_hz: Tensor, edges_hz: Tensor) -> Tensor:
    """How much of each frequency (..., bins) each triangle takes (..., bins, mels); peak 1."""
    frequency_hz = frequency_hz[..., None]
    rising = (frequency_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - frequency_hz) / (edges_hz[2:] - edges_hz[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)

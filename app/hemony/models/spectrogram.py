"""A compact residual network on log-mel spectrograms: a waveform of any length in, logits out.

The front end is part of the network, so that training, evaluation and export hear the same. Convolutions are dense and few: on CPUs
they run near the peak of the machine, where depthwise ones (BC-ResNet, MatchboxNet) wait for memory.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony.config import Compression, SpectrogramConfig
from hemony.errors import UsageError
from hemony.models.mel import LogMel
from hemony.models.precision import at_least_float32

STEM_CHANNELS = 24
BLOCK_CHANNELS = (48, 96, 128)  # of the blocks, each of which halves bands and frames
BANDS = 8  # parts of the spectrum that a network may hear or not
SOFTEST = 1e-3  # mel power: clips without anything louder are not brought up to the loudness of others


class SpectrogramCNN(nn.Module):
    """Waveforms, float (B, samples) in -1 to 1, to logits (B, classes).

    `augment` changes the spectrograms of a training; it is not part of the weights.
    """

    heard: Tensor | None

    def __init__(self, sample_rate_hz: int, classes: int, config: SpectrogramConfig) -> None:
        super().__init__()
        window, hop = max(2, round(config.window_s * sample_rate_hz)), max(1, round(config.hop_s * sample_rate_hz))
        if config.low_hz >= sample_rate_hz / 2:
            raise UsageError(f"model.low_hz={config.low_hz:g} must be below half the sample rate, {sample_rate_hz / 2:g} Hz")
        self.front = LogMel(sample_rate_hz, window, hop, config.mels, config.low_hz)
        heard = None if config.bands == "all" else mask_of(heard_bands(config.bands), config.mels)
        self.register_buffer("heard", heard, persistent=False)
        self.relative = config.compression is Compression.relative_log
        self.pcen = PCEN(config.mels, config.hop_s) if config.compression is Compression.pcen else None
        self.norm = nn.BatchNorm1d(config.mels)
        self.augment: SpectrogramAugment | None = None
        widths = [8 * max(1, round(config.width * channels / 8)) for channels in (STEM_CHANNELS, *BLOCK_CHANNELS)]
        self.stem = nn.Conv2d(1, widths[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential(*(ResidualBlock(*pair) for pair in pairwise(widths)))
        self.pooling = AttentivePooling(widths[-1])
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * widths[-1], classes)

    def forward(self, waves: Tensor) -> Tensor:
        if not (self.augment and self.training):
            return self.logits(self.front.mel(waves))
        return self.logits(self.augment.recorded(self.front.mel(waves, self.augment.warps(waves))))

    def logits(self, mel: Tensor) -> Tensor:
        """From mel power (B, mels, frames)."""
        if self.heard is not None:
            mel = mel * self.heard
        spectra = self.norm(self.compressed(mel))
        if self.augment and self.training:
            spectra = self.augment.masked(spectra)
        maps = spectra[:, None].contiguous(memory_format=torch.channels_last)
        maps = functional.gelu(self.stem_norm(self.stem(maps)))
        maps = self.blocks(maps).mean(dim=2)  # (B, channels, frames / 16): over the bands
        logits: Tensor = self.head(self.dropout(self.pooling(maps)))
        return logits

    def compressed(self, mel: Tensor) -> Tensor:
        """Mel power (B, mels, frames) to what is seen of it, float32."""
        if self.pcen:
            normalised: Tensor = self.pcen(mel)
            return normalised
        if self.relative:
            mel = mel / mel.amax(dim=(1, 2), keepdim=True).clamp(min=SOFTEST)
        return self.front.log(mel)


class SpectrogramEnsemble(nn.Module):
    """Networks of one kind that answer together: waveforms, float (B, samples), to the mean of their logits (B, classes).

    Each learns from a share of its own of every training batch, and nothing from the others: what they have in common is what the data
    say, what they differ in is chance, and the mean has less of it (Lakshminarayanan et al. 2017).
    """

    def __init__(self, members: list[SpectrogramCNN]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def networks(self) -> list[SpectrogramCNN]:
        return [network for network in self.members if isinstance(network, SpectrogramCNN)]

    @property
    def front(self) -> LogMel:
        """That of the first; the others have the same."""
        return self.networks[0].front

    @property
    def heard(self) -> Tensor | None:
        """As `front`."""
        return self.networks[0].heard

    def forward(self, waves: Tensor) -> Tensor:
        if not self.training:
            return self.logits(self.front.mel(waves))
        parts = waves.tensor_split(len(self.members))
        return torch.cat([network(part) for network, part in zip(self.networks, parts, strict=True) if len(part)])

    def logits(self, mel: Tensor) -> Tensor:
        """From mel power (B, mels, frames)."""
        return torch.stack([network.logits(mel) for network in self.networks]).mean(dim=0)


def heard_bands(text: str) -> tuple[int, ...]:
    """The numbers in `model.bands`, in order. Raises UsageError for anything but some of 0 to BANDS - 1, each once."""
    words = [word.strip() for word in text.split(",")]
    bands = sorted({int(word) for word in words if word.isdecimal() and int(word) < BANDS})
    if len(bands) != len(words):
        raise UsageError(f"model.bands={text} is not all, or some of 0 to {BANDS - 1}, each once, such as 0,2,5")
    return tuple(bands)


def mask_of(bands: tuple[int, ...], mels: int) -> Tensor:
    """1 for the mel bands (mels, 1) that lie in one of the parts, 0 for the others."""
    kept = torch.zeros(mels, 1)
    edges = band_edges(mels)
    for band in bands:
        kept[edges[band] : edges[band + 1]] = 1.0
    return kept


def band_edges(mels: int) -> list[int]:
    """Where the parts begin, and the last one ends."""
    return [round(part * mels / BANDS) for part in range(BANDS + 1)]


class ResidualBlock(nn.Module):
    """(B, inputs, bands, frames) to (B, outputs, bands / 2, frames / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm0 = nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.norm2.weight)  # a block begins as its first convolution alone

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.gelu(self.norm0(functional.max_pool2d(self.conv0(maps), 2, ceil_mode=True)))
        inner = functional.gelu(self.norm1(self.conv1(maps)))
        return functional.gelu(maps + self.norm2(self.conv2(inner)))


class AttentivePooling(nn.Module):
    """(B, channels, frames) to (B, 2 channels): the mean of each channel over the frames and its maximum.

    Each channel weighs the frames by what all channels make of them (Okabe et al. 2018, without their standard deviation).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Linear(channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        weights = at_least_float32(self.score(maps.transpose(1, 2))).softmax(dim=1).transpose(1, 2)
        return torch.cat(((maps * weights).sum(dim=2), maps.amax(dim=2)), dim=1)


class PCEN(nn.Module):
    """Per-channel energy normalisation (Wang et al. 2017, equation 2): each band divided by its own recent past, then compressed.

    The recursive smoother is unrolled to a convolution over the time in which it forgets all but a thousandth.
    """

    kernel: Tensor

    def __init__(self, mels: int, hop_s: float, time_constant_s: float = 0.4) -> None:
        super().__init__()
        smoothing = 1 - math.exp(-hop_s / time_constant_s)
        length = math.ceil(math.log(1e-3) / math.log(1 - smoothing))
        weights = smoothing * (1 - smoothing) ** torch.arange(length, dtype=torch.float64).flip(0)
        self.register_buffer("kernel", (weights / weights.sum()).float()[None, None], persistent=False)
        self.alpha = nn.Parameter(torch.full((mels, 1), math.log(0.8 / 0.2)))  # before a sigmoid
        self.delta = nn.Parameter(torch.full((mels, 1), math.log(2.0)))  # before an exponential, as the next
        self.root = nn.Parameter(torch.full((mels, 1), math.log(0.5)))

    def forward(self, mel: Tensor) -> Tensor:
        """Mel power (B, mels, frames) to the same shape, float32."""
        with torch.autocast(mel.device.type, enabled=False):
            batch, mels, frames = mel.shape
            past = functional.pad(mel.reshape(batch * mels, 1, frames), (self.kernel.shape[-1] - 1, 0), mode="replicate")
            smooth = functional.conv1d(past, self.kernel).view(batch, mels, frames)
            delta, root = self.delta.exp(), self.root.exp()
            gained = mel * (smooth + 1e-6) ** -self.alpha.sigmoid()
            return (gained + delta) ** root - delta**root


class SpectrogramAugment:
    """What a training does to spectrograms: another vocal tract, another pace, another microphone, gaps.

    Draws come from torch's global generator, which a training seeds at every step.
    """

    def __init__(self, formant_share: float, tempo_share: float, equaliser_db: float, time_frames: int, band_share: float) -> None:
        self.formant_share = formant_share
        self.tempo_share = tempo_share
        self.equaliser_db = equaliser_db
        self.time_frames = time_frames
        self.band_share = band_share

    def warps(self, waves: Tensor) -> Tensor | None:
        """A stretch of the frequency axis for each clip (B,): vocal tract length perturbation (Jaitly and Hinton 2013)."""
        return 1 + signed(len(waves), waves) * self.formant_share if self.formant_share else None

    def recorded(self, mel: Tensor) -> Tensor:
        """Mel power (B, mels, frames) at another pace, about the clip's middle, and through a microphone with a smooth response."""
        count, mels, frames = mel.shape
        if self.tempo_share:
            middle = (frames - 1) / 2
            factors = 1 + signed(count, mel) * self.tempo_share
            places = middle + (torch.arange(frames, device=mel.device) - middle) * factors[:, None]  # (B, frames)
            low = places.floor().clamp(0, frames - 2)
            index, share = low.long()[:, None].expand_as(mel), (places - low)[:, None]
            inside = ((places >= 0) & (places <= frames - 1))[:, None]
            mel = mel.gather(2, index).lerp(mel.gather(2, index + 1), share.clamp(0, 1).expand_as(mel)) * inside
        if self.equaliser_db:
            bands = torch.arange(mels, device=mel.device) / mels * math.pi
            waves = torch.stack([(order * bands).cos() for order in (1, 2, 3)])  # a tilt, a bow, a wave
            curve_db = (signed((count, 3), mel) @ waves) * self.equaliser_db / 2
            mel = mel * (10 ** (curve_db / 10))[:, :, None]
        return mel

    def masked(self, spectra: Tensor) -> Tensor:
        """Normalised spectra (B, mels, frames) with a gap in time and one in frequency each, filled by the mean, 0 (Park et al. 2019)."""
        _, mels, frames = spectra.shape
        gaps = self.gap(spectra, mels, self.band_share * mels)[:, :, None] | self.gap(spectra, frames, self.time_frames)[:, None]
        return spectra.masked_fill(gaps, 0.0)

    @staticmethod
    def gap(spectra: Tensor, size: int, widest: float) -> Tensor:
        """(B, size) bool: a run of up to `widest` places, somewhere."""
        draws = torch.rand((2, len(spectra), 1), device=spectra.device)
        width = draws[0] * min(widest, size)
        start = draws[1] * (size - width)
        places = torch.arange(size, device=spectra.device)
        return (places >= start) & (places < start + width)


def signed(shape: int | tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform draws from -1 to 1."""
    return torch.rand(shape, device=like.device) * 2 - 1

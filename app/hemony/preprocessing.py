"""From a file to what a recogniser takes; saved with the weights, so that every verb does the same.

A view makes one decoded file an input of fixed size, in the integers of the file; scaling them is the recogniser's first layer.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony.config import Fit
from hemony.media import FULL_SCALE


class View(ABC):
    """How a file is seen: always as a tensor of `shape` and `dtype`."""

    dtype: torch.dtype

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]: ...

    @property
    @abstractmethod
    def key(self) -> str:
        """A word that differs between views that see a file differently."""

    @abstractmethod
    def read(self, path: Path) -> Tensor:
        """A file, decoded for this view. Raises InputError for one that cannot be."""

    @abstractmethod
    def example(self, collection: Any, index: int) -> Tensor:
        """One example of a collection of the view's own kind. Raises InputError for one that cannot be decoded."""


@dataclass(frozen=True)
class ImageView(View):
    """Images as squares, uint8 (channels, size_px, size_px)."""

    channels: int  # 1, grey, or 3, RGB
    size_px: int
    fit: Fit

    dtype = torch.uint8

    @property
    def shape(self) -> tuple[int, ...]:
        return self.channels, self.size_px, self.size_px

    @property
    def key(self) -> str:
        return f"image {self.channels} {self.size_px} {self.fit.name}"

    def read(self, path: Path) -> Tensor:
        from hemony.media.image import read_image

        return self.fitted(read_image(path, self.channels, least_size_px=self.size_px))

    def example(self, collection: Any, index: int) -> Tensor:
        return self.fitted(collection.read(index, self.channels, self.size_px))

    def fitted(self, pixels: Any) -> Tensor:
        """Decoded pixels, uint8 (height, width, channels), as a square."""
        square: Tensor = Resize(self.size_px, self.fit)(torch.from_numpy(pixels))
        return square


@dataclass(frozen=True)
class ImagePreprocessing(ImageView):
    """A view of images, and per channel the mean and deviation of pixel values scaled to [0, 1] that normalising takes off."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class AudioView(View):
    """Clips as mono samples, int16 (clip_samples,): shorter ones in the middle of silence, of longer ones the middle."""

    sample_rate_hz: int
    clip_samples: int

    dtype = torch.int16

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.clip_samples,)

    @property
    def key(self) -> str:
        return f"audio {self.sample_rate_hz} {self.clip_samples}"

    @property
    def clip_s(self) -> float:
        return self.clip_samples / self.sample_rate_hz

    def read(self, path: Path) -> Tensor:
        from hemony.media.audio import read_audio

        return self.fitted(torch.from_numpy(read_audio(path, self.sample_rate_hz)))

    def example(self, collection: Any, index: int) -> Tensor:
        return self.fitted(torch.from_numpy(collection.read(index, self.sample_rate_hz)))

    def pieces(self, samples: Tensor) -> Tensor:
        """A recording (n,) as the clips that are judged for it (k, clip_samples): itself, or windows of it."""
        spans = window_spans(len(samples) / self.sample_rate_hz, self.clip_s)
        if len(spans) == 1:
            return self.fitted(samples)[None]
        starts = [round(start_s * self.sample_rate_hz) for start_s, _ in spans]
        return torch.stack([self.fitted(samples[start : start + self.clip_samples]) for start in starts])

    def fitted(self, samples: Tensor) -> Tensor:
        """Samples (n,) centred in (clip_samples,)."""
        missing = self.clip_samples - len(samples)
        if missing <= 0:
            start = -missing // 2
            return samples[start : start + self.clip_samples]
        return functional.pad(samples, (missing // 2, missing - missing // 2))


MOST_CROPPED = 1.25  # clips that a recording may last and still be judged by its middle alone


def window_spans(duration_s: float, clip_s: float) -> list[tuple[float, float]]:
    """(start, end) in seconds of the windows of a recording, side by side, the last one at its end.

    A recording that is longer than a clip by up to a quarter is one window, all of it: what lies at its ends says little.
    """
    if duration_s <= MOST_CROPPED * clip_s:
        return [(0.0, duration_s)]
    starts = [number * clip_s for number in range(int(duration_s / clip_s))]
    if starts[-1] + clip_s < duration_s:
        starts.append(duration_s - clip_s)
    return [(start_s, start_s + clip_s) for start_s in starts]


class FullScale(nn.Module):
    """int16 samples to float32 in -1 to 1."""

    def forward(self, samples: Tensor) -> Tensor:
        return samples.float() / FULL_SCALE


class Resize(nn.Module):
    """One decoded image, uint8 (H, W, C), to a square, uint8 (C, size_px, size_px), antialiased."""

    def __init__(self, size_px: int, fit: Fit) -> None:
        super().__init__()
        self.size_px = size_px
        self.fit = fit

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[0], image.shape[1]
        image = image.permute(2, 0, 1)  # (H, W, C) -> (C, H, W), a view: interpolate is fastest on interleaved bytes
        size = self.size_px
        if (height, width) == (size, size):
            return image.contiguous()
        if self.fit is Fit.pad:
            scale = size / max(height, width)  # a side of one pixel must not vanish
            return pad_to_square(self._scale(image, max(1, round(height * scale)), max(1, round(width * scale))), size)
        if self.fit is Fit.crop:
            image = centre_crop(image, min(height, width))  # before scaling: a 1 x 100,000 strip must not become a gigabyte
        return self._scale(image, size, size)

    @staticmethod
    def _scale(image: Tensor, height: int, width: int) -> Tensor:
        scaled = functional.interpolate(image[None], (height, width), mode="bilinear", antialias=True)
        return scaled[0].contiguous()


def centre_crop(image: Tensor, side: int) -> Tensor:
    """The middle (C, side, side) of (C, H, W)."""
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]


def pad_to_square(image: Tensor, size: int) -> Tensor:
    """(C, h, w) in the middle of (C, size, size), filled with the mean of the image's border."""
    channels, height, width = image.shape
    border = torch.cat((image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]), dim=1)
    square = border.float().mean(dim=1).round().to(torch.uint8)[:, None, None].expand(channels, size, size).clone()
    top, left = (size - height) // 2, (size - width) // 2
    square[:, top : top + height, left : left + width] = image
    return square


class Normalise(nn.Module):
    """uint8 (N, C, H, W) to float32: scaled to [0, 1], mean taken off, divided by the standard deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images.float() / 255 - self.mean) / self.std


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 (N, C, H, W), scaled to [0, 1], from histograms: exact and in no memory."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for part in torch.split(images[:, channel], 4096):
            counts += torch.bincount(part.flatten(), minlength=256)
        mean = float((counts * levels).sum() / counts.sum())
        variance = float((counts * (levels - mean) ** 2).sum() / counts.sum())
        means.append(mean)
        deviations.append(max(math.sqrt(variance), 1 / 255))  # a channel without contrast is left as it is
    return tuple(means), tuple(deviations)

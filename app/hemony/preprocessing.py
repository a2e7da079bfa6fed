"""From a decoded image to what a network sees; saved with the weights, so that every verb does the same."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony.config import Fit


@dataclass(frozen=True)
class ImagePreprocessing:
    """What turns a decoded image into a network's input. `mean` and `std` are per channel, of pixel values scaled to [0, 1]."""

    channels: int
    size_px: int
    fit: Fit
    mean: tuple[float, ...]
    std: tuple[float, ...]


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

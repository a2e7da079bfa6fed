"""Augmentation of a batch on its device, each draw from the generator that it is given.

Images are (B, C, S, S) with values 0 to 255, uint8 until something needs fractions. Targets are class indices (B,) until
mixing makes them shares of classes (B, K).
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from hemony.config import Flip, ImageAugmentConfig
from hemony.datasets.mixing import mixing_share, mixup
from hemony.datasets.resident import Moment


class ImageAugment:
    """All that the config asks for, in a fixed order: crop and flip, rotate and scale, colour, cutout, mixup or cutmix, shrink.

    `flip_bits` (N,) bool says of each training image which of two halves it is in when they are mirrored in turn.
    """

    def __init__(self, config: ImageAugmentConfig, classes: int, mean: tuple[float, ...], flip_bits: Tensor) -> None:
        self.config = config
        self.classes = classes
        self.fill = torch.tensor(mean)[:, None, None] * 255  # a cut-out square is the mean: zero after normalising
        self.flip_bits = flip_bits

    def __call__(self, images: Tensor, targets: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        bits = self.flip_bits.to(images.device)[moment.positions]
        if self.config.flip is Flip.random:
            bits = torch.rand(len(images), generator=moment.draw, device=images.device) < 0.5
        images, targets = self.changed(images, targets, mirrored(self.config.flip, bits, moment.epoch), moment.draw)
        return self.shrunk(images, moment.share), targets

    def changed(self, images: Tensor, targets: Tensor, mirrored: Tensor, draw: Generator) -> tuple[Tensor, Tensor]:
        """Everything but the shrinking; `mirrored` (B,) bool says which images to flip, the other choices come from `draw`."""
        config = self.config
        images = crop_and_flip(images, config.shift_px or 0, mirrored, draw)
        if config.rotate_degrees or config.scale_share:
            images = rotate_and_scale(images, config.rotate_degrees or 0.0, config.scale_share or 0.0, draw)
        if config.colour_share:
            images = jitter_colour(images, config.colour_share, draw)
        if config.cutout_px:
            images = cut_out(images, config.cutout_px, self.fill.to(images.device), draw)
        alphas = [(mix, alpha) for mix, alpha in ((mixup, config.mixup_alpha), (cutmix, config.cutmix_alpha)) if alpha]
        if alphas:
            chosen = int(torch.randint(len(alphas), (), generator=draw, device=images.device)) if len(alphas) > 1 else 0
            mix, alpha = alphas[chosen]
            images, targets = mix(images, functional.one_hot(targets, self.classes).float(), alpha, draw)
        return images, targets

    def shrunk(self, images: Tensor, share: float) -> Tensor:
        """The images smaller, float, while the `share` of the training that is done is below `small_share`.

        Coarse features are learnt first and cost less on small images; a network that pools at its end takes any size (Howard 2018,
        "Training ImageNet in 18 minutes"; Tan and Le 2021, section 4).
        """
        side = self.config.small_px or 0
        if not side or side >= images.shape[-1] or share >= self.config.small_share:
            return images
        smaller = functional.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
        return smaller.contiguous(memory_format=torch.channels_last)


def mirrored(flip: Flip | None, bits: Tensor, epoch: int) -> Tensor:
    """Which of the images with random `bits` (B,) are flipped in this epoch."""
    if flip is Flip.none or flip is None:
        return torch.zeros_like(bits)
    return bits ^ bool(epoch % 2) if flip is Flip.alternating else bits


def crop_and_flip(images: Tensor, shift_px: int, mirror: Tensor, draw: Generator) -> Tensor:
    """Move each image by up to `shift_px` both ways, filling by reflection, and mirror some: one gather."""
    count, _, side, _ = images.shape
    device = images.device
    shifts = torch.randint(-shift_px, shift_px + 1, (2, count, 1), generator=draw, device=device)
    places = torch.arange(side, device=device)[None]  # (1, S)
    rows = reflect(places + shifts[0], side)  # (B, S)
    columns = reflect(torch.where(mirror[:, None], side - 1 - places, places) + shifts[1], side)  # (B, S)
    batch = torch.arange(count, device=device)
    pixels = images.permute(0, 2, 3, 1)  # (B, S, S, C): a pixel's channels move together
    moved = pixels[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)  # (B, C, S, S), channels last in memory


def reflect(places: Tensor, side: int) -> Tensor:
    """Indices beyond 0..side-1 folded back at the edge pixels' centres."""
    period = max(2 * side - 2, 1)
    places = places.remainder(period)
    return torch.minimum(places, period - places) if side > 1 else torch.zeros_like(places)


def rotate_and_scale(images: Tensor, rotate_degrees: float, scale_share: float, draw: Generator) -> Tensor:
    """Each image turned and scaled by its own draw, bilinear, filled by reflection; float out."""
    count = len(images)
    turn, scale = torch.rand((2, count), generator=draw, device=images.device) * 2 - 1
    angles = turn * math.radians(rotate_degrees)
    factors = 1 / (1 + scale * scale_share)
    cosines, sines, zeros = angles.cos() * factors, angles.sin() * factors, torch.zeros_like(angles)
    matrices = torch.stack((cosines, -sines, zeros, sines, cosines, zeros), dim=1).view(count, 2, 3)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    turned = functional.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    return turned.contiguous(memory_format=torch.channels_last)


def jitter_colour(images: Tensor, share: float, draw: Generator) -> Tensor:
    """Brightness, contrast and saturation of each image multiplied by draws from 1 ± share; float out, clipped to 0..255."""
    factors = 1 + (torch.rand((3, len(images), 1, 1, 1), generator=draw, device=images.device) * 2 - 1) * share
    images = images.float() * factors[0]
    images = images.lerp(images.mean(dim=(1, 2, 3), keepdim=True), 1 - factors[1])
    if images.shape[1] == 3:
        images = images.lerp(images.mean(dim=1, keepdim=True), 1 - factors[2])
    return images.clamp_(0, 255)


def cut_out(images: Tensor, side_px: int, fill: Tensor, draw: Generator) -> Tensor:
    """A square of `side_px` around a random centre of each image becomes `fill` (DeVries and Taylor 2017)."""
    side = images.shape[-1]
    centres = torch.randint(0, side, (2, len(images), 1), generator=draw, device=images.device)
    places = torch.arange(side, device=images.device)[None]
    low, high = side_px // 2, side_px - side_px // 2
    rows, columns = ((places >= centre - low) & (places < centre + high) for centre in centres)
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]  # (B, 1, S, S)
    return torch.where(inside, fill.to(images.dtype), images)


def cutmix(images: Tensor, targets: Tensor, alpha: float, draw: Generator) -> tuple[Tensor, Tensor]:
    """A rectangle of each image taken from another one, targets (B, K) by area (Yun et al. 2019)."""
    side = images.shape[-1]
    cut = round(side * math.sqrt(1 - mixing_share(alpha, draw)))
    row, column = torch.randint(0, side, (2,), generator=draw, device=images.device).tolist()
    top, bottom = max(row - cut // 2, 0), min(row + cut - cut // 2, side)
    left, right = max(column - cut // 2, 0), min(column + cut - cut // 2, side)
    others = torch.randperm(len(images), generator=draw, device=images.device)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[others, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / side**2
    return mixed, targets.lerp(targets[others], share)

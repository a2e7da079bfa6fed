"""Blending the examples of a batch, images and sounds alike."""

import torch
from torch import Generator, Tensor


def mixing_share(alpha: float, draw: Generator) -> float:
    """A draw from Beta(alpha, alpha) by Jöhnk's method, in float64 on the CPU."""
    cpu = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=draw, device=draw.device)))
    while True:
        first, second = (torch.rand(2, generator=cpu, dtype=torch.float64) ** (1 / alpha)).tolist()
        if 0 < first + second <= 1:
            return float(first / (first + second))


def mixup(inputs: Tensor, targets: Tensor, alpha: float, draw: Generator) -> tuple[Tensor, Tensor]:
    """Each input and its target (B, K) blended with those of another one (Zhang et al. 2018)."""
    share = mixing_share(alpha, draw)
    others = torch.randperm(len(inputs), generator=draw, device=inputs.device)
    inputs = inputs.float()
    return inputs.lerp(inputs[others], 1 - share), targets.lerp(targets[others], 1 - share)

"""Random numbers as a pure function of (seed, purpose, step): nothing is drawn from a stream that a resumed run would miss."""

import hashlib

import torch


def derived_seed(seed: int, purpose: str, index: int = 0) -> int:
    """A 63-bit seed that differs for every seed, purpose and index."""
    content = f"{seed}/{purpose}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") >> 1


def generator(seed: int, purpose: str, index: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(derived_seed(seed, purpose, index))


def uniform(shape: tuple[int, ...], low: float, high: float, draw: torch.Generator) -> torch.Tensor:
    """Draws between `low` and `high`, on the generator's device."""
    return low + (high - low) * torch.rand(shape, generator=draw, device=draw.device)

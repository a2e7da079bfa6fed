"""The network that hears melodies on bells: an ear for strikes, and a sense of what was meant by them."""

import torch
from torch import Tensor, nn

from hemony.config import MelodyConfig
from hemony.models.ear import Ear
from hemony.models.sense import ANSWERS, MISHEARD, MelodySense, settled


class MelodyNetwork(nn.Module):
    """The two parts, which learn from different things and are used one after the other; see `hemony.hearing`."""

    def __init__(self, ear: Ear, sense: MelodySense) -> None:
        super().__init__()
        self.ear = ear
        self.sense = sense

    def meant(self, semitones: Tensor, step_s: Tensor, streaming: bool = False) -> Tensor:
        """Logits (B, N, ANSWERS) of what notes (B, N), if they were heard well, were meant to be; see `MelodySense`. What is not certain is
        heard a second time."""
        there = torch.ones_like(semitones, dtype=torch.bool)
        with torch.inference_mode():
            logits: Tensor = self.sense(semitones, step_s, there, streaming)
            if streaming:
                return logits[..., :ANSWERS]
            moved, certain = settled(semitones, logits)
            again: Tensor = self.sense(moved, step_s, there, certain=certain)
            return torch.where(certain[..., None], logits, again)[..., :ANSWERS]

    def suiting(self, semitones: Tensor, step_s: Tensor) -> Tensor:
        """How well notes (B, N) suit their melody (B, N): logarithm of the odds that each was heard well, and is not any pitch in
        the compass of the melody."""
        with torch.inference_mode():
            logits = self.sense(semitones, step_s, torch.ones_like(semitones, dtype=torch.bool))
            suits: Tensor = logits[..., :ANSWERS].logsumexp(dim=-1) - logits[..., MISHEARD]
            return suits


def build(config: MelodyConfig) -> MelodyNetwork:
    """With fresh weights."""
    return MelodyNetwork(
        Ear(config.ear_width, config.dropout / 2),
        MelodySense(config.sense_width, config.sense_layers, config.sense_heads, config.dropout),
    )

"""Learning rules: how a loss becomes the `grad` of every parameter.

A rule only *adds* to `p.grad` the update for the loss it is given, that loss's scale included (it has already been divided by the
number of accumulated batches): assigning would be silently wrong under accumulation. A rule that does without autograd has to
reduce its own gradients between processes, or refuse.
"""

from typing import Protocol

from torch import Tensor, nn

from hemony.config import RuleConfig
from hemony.errors import UsageError
from hemony.rules.backprop import Backprop


class Rule(Protocol):
    def forward(self, network: nn.Module, images: Tensor) -> Tensor:
        """The network's logits, with whatever the rule needs to remember."""

    def backward(self, loss: Tensor) -> None:
        """Add the update for this loss to the `grad` of every parameter."""


def build(config: RuleConfig) -> Rule:
    if config.kind != "backprop":
        raise UsageError(f"rule.kind={config.kind} is unknown; expected: backprop")
    return Backprop()

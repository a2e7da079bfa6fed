"""Backpropagation: the chain rule, from the loss back to every weight (Rumelhart, Hinton, Williams 1986)."""

from torch import Tensor, nn


class Backprop:
    def forward(self, network: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

"""Optimisers by name, and which parameters they treat how."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from hemony.config import OptimizerConfig, OptimizerName
from hemony.errors import UsageError

FRESH_RATE = 10.0  # what the learning rate of a new head is multiplied by, beside pre-trained layers


def build_optimizer(
    network: nn.Module, config: OptimizerConfig, pretrained: Collection[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The optimiser that the config names; weights decay, biases and norms (one-dimensional) do not.

    `pretrained` parameters learn at the config's rate and, under sgd and adamw, the others FRESH_RATE times as fast.
    """
    if config.name is None or config.learning_rate is None:
        raise UsageError("optimizer.name and optimizer.learning_rate must be chosen before training")
    rate, momentum, decay = config.learning_rate, config.momentum or 0.0, config.weight_decay or 0.0
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if config.name is OptimizerName.muon:
        filters = [parameter for parameter in trained if parameter.ndim == 4]
        matrices = [parameter for parameter in trained if parameter.ndim in (2, 3)]
        vectors = [parameter for parameter in trained if parameter.ndim <= 1]
        return Muon(filters, matrices, vectors, learning_rate=rate, momentum=momentum, weight_decay=decay)
    old = {id(parameter) for parameter in pretrained}
    groups: list[dict[str, Any]] = []
    for chosen, own_rate in (
        ([parameter for parameter in trained if id(parameter) in old], rate),
        ([parameter for parameter in trained if id(parameter) not in old], rate * FRESH_RATE if old else rate),
    ):
        groups.append({"params": [entry for entry in chosen if entry.ndim > 1], "lr": own_rate, "weight_decay": decay})
        groups.append({"params": [entry for entry in chosen if entry.ndim <= 1], "lr": own_rate, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    if config.name is OptimizerName.sgd:
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)
    return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999))


class Muon(torch.optim.Optimizer):
    """Momentum whose direction is made orthogonal, for the filters of convolutions (Jordan et al. 2024); Adam for the rest.

    torch's own Muon takes matrices only. A filter bank (outputs, inputs, h, w) is one matrix (outputs, inputs * h * w) here; its
    norm is held at sqrt(outputs), so that `learning_rate` is the angle of a step whatever the layer's size. The other parameters
    move by Adam (Kingma and Ba 2015) at `MATRIX_RATE` and `VECTOR_RATE` times that rate.
    """

    MATRIX_RATE = 0.02  # the head
    VECTOR_RATE = 0.1  # biases and the shifts of norms
    BETAS = (0.9, 0.99)
    EPSILON = 1e-8

    def __init__(
        self,
        filters: list[nn.Parameter],
        matrices: list[nn.Parameter],
        vectors: list[nn.Parameter],
        learning_rate: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        groups: list[dict[str, Any]] = [
            {"params": filters, "lr": learning_rate, "momentum": momentum, "orthogonal": True},
            {"params": matrices, "lr": learning_rate * self.MATRIX_RATE, "weight_decay": weight_decay, "orthogonal": False},
            {"params": vectors, "lr": learning_rate * self.VECTOR_RATE, "weight_decay": 0.0, "orthogonal": False},
        ]
        super().__init__([group for group in groups if group["params"]], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._orthogonal_update if group["orthogonal"] else self._adam_update
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, parameter.grad, group)
        return loss

    def _orthogonal_update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].mul_(group["momentum"]).add_(gradient)
        direction = gradient.add(state["momentum"], alpha=group["momentum"])  # Nesterov's look-ahead
        parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
        matrix = orthogonalise(direction.reshape(len(direction), -1))
        parameter.add_(matrix.view_as(direction).to(parameter.dtype), alpha=-group["lr"])

    def _adam_update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
        state["step"] += 1
        first, second = self.BETAS
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        mean = state["mean"] / (1 - first ** state["step"])
        root = (state["square"] / (1 - second ** state["step"])).sqrt() + self.EPSILON
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).addcdiv_(mean, root, value=-group["lr"])


def orthogonalise(matrix: Tensor, iterations: int = 3) -> Tensor:
    """The nearest matrix with singular values of about 1: a quintic Newton-Schulz iteration in bfloat16 (Jordan et al. 2024).

    (m, n) to (m, n). The coefficients have the steepest slope at zero that keeps the values within 0.5 to 1.5: small ones grow fast.
    """
    linear, cubic, quintic = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    estimate: Tensor = (matrix.T if tall else matrix).bfloat16()
    estimate = estimate / (estimate.norm() + 1e-7)
    for _ in range(iterations):
        gram = estimate @ estimate.T
        estimate = linear * estimate + (cubic * gram + quintic * gram @ gram) @ estimate
    return estimate.T if tall else estimate

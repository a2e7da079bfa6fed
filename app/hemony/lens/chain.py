"""Backpropagation written out: what one weight of a small network does to the loss, as the product of what lies on each path to it.

Two inputs, two layers of two tanh units, one output, squared error. A weight of the first layer reaches the loss over as many paths as
there are units in the second; its derivative is the sum over the paths of the products along them: the chain rule. Feedback alignment
(Lillicrap et al. 2016) replaces the weights on the way back by fixed random ones: what it adds is no gradient, and the Taylor remainder tells.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from hemony.lens import taylor
from hemony.lens.taylor import Check, Point

UNITS = 2
TARGET = 0.5


@dataclass(frozen=True)
class Path:
    """From a weight to the loss over one unit of the second layer: (what is differentiated, number), in the order of the chain."""

    factors: list[tuple[str, float]]

    @property
    def product(self) -> float:
        return math.prod(number for _, number in self.factors)


def network(seed: int) -> tuple[Point, Tensor]:
    """Weights and an input."""
    draw = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    return {"first": drawn(UNITS, UNITS), "second": drawn(UNITS, UNITS), "third": drawn(1, UNITS)}, drawn(UNITS)


def activities(weights: Point, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the first layer and of the second, and how far the output (1,) is from the target."""
    first = (weights["first"] @ inputs).tanh()
    second = (weights["second"] @ first).tanh()
    return first, second, weights["third"] @ second - TARGET


def loss(weights: Point, inputs: Tensor) -> Tensor:
    return activities(weights, inputs)[2][0].square() / 2


def paths(weights: Point, inputs: Tensor) -> list[Path]:
    """Those of the weight from input 1 to unit 1 of the first layer."""
    first, second, error = activities(weights, inputs)
    return [
        Path(
            [
                ("∂L/∂y = y - t", float(error[0])),
                (f"∂y/∂h₂[{unit + 1}] = w₃[1,{unit + 1}]", float(weights["third"][0, unit])),
                (f"∂h₂[{unit + 1}]/∂a₂[{unit + 1}] = 1 - h₂[{unit + 1}]²", 1 - float(second[unit]) ** 2),
                (f"∂a₂[{unit + 1}]/∂h₁[1] = w₂[{unit + 1},1]", float(weights["second"][unit, 0])),
                ("∂h₁[1]/∂a₁[1] = 1 - h₁[1]²", 1 - float(first[0]) ** 2),
                ("∂a₁[1]/∂w₁[1,1] = x[1]", float(inputs[0])),
            ]
        )
        for unit in range(UNITS)
    ]


def aligned(weights: Point, inputs: Tensor, draw: Generator) -> Point:
    """What feedback alignment takes for the gradient: the error comes back through random weights."""
    first, second, error = activities(weights, inputs)
    back = {key: torch.randn(weights[key].T.shape, generator=draw, dtype=torch.float64) for key in ("second", "third")}
    second_error = (back["third"] @ error) * (1 - second.square())
    first_error = (back["second"] @ second_error) * (1 - first.square())
    return {"first": first_error.outer(inputs), "second": second_error.outer(first), "third": error[:, None] * second}


@dataclass(frozen=True)
class Demonstration:
    """The chain rule by hand and by autograd, and what an alternative rule makes of the same network."""

    paths: list[Path]
    autograd: float
    alignment: list[Check]
    cosine: float  # between what feedback alignment adds and the gradient

    def facts(self) -> dict[str, Any]:
        return {
            "paths": [
                {"factors": [{"of": of, "value": value} for of, value in path.factors], "product": path.product}
                for path in self.paths
            ],
            "sum": sum(path.product for path in self.paths),
            "autograd": self.autograd,
            "feedback_alignment": {
                "cosine": self.cosine,
                "layers": [{"name": check.name, "verdict": check.verdict.value, "order": check.order} for check in self.alignment],
            },
        }


def demonstrate(seed: int) -> Demonstration:
    weights, inputs = network(seed)
    leaves = {key: value.clone().requires_grad_() for key, value in weights.items()}
    found = dict(zip(leaves, torch.autograd.grad(loss(leaves, inputs), list(leaves.values())), strict=True))
    other = aligned(weights, inputs, torch.Generator().manual_seed(seed + 1))
    layers = {key: [key] for key in weights}
    judged = taylor.check(lambda point: loss(point, inputs), weights, other, layers, smooth=True, seed=seed)
    true, taken = (torch.cat([one[key].flatten() for key in weights]) for one in (found, other))
    cosine = float(functional.cosine_similarity(true, taken, dim=0))
    return Demonstration(paths(weights, inputs), float(found["first"][0, 0]), judged, cosine)

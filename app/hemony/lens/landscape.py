"""The loss around the weights, beside what Taylor makes of it: f + t f' + t² f''/2 along directions, and how curved it is at most.

Second derivatives come as Hessian-vector products (Pearlmutter 1994), by differentiating a directional derivative; the largest eigenvalue by
Lanczos iteration, whose vectors are kept orthogonal. A step of gradient descent longer than 2 / eigenvalue leaves a bowl by the other side, higher
than it came (LeCun, Simard and Pearlmutter 1992): so the curvature says which learning rates can work.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from hemony import charts
from hemony.lens import taylor
from hemony.lens.subjects import Trial
from hemony.lens.taylor import DATA, Subject
from hemony.report import section

ITERATIONS = 60  # of Lanczos at most
SETTLED = 1e-4  # of the eigenvalue, that it moves by at the end
PLACES = 41  # along a direction
WIDEST = 4.0  # times the step at which the second-order model has its minimum or is as steep as the first, that are drawn
HOLDS = 0.1  # of the true change, by which a model may be off where it holds
RADII = 60  # that may be tried, a third of an octave apart
HALVINGS = 5


@dataclass(frozen=True)
class Surface:
    """A loss over all weights as one vector, float64."""

    subject: Subject

    @cached_property
    def keys(self) -> list[str]:
        return [key for key in self.subject.point if not key.startswith(DATA)]

    @cached_property
    def start(self) -> Tensor:
        return torch.cat([self.subject.point[key].flatten() for key in self.keys])

    def loss(self, weights: Tensor) -> Tensor:
        parts = weights.split([self.subject.point[key].numel() for key in self.keys])  # type: ignore[no-untyped-call]
        named = {key: part.view_as(self.subject.point[key]) for key, part in zip(self.keys, parts, strict=True)}
        return self.subject.function({**self.subject.point, **named})

    @cached_property
    def gradient(self) -> Tensor:
        return self.product(torch.zeros_like(self.start))[0]

    def product(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient, and the Hessian times a direction."""
        weights = self.start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(weights), weights, create_graph=True)
        (curved,) = torch.autograd.grad(gradient @ direction, weights)
        return gradient.detach(), curved.detach()


@dataclass(frozen=True)
class Top:
    """The Hessian's largest eigenvalue, the vector, and how far the product is from it: an eigenvalue lies within that of the value."""

    value: float
    vector: Tensor
    residual: float
    iterations: int


def top(product: Callable[[Tensor], Tensor], size: int, seed: int) -> Top:
    """By Lanczos iteration (1950) with full reorthogonalisation."""
    draw = torch.Generator().manual_seed(seed)
    vector = torch.randn(size, generator=draw, dtype=torch.float64)
    basis = [vector / vector.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    value = -math.inf
    for _ in range(min(ITERATIONS, size)):
        image = product(basis[-1])
        diagonal.append(float(basis[-1] @ image))
        for _ in range(2):  # once is not enough in floating point
            image = image - sum((vector @ image) * vector for vector in basis)
        before, value = value, float(torch.linalg.eigvalsh(tridiagonal(diagonal, beside))[-1])
        beside.append(float(image.norm()))
        if abs(value - before) <= SETTLED * abs(value) or beside[-1] < 1e-12 * max(1.0, abs(value)):
            break
        basis.append(image / beside[-1])
    shares = torch.linalg.eigh(tridiagonal(diagonal, beside[: len(diagonal) - 1]))[1][:, -1]
    best = sum(share * vector for share, vector in zip(shares, basis, strict=False))
    assert isinstance(best, Tensor)
    best = best / best.norm()
    return Top(value, best, float((product(best) - value * best).norm()), len(diagonal))


def tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    return torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + sum(
        torch.diag(torch.tensor(beside, dtype=torch.float64), side) for side in (-1, 1)
    )


@dataclass(frozen=True)
class Slice:
    """The loss along a unit direction of the weights, and what its derivatives say of it."""

    name: str
    loss: float
    slope: float  # f'
    curvature: float  # f''
    places: list[float]
    values: list[float]
    radii: tuple[float, float]  # in which the first- and the second-order model are off by at most HOLDS of the change
    orders: tuple[float, float]  # of what they leave over: 2 and 3

    def model(self, place: float, order: int) -> float:
        return self.loss + place * self.slope + (place**2 / 2 * self.curvature if order == 2 else 0.0)

    def facts(self) -> dict[str, Any]:
        return {
            "direction": self.name,
            "loss": self.loss,
            "slope": self.slope,
            "curvature": self.curvature,
            "places": self.places,
            "values": self.values,
            "first_order": [self.model(place, 1) for place in self.places],
            "second_order": [self.model(place, 2) for place in self.places],
            "first_order_radius": self.radii[0],
            "second_order_radius": self.radii[1],
            "first_order_remainder": self.orders[0],
            "second_order_remainder": self.orders[1],
        }


def along(surface: Surface, name: str, direction: Tensor) -> Slice:
    """Follow the loss on both sides of the weights."""
    gradient, curved = surface.product(direction)
    slope, curvature = float(gradient @ direction), float(curved @ direction)
    with torch.no_grad():
        here = float(surface.loss(surface.start))

        @cache
        def value(place: float) -> float:
            return float(surface.loss(surface.start + place * direction))

        turn = abs(slope / curvature) if curvature else 1.0
        reach = WIDEST * (turn if 1e-6 < turn < 1e3 else 1.0)
        places = torch.linspace(-reach, reach, PLACES, dtype=torch.float64).tolist()
        draft = Slice(name, here, slope, curvature, places, [value(place) for place in places], (0.0, 0.0), (0.0, 0.0))
        radii = tuple(radius(draft, value, order, reach) for order in (1, 2))
        orders = tuple(remainder_order(draft, value, order, radii[order - 1] / 4 or reach * 1e-3) for order in (1, 2))
    return Slice(name, here, slope, curvature, places, draft.values, (radii[0], radii[1]), (orders[0], orders[1]))


def radius(draft: Slice, value: Callable[[float], float], order: int, reach: float) -> float:
    """The largest of growing distances up to which, on both sides, the model is off by at most HOLDS of the true change.

    An octave is tried at a time and the last one in thirds: a lapse within an octave at both of whose ends it holds is not seen.
    """

    def distance(step: int) -> float:
        return float(reach * 2 ** ((step - RADII + 10) / 3))

    def holds(step: int) -> bool:
        both = ((side, value(side)) for side in (-distance(step), distance(step)))
        return all(abs(draft.model(side, order) - true) <= HOLDS * abs(true - draft.loss) for side, true in both)

    octave = next((step for step in range(0, RADII, 3) if not holds(step)), RADII)
    last = next((step for step in range(max(0, octave - 2), octave) if not holds(step)), octave) - 1
    return distance(last) if last >= 0 else 0.0


def remainder_order(draft: Slice, value: Callable[[float], float], order: int, place: float) -> float:
    """By what power of the distance the model is off, from a distance at which it holds on: 2 and 3 where derivatives are right."""
    left = [abs(value(place / 2**halving) - draft.model(place / 2**halving, order)) for halving in range(HALVINGS)]
    return math.log2(max(left[0], 1e-300) / max(left[-1], 1e-300)) / (HALVINGS - 1)


@dataclass(frozen=True)
class Landscape:
    """What was found, for each subject on trial."""

    slices: list[Slice]
    tops: list[Top]
    optimizer: dict[str, Any]  # name, learning_rate, momentum, as the bundle was trained; empty where none was

    def facts(self) -> dict[str, Any]:
        return {
            "slices": [entry.facts() for entry in self.slices],
            "hessian": [
                {
                    "top_eigenvalue": entry.value,
                    "residual": entry.residual,
                    "iterations": entry.iterations,
                    "largest_stable_step": limit(entry),
                }
                for entry in self.tops
            ],
            "optimizer": self.optimizer,
        }


def limit(found: Top) -> float | None:
    """Of plain gradient descent; None where no direction is curved upward."""
    return 2 / found.value if found.value > 0 else None


@sdpa_kernel(SDPBackend.MATH)  # the others have no second derivative
def inspect(trials: list[Trial], seed: int, optimizer: dict[str, Any]) -> Landscape:
    slices, tops = [], []
    for trial in trials:
        surface = Surface(taylor.subject(trial.module, trial.inputs, trial.loss))
        steepest = surface.gradient
        found = top(lambda vector, surface=surface: surface.product(vector)[1], len(surface.start), seed)  # type: ignore[misc]
        tops.append(found)
        name = f"{trial.prefix} " if trial.prefix else ""
        if steepest.norm() > 0:
            slices.append(along(surface, f"{name}gradient", steepest / steepest.norm()))
        slices.append(along(surface, f"{name}most curved", found.vector))
    return Landscape(slices, tops, optimizer)


# ------------------------------------------------------------------------------------------------------------------ page


def shown(found: Landscape) -> str:
    """The part of the page."""
    cards = [slice_chart(entry) + table(entry) for entry in found.slices]
    return section(
        "The loss around the weights",
        "The loss itself beside its first- and second-order Taylor models: near the weights they agree, and the radius says how far a model holds.",
        *cards,
        "".join(stable(entry, found.optimizer) for entry in found.tops),
    )


def slice_chart(entry: Slice) -> str:
    span = max(entry.values) - min(entry.values) or 1.0
    low, high = min(entry.values) - span / 2, max(entry.values) + span / 2  # a model may leave the picture

    def line(order: int) -> list[tuple[float, float]]:
        models = [(place, entry.model(place, order)) for place in entry.places]
        return [point for point in models if low <= point[1] <= high]

    lines = {"loss": list(zip(entry.places, entry.values, strict=True)), "first order": line(1), "second order": line(2)}
    return charts.curves(lines, "distance in the weights", "loss", f"The loss along the {entry.name} direction")


def table(entry: Slice) -> str:
    rows = {
        "direction": escape(entry.name),
        "slope": f"{entry.slope:.4g}",
        "curvature": f"{entry.curvature:.4g}",
        "first order holds to": f"{entry.radii[0]:.3g}",
        "second order holds to": f"{entry.radii[1]:.3g}",
        "what they leave over falls with the power": f"{entry.orders[0]:.2f} and {entry.orders[1]:.2f} (2 and 3 are right)",
    }
    return "<table>" + "".join(f"<tr><td>{key}</td><td>{value}</td></tr>" for key, value in rows.items()) + "</table>"


def stable(found: Top, optimizer: dict[str, Any]) -> str:
    lines = [
        f"The largest eigenvalue of the Hessian is {found.value:.4g} (within {found.residual:.1g}, {found.iterations} products of it with a vector)."
    ]
    longest, rate = limit(found), optimizer.get("learning_rate")
    if longest is not None:
        lines.append(f"Plain gradient descent is stable for steps up to 2 / {found.value:.4g} = {longest:.4g} here.")
    if longest is not None and rate:
        trained = (
            f"It was trained by {optimizer['name']} with a learning rate of at most {rate:.3g}, {rate / longest:.2g} times that"
        )
        allowed = "; momentum, a falling learning rate and steps scaled for every weight allow more than plain steps do"
        lines.append(escape(trained + ("" if rate < longest else allowed) + "."))
    return "".join(f"<p>{line}</p>" for line in lines)

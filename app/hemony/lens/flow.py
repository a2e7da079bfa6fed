"""How gradients flow: how large they are in each layer, how far a step moves its weights, how many of its units are dead.

A training records it when asked (`trainer.flow=true`), at the last step of every epoch; the keys in its history are flow/LAYER/FIGURE. A unit is dead
that answers to everything alike. A step that moves weights by about a thousandth of themselves is a usual one (Karpathy 2015).
"""

import copy
import math
import statistics
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from hemony import charts
from hemony.callbacks import History
from hemony.lens.hooks import watching
from hemony.lens.subjects import Trial
from hemony.lens.taylor import projection
from hemony.report import section, table

GRADIENT, UPDATE, DEAD = "gradient_rms", "update_ratio", "dead_share"
ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
)
ALIKE = 1e-6  # of a layer's spread, below which a unit's is none
FAR = 1e3  # times more or less than in the middle layer, that a gradient explodes or vanishes
EXAMPLES = 64  # of a batch, by which a unit is seen to be alive: to look at all of a large batch costs more than a step
MANY = 0.5  # of a layer's units, that are too many to be dead


def layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """Those that have weights of their own."""
    return {name: part for name, part in network.named_modules() if any(True for _ in part.parameters(recurse=False))}


def gradient_rms(part: nn.Module) -> float:
    """Root mean square of the gradient of a layer's own weights: of layers of different sizes it can be compared."""
    found = [parameter.grad for parameter in part.parameters(recurse=False) if parameter.grad is not None]
    count = sum(gradient.numel() for gradient in found)
    return math.sqrt(sum(float(gradient.float().square().sum()) for gradient in found) / count) if count else 0.0


def dead_share(answer: Tensor, axis: int = 1) -> float:
    """Of the units of a layer, which lie along an axis of what it answers."""
    spread = answer.detach().float().movedim(axis, 0).flatten(1).std(dim=1)
    return float((spread <= ALIKE * spread.max().clamp(min=1e-12)).float().mean())


def watched(network: nn.Module, dead: dict[str, float]) -> AbstractContextManager[None]:
    """Fill `dead` while the network is called: a layer's units may die in the activation after it, where that is a module."""
    weighted, latest = layers_of(network), ("", 1)

    def see(name: str, part: nn.Module, args: Any, answer: Any) -> None:
        nonlocal latest
        if not isinstance(answer, Tensor) or answer.ndim < 2 or answer.numel() == answer.shape[1]:
            return
        answer = answer[:EXAMPLES]
        if name in weighted:
            latest = (name, -1 if isinstance(part, nn.Linear | nn.LayerNorm | nn.Embedding) else 1)
            dead[name] = dead_share(answer, latest[1])
        elif latest[0] in dead:
            dead[latest[0]] = max(dead[latest[0]], dead_share(answer, latest[1]))

    return watching({**weighted, **{name: part for name, part in network.named_modules() if isinstance(part, ACTIVATIONS)}}, see)


class FlowRecorder(lightning.Callback):
    """Adds the flow at the last step of an epoch to the row that `history` has just made of it; it comes after that callback.

    Where gradients are accumulated and an epoch ends between two steps, its row stays without.
    """

    def __init__(self, history: History, network: nn.Module, every: int = 1) -> None:
        """`every` so many steps the whole network learns: of those the last of an epoch is recorded."""
        self.history = history
        self.every = every
        self.found: dict[str, float] = {}
        self.network = network
        self.dead: dict[str, float] = {}
        self.gradients: dict[str, float] = {}
        self.before: dict[str, list[Tensor]] = {}
        self._watching: AbstractContextManager[None] | None = None

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        step, epoch = int(batch[2]), self.history.epoch_batches
        if step % self.every == 0 and step % epoch + self.every >= epoch:
            self._watching = watched(self.network, self.dead)
            self._watching.__enter__()

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        if self._watching:
            parts = layers_of(self.network)
            self.gradients = {name: gradient_rms(part) for name, part in parts.items()}
            self.before = {name: [one.detach().clone() for one in part.parameters(recurse=False)] for name, part in parts.items()}

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._watching:
            self._watching.__exit__(None, None, None)
            self._watching = None
            self.keep()
        if (int(batch[2]) + 1) % self.history.epoch_batches == 0:
            self.history.rows[-1].update(self.found)
            self.found = {}

    def keep(self) -> None:
        """What the step has shown."""
        for name, part in layers_of(self.network).items():
            if name in self.before:
                self.found[f"flow/{name}/{GRADIENT}"] = self.gradients[name]
                self.found[f"flow/{name}/{UPDATE}"] = moved(self.before[name], list(part.parameters(recurse=False)))
                if name in self.dead:
                    self.found[f"flow/{name}/{DEAD}"] = self.dead[name]
        self.before, self.gradients = {}, {}
        self.dead.clear()


def moved(before: list[Tensor], after: list[nn.Parameter]) -> float:
    """How far the weights of a layer went, beside how large they are."""
    step = sum(float((new.detach() - old).float().square().sum()) for old, new in zip(before, after, strict=True))
    size = sum(float(old.float().square().sum()) for old in before)
    return math.sqrt(step / size) if size else 0.0


# ------------------------------------------------------------------------------------------------------------ what is found


@dataclass(frozen=True)
class Flow:
    """Now, and over the training where it was recorded."""

    now: list[dict[str, Any]]  # a row a layer: name, gradient_norm, dead_share
    recorded: dict[str, dict[str, list[tuple[float, float]]]]  # figure, layer: (epoch, value)

    def words(self) -> list[str]:
        """What is out of order, in words."""
        found = []
        norms = [row[GRADIENT] for row in self.now if row[GRADIENT] > 0]
        middle = statistics.median(norms) if norms else 0.0
        for row in self.now:
            name, norm = row["name"], row[GRADIENT]
            if norm == 0:
                found.append(f"{name} has no gradient")
            elif norm < middle / FAR:
                found.append(f"the gradient vanishes in {name}: {norm:.1e}, in the middle layer {middle:.1e}")
            elif norm > middle * FAR:
                found.append(f"the gradient explodes in {name}: {norm:.1e}, in the middle layer {middle:.1e}")
            if row[DEAD] is not None and row[DEAD] > MANY:
                found.append(f"{row[DEAD]:.0%} of the units of {name} are dead")
        return found or ["no gradient vanishes or explodes, and in no layer are most units dead"]

    def facts(self) -> dict[str, Any]:
        return {
            "layers": self.now,
            "words": self.words(),
            "recorded": {
                figure: {layer: [list(point) for point in points] for layer, points in layers.items()}
                for figure, layers in self.recorded.items()
            },
        }


def inspect(trials: list[Trial], history: list[dict[str, float]]) -> Flow:
    now: list[dict[str, Any]] = []
    for trial in trials:
        network = copy.deepcopy(trial.module).train().requires_grad_()
        dead: dict[str, float] = {}
        with watched(network, dead):
            answer = network(*trial.inputs)
        loss = projection(answer, torch.float32) if trial.loss is None else trial.loss
        loss(answer).backward()  # type: ignore[no-untyped-call]
        now += [{"name": name, GRADIENT: gradient_rms(part), DEAD: dead.get(name)} for name, part in layers_of(network).items()]
    recorded: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in history:
        for key, value in row.items():
            if key.startswith("flow/"):
                _, layer, figure = key.split("/")
                recorded.setdefault(figure, {}).setdefault(layer, []).append((row["epoch"], value))
    return Flow(now, recorded)


# ------------------------------------------------------------------------------------------------------------------ page


def shown(found: Flow) -> str:
    """The part of the page."""
    missing = "" if found.recorded else " This training did not record it: trainer.flow=true does."
    words = "; ".join(found.words())
    cards = [now_chart(found), now_table(found)]
    labels = {
        GRADIENT: "gradient (root mean square)",
        UPDATE: "step / weights",
        DEAD: "share of dead units",
    }
    cards += [
        over_time(found.recorded[figure], label, figure != DEAD) for figure, label in labels.items() if figure in found.recorded
    ]
    return section("How gradients flow", f"{words[0].upper()}{words[1:]}.{missing}", *cards)


def now_chart(found: Flow) -> str:
    points = [(float(place), math.log10(row[GRADIENT])) for place, row in enumerate(found.now) if row[GRADIENT] > 0]
    return charts.curves({"gradient": points}, "layers from the input", "log10 of the gradient", "Gradient over depth")


def now_table(found: Flow) -> str:
    rows = ((row["name"], f"{row[GRADIENT]:.2e}", "" if row[DEAD] is None else f"{row[DEAD]:.0%}") for row in found.now)
    return table(("layer", "gradient", "dead units"), rows)


def over_time(layers: dict[str, list[tuple[float, float]]], label: str, logarithmic: bool) -> str:
    """Of the first layer, the middle one and the last."""
    names = list(layers)
    chosen = dict.fromkeys((names[0], names[len(names) // 2], names[-1]))
    lines = {
        name: [
            (epoch, math.log10(value) if logarithmic else value) for epoch, value in layers[name] if value > 0 or not logarithmic
        ]
        for name in chosen
    }
    return charts.curves(lines, "epoch", f"log10 of {label}" if logarithmic else label, f"{label} over the training")

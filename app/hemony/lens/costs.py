"""The cost of a network on trial, for the page and for programs."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import log10
from typing import Any

import torch
from torch import Tensor

from hemony import charts
from hemony.hardware import describe
from hemony.lens import cost
from hemony.lens.cost import LayerCost, Machine, Tally
from hemony.lens.subjects import Trial
from hemony.lens.taylor import projection
from hemony.report import section, table

EXAMPLES = 32  # in the batch of a step, of those subjects that take any number


@dataclass(frozen=True)
class Costs:
    """What was found."""

    layers: list[LayerCost]
    unknown: dict[str, int]
    machine: Machine
    law: list[tuple[int, float]]  # m n p and seconds
    examples: int
    device: str

    def rows(self) -> list[dict[str, Any]]:
        """A row a layer."""
        return [self.row(layer) for layer in self.layers]

    def row(self, layer: LayerCost) -> dict[str, Any]:
        return {
            "name": layer.name or "(itself)",
            "kind": layer.kind,
            "parameters": layer.parameters,
            "products": [
                {"m": product.m, "n": product.n, "p": product.p, "count": product.count} for product in layer.forward.products
            ],
            "macs": layer.macs,
            "executed_macs": layer.forward.macs,
            "flops": layer.forward.flops,
            "transform_flops": layer.forward.transform_flops,
            "elements": layer.forward.elements,
            "bytes": layer.forward.bytes,
            "flops_a_byte": layer.intensity,
            "backward_macs": layer.backward.macs,
            "backward_flops": layer.backward.flops,
            "backward_bytes": layer.backward.bytes,
            "forward_s": layer.forward_s,
            "backward_s": layer.backward_s,
            "roofline_share": self.machine.share(layer),
        }

    def facts(self) -> dict[str, Any]:
        return {
            "layers": self.rows(),
            "total": {
                "macs": sum(layer.macs for layer in self.layers),
                "flops": sum(layer.forward.flops for layer in self.layers),
                "backward_flops": sum(layer.backward.flops for layer in self.layers),
                "parameters": sum(layer.parameters for layer in self.layers),
            },
            "not_counted": self.unknown,
            "machine": {"flops_a_second": self.machine.flops, "bytes_a_second": self.machine.bytes, "what": self.device},
            "law": [{"mnp": mnp, "seconds": seconds} for mnp, seconds in self.law],
            "examples": self.examples,
        }


def inspect(trials: list[Trial]) -> Costs:
    """Count and time a step of every trial, float32 on this CPU."""
    layers: list[LayerCost] = []
    unknown: Counter[str] = Counter()
    examples = 0
    for trial in trials:
        module, inputs = copy.deepcopy(trial.module).train().requires_grad_(), trial.inputs
        loss: Callable[[Any], Tensor] | None = trial.loss
        if trial.many:
            inputs = tuple(value.repeat(EXAMPLES // len(value) + 1, *[1] * (value.ndim - 1))[:EXAMPLES] for value in inputs)
            loss = None
        examples = len(inputs[0]) if isinstance(inputs[0], Tensor) and inputs[0].ndim else 1
        if loss is None:
            with torch.no_grad():
                loss = projection(module(*inputs), torch.float32)
        found, missed = cost.count(module, inputs, loss)
        cost.measure(module, inputs, found)
        layers += [layer for layer in found if layer.parameters or layer.forward.flops or layer.backward.flops]
        unknown += missed
    return Costs(layers, unknown, cost.machine(), cost.law(), examples, describe(torch.device("cpu"))["processor"])


# ------------------------------------------------------------------------------------------------------------------ page


def shown(found: Costs) -> str:
    """The part of the page."""
    total = found.facts()["total"]
    missed = ", ".join(f"{name} ({elements:,} elements)" for name, elements in found.unknown.items()) or "nothing"
    return section(
        "What a step costs",
        f"{total['macs']:,} multiply-accumulates there for {found.examples} examples, and {total['backward_flops'] / max(1, total['flops']):.2f} times "
        f"as many operations back. The roof is what this machine was just now measured to do, and a layer may come a little above it; far below it, it waits for something else. Not "
        f"counted: {missed}.",
        roofline(found),
        law_chart(found),
    ) + section("Layer by layer", "Products of an m x n and an n x p matrix, and what they took.", layers_table(found))


def roofline(found: Costs) -> str:
    """Rate over operations a byte: what the machine allows, and where each layer is."""
    placed = [layer for layer in found.layers if layer.forward.flops and layer.forward_s > 0]
    if not placed:
        return ""
    lows = [layer.intensity for layer in placed]
    ridge = found.machine.flops / found.machine.bytes
    low, high = min([*lows, ridge]) / 2, max([*lows, ridge]) * 2
    roof = [(log10(x), log10(min(found.machine.flops, found.machine.bytes * x))) for x in (low, ridge, high)]
    rates = [layer.forward.flops / layer.forward_s for layer in placed]
    title = "Roofline"
    frame = charts.Frame(
        (log10(low), log10(high)),
        (log10(min(rates)) - 0.2, log10(max(found.machine.flops, *rates)) + 0.2),
        "floating-point operations a byte",
        "operations a second",
        title,
        power=True,
    )
    frame.line(roof, "second")
    for layer, rate in zip(placed, rates, strict=True):
        words = f"{layer.name or '(itself)'}: {rate / 1e9:.2f} GFLOP/s, {found.machine.share(layer):.0%} of what the roof allows"
        frame.dot(log10(layer.intensity), log10(rate), "first", words)
    return charts.legend(["a layer", f"what {found.device} allows"]) + frame.svg()


def law_chart(found: Costs) -> str:
    """Time over m n p."""
    peak = found.machine.flops
    lines = {
        "measured": [(log10(mnp), log10(seconds)) for mnp, seconds in found.law],
        "2 m n p at the best rate": [(log10(mnp), log10(2 * mnp / peak)) for mnp, _ in found.law],
    }
    return charts.curves(lines, "m x n x p", "seconds", "The cost law: time over m n p", power=True)


def layers_table(found: Costs) -> str:
    heads = (
        "layer", "m x n x p", "parameters", "MAC", "FLOP there", "FLOP back", "FLOP/byte", "ms there", "ms back", "of the roof",
    )  # fmt: skip
    rows = (
        (
            row["name"],
            products(layer.forward),
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            f"{row['flops']:,.0f}",
            f"{row['backward_flops']:,.0f}",
            f"{row['flops_a_byte']:.1f}",
            f"{1e3 * row['forward_s']:.3f}",
            f"{1e3 * row['backward_s']:.3f}",
            f"{row['roofline_share']:.0%}",
        )
        for layer, row in zip(found.layers, found.rows(), strict=True)
    )
    return table(heads, rows)


def products(tally: Tally) -> str:
    """The first of them, and how many more there are."""
    if not tally.products:
        return "Fourier transform" if tally.transform_flops else ""
    first, more = tally.products[0], len(tally.products) - 1
    times = f"{first.count} x " if first.count > 1 else ""
    return f"{times}({first.m} x {first.n} x {first.p})" + (f" and {more} more" if more else "")

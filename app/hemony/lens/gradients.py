"""The gradients of a network on trial: every layer, with a wrong gradient beside each as a control."""

import math
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from hemony import charts
from hemony.lens import chain, taylor
from hemony.lens.subjects import Trial
from hemony.lens.taylor import CONTROL, INPUT, Check, Verdict
from hemony.report import section, table


@dataclass(frozen=True)
class Gradients:
    """What was found."""

    checks: list[Check]
    demonstration: chain.Demonstration

    @property
    def wrong(self) -> list[Check]:
        return [check for check in self.checks if check.verdict is Verdict.wrong]

    def rows(self) -> list[dict[str, Any]]:
        """A row a layer."""
        return [
            {
                "name": check.name,
                "verdict": check.verdict.value,
                "order": check.order,
                "control_order": check.control_order,
                "relative_error": check.relative_error,
                "derivative": check.derivative,
                "smooth": check.smooth,
            }
            for check in self.checks
        ]

    def facts(self) -> dict[str, Any]:
        judged = [check for check in self.checks if check.rays]
        return {
            "layers": self.rows(),
            "negative_control": [{"name": check.name, "scale": CONTROL, "order": check.control_order} for check in judged],
            "remainders": [
                {"name": check.name, "step": ray.steps, "right": ray.remainders(), "control": ray.remainders(CONTROL)}
                for check in judged
                for ray in check.rays[:1]
            ],
            "chain": self.demonstration.facts(),
        }


def inspect(trials: list[Trial], seed: int) -> Gradients:
    """Judge every layer of every trial. Raises UsageError for a module that has no tensor to answer with."""
    checks: list[Check] = []
    for trial in trials:
        subject = taylor.subject(trial.module, trial.inputs, trial.loss)
        found = taylor.check(
            subject.function, subject.point, subject.gradient, subject.layers, subject.smooth, seed, subject.coarse
        )
        if trial.prefix:
            found = [replace(check, name=f"{trial.prefix} {check.name}" if check.name == INPUT else check.name) for check in found]
        checks += found
    return Gradients(checks, chain.demonstrate(seed))


# ------------------------------------------------------------------------------------------------------------------ page


def shown(found: Gradients) -> str:
    """The part of the page."""
    judged = [check for check in found.checks if check.verdict is not Verdict.zero]
    zero = len(found.checks) - len(judged)
    right = sum(check.verdict is Verdict.right for check in judged)
    verdict = f"{right} of {len(judged)} gradients are right"
    verdict += f"; {zero} are zero, and the loss is flat there" if zero else ""
    unjudged = sum(check.verdict is Verdict.unjudged for check in judged)
    verdict += f"; {unjudged} could not be judged, since their controls were not found wrong" if unjudged else ""
    return section(
        "The chain rule, verified",
        f"{verdict}. What the first-order Taylor model leaves over falls with the square of the step (order 2); of the same gradient times "
        f"{CONTROL:g}, which is wrong, with the step itself (order 1).",
        remainder_chart([check for check in judged if check.rays]),
        layers_table(found),
    ) + chain_section(found.demonstration)


def remainder_chart(judged: list[Check]) -> str:
    """The layer whose remainder can be followed furthest."""
    if not judged:
        return ""
    check = max(judged, key=lambda check: len(check.rays[0].steps))
    ray = check.rays[0]
    lines = {
        f"{check.name}: gradient": points(ray.steps, ray.remainders()),
        f"times {CONTROL:g}": points(ray.steps, ray.remainders(CONTROL)),
        "rounding": [(math.log10(step), math.log10(ray.floor)) for step in (ray.steps[0], ray.steps[-1])],
    }
    return charts.curves(lines, "step h", "|f(x+h) - f(x) - h f'(x)|", "Taylor remainder over the step", power=True)


def points(steps: list[float], remainders: list[float]) -> list[tuple[float, float]]:
    """On logarithmic axes."""
    return [(math.log10(step), math.log10(value)) for step, value in zip(steps, remainders, strict=True) if value > 0]


def layers_table(found: Gradients) -> str:
    return table(
        ("layer", "gradient", "order", "control", "relative error"),
        (
            (check.name, check.verdict.value, order(check.order), order(check.control_order), f"{check.relative_error:.0e}")
            for check in found.checks
        ),
    )


def order(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def chain_section(shown: chain.Demonstration) -> str:
    routes = []
    for number, path in enumerate(shown.paths, 1):
        lines = "".join(f"<tr><td>{escape(of)}</td><td>{value:+.6f}</td></tr>" for of, value in path.factors)
        routes.append(
            f"<table><thead><tr><th>path {number}</th><th>value</th></tr></thead><tbody>{lines}<tr><td><b>product</b></td>"
            f"<td><b>{path.product:+.6f}</b></td></tr></tbody></table>"
        )
    total = sum(path.product for path in shown.paths)
    orders = ", ".join(f"{check.name} {order(check.order)}" for check in shown.alignment)
    words = (
        f"<p>The sum of the products is {total:+.9f}, and autograd says {shown.autograd:+.9f}.</p><p>Feedback alignment sends the error back "
        f"through random weights. What it adds is no gradient: its remainders have the orders {orders} (only the last layer's is right), and the "
        f"cosine between the two is {shown.cosine:.2f}.</p>"
    )
    return section(
        "One weight, written out",
        "In a network of two inputs, two layers of two tanh units and one output, the first weight's derivative is the sum over its paths to the "
        "loss of the products along them.",
        *routes,
        words,
    )

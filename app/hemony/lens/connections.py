"""Who is connected to whom: k of n inputs, as one of the C(n, k) combinations, and what the links that are not there save.

For sound also: which k of n bands of the spectrogram are enough, by masking all others at the ear's floor. The network was trained on all of them, so that is a
question about this network, and not about how well one could do with k bands.
"""

import math
from collections import Counter
from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hemony import charts
from hemony.bundle import Bundle
from hemony.lens.examples import Examples
from hemony.lens.subjects import Trial
from hemony.metrics import wilson_interval
from hemony.models.lenet5 import ConnectedConv
from hemony.models.spectrogram import BANDS, SpectrogramCNN, SpectrogramEnsemble, band_edges, mask_of
from hemony.report import section, table

SUBSETS = 200  # of them at most, over all k
HEARD = 100  # examples that each is judged by
CELL_PX = 18


@dataclass(frozen=True)
class Links:
    """One layer: which inputs each output sees."""

    name: str
    kind: str
    inputs: int
    outputs: int
    present: int
    weights_a_link: int
    table: list[tuple[int, ...]] | None  # by output, where it is drawn

    @property
    def possible(self) -> int:
        return self.inputs * self.outputs

    def facts(self) -> dict[str, Any]:
        saved = (self.possible - self.present) * self.weights_a_link
        chosen = [] if self.table is None else [
            {"k": k, "n": self.inputs, "outputs": outputs, "combinations": math.comb(self.inputs, k)}
            for k, outputs in sorted(Counter(map(len, self.table)).items())
        ]  # fmt: skip
        return {
            "name": self.name,
            "kind": self.kind,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "links": self.present,
            "possible_links": self.possible,
            "parameters_saved": saved,
            "multiplications_saved_share": 1 - self.present / self.possible,
            "chosen": chosen,
            "table": self.table,
        }


def links(network: nn.Module) -> list[Links]:
    """Of all layers that multiply: grouped convolutions see part of their inputs, tables say which, the others see all."""
    found = []
    for name, part in network.named_modules():
        if isinstance(part, ConnectedConv):
            found.append(Links(name, "table", part.inputs, len(part.table), part.links, part.kernel_px**2, list(part.table)))
        elif isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            kernel, seen = math.prod(part.kernel_size), part.in_channels // part.groups
            kind = "dense" if part.groups == 1 else f"{part.groups} groups"
            found.append(Links(name, kind, part.in_channels, part.out_channels, seen * part.out_channels, kernel, None))
        elif isinstance(part, nn.Linear):
            found.append(Links(name, "dense", part.in_features, part.out_features, part.in_features * part.out_features, 1, None))
    return found


@dataclass(frozen=True)
class Masked:
    """How often a recogniser is right that hears only some bands."""

    bands: tuple[int, ...]
    correct: int
    total: int


@dataclass(frozen=True)
class Connections:
    """What was found; `masked` is empty for images and where there is no data."""

    links: list[Links]
    masked: list[Masked]
    edges_hz: list[float]  # of the bands

    def by_count(self) -> list[dict[str, Any]]:
        """A row for each k."""
        rows = []
        for k in range(BANDS + 1):
            some = [one for one in self.masked if len(one.bands) == k]
            if not some:
                continue
            best = max(some, key=lambda one: one.correct)
            low, high = wilson_interval(best.correct, best.total)
            rows.append(
                {
                    "k": k,
                    "combinations": math.comb(BANDS, k),
                    "tried": len(some),
                    "mean_accuracy": float(np.mean([one.correct / one.total for one in some])),
                    "best_accuracy": best.correct / best.total,
                    "best_low": low,
                    "best_high": high,
                    "best_bands": list(best.bands),
                }
            )
        return rows

    def facts(self) -> dict[str, Any]:
        return {"layers": [one.facts() for one in self.links], "bands": self.by_count(), "band_edges_hz": self.edges_hz}


def inspect(trials: list[Trial], bundle: Bundle | None, examples: Examples | None, seed: int) -> Connections:
    network = trials[0].module
    found = [one for trial in trials for one in links(trial.module)]
    if bundle is None or examples is None or not isinstance(network, SpectrogramCNN | SpectrogramEnsemble):
        return Connections(found, [], [])
    if network.heard is not None:  # it was trained without some of the bands
        return Connections(found, [], [])
    front = network.front
    inputs, labels = bundle.recogniser.normalise(examples.inputs[:HEARD]), examples.labels[:HEARD]
    with torch.inference_mode():
        mel = front.mel(inputs)
        masked = [Masked(bands, right(network, mel, labels, bands), len(labels)) for bands in subsets(seed)]
    corners_hz = (
        front.edges_hz[:-1] + front.edges_hz[1:]
    ) / 2  # half-way between the middles of neighbouring filters, and the ends
    return Connections(found, masked, corners_hz[band_edges(front.filters.shape[1])].tolist())


def subsets(seed: int) -> list[tuple[int, ...]]:
    """All of those of few or nearly all bands, and as many of the others, by lot, as SUBSETS leaves for each."""
    draw = np.random.default_rng(seed)
    share = SUBSETS // (BANDS + 1)
    chosen: list[tuple[int, ...]] = []
    for k in range(BANDS + 1):
        every = list(combinations(range(BANDS), k))
        places = range(len(every)) if len(every) <= share else sorted(draw.choice(len(every), share, replace=False))
        chosen += [every[place] for place in places]
    return chosen


def right(network: SpectrogramCNN | SpectrogramEnsemble, mel: Tensor, labels: Tensor, bands: tuple[int, ...]) -> int:
    """How many examples are still recognised."""
    return int((network.logits(mel * mask_of(bands, mel.shape[1])).argmax(dim=1) == labels).sum())


# ------------------------------------------------------------------------------------------------------------------ page


def shown(found: Connections) -> str:
    """The part of the page."""
    page = section(
        "Who is connected to whom",
        "A layer sees n inputs; where an output sees only k of them, it is one of C(n, k) combinations, and what is not there is neither stored nor "
        "needed.",
        layers_table(found),
        *(drawn(one) for one in found.links if one.table),
    )
    if found.masked:
        rows = found.by_count()
        page += section(
            "How many bands are enough",
            f"Accuracy of this network where it hears k of {BANDS} bands and nothing in the others (masking, {len(found.masked)} subsets, "
            f"{found.masked[0].total} examples): with all {rows[-1]['mean_accuracy']:.0%}, with one at most {rows[1]['best_accuracy']:.0%}. The best combination is "
            f"the best on these very examples, and may be lucky.",
            bands_chart(rows),
            bands_table(rows, found.edges_hz),
        )
    return page


def layers_table(found: Connections) -> str:
    rows = (
        (
            f"{row['name']} ({row['kind']})",
            *(f"{row[key]:,}" for key in ("inputs", "outputs", "links", "possible_links", "parameters_saved")),
            f"{row['multiplications_saved_share']:.1%}",
        )
        for row in (one.facts() for one in found.links)
    )
    return table(("layer", "inputs", "outputs", "links", "possible", "parameters saved", "multiplications saved"), rows)


def drawn(one: Links) -> str:
    """The table of links, as the paper has it: a row an input, a column an output."""
    assert one.table is not None
    width, height = (len(one.table) + 1) * CELL_PX, (one.inputs + 1) * CELL_PX
    parts = [f'<svg class="heat" viewBox="0 0 {width} {height}" role="img" aria-label="links of {escape(one.name)}">']
    for column in range(len(one.table)):
        parts.append(f'<text x="{(column + 1.5) * CELL_PX}" y="{0.7 * CELL_PX}" text-anchor="middle">{column}</text>')
    for row in range(one.inputs):
        parts.append(f'<text x="{0.7 * CELL_PX}" y="{(row + 1.7) * CELL_PX}" text-anchor="end">{row}</text>')
        for column, seen in enumerate(one.table):
            kind = "right" if row in seen else "track"
            parts.append(
                f'<rect class="{kind}" x="{(column + 1) * CELL_PX + 1}" y="{(row + 1) * CELL_PX + 1}" width="{CELL_PX - 2}" height="{CELL_PX - 2}">'
                f"<title>output {column} {'sees' if row in seen else 'does not see'} input {row}</title></rect>"
            )
    chosen = "; ".join(
        f"{row['outputs']} see {row['k']} of {row['n']} (C = {row['combinations']})" for row in one.facts()["chosen"]
    )
    words = f"{one.name}: inputs down, outputs across. {chosen}: {one.present} of {one.possible} links."
    return "".join(parts) + f"</svg><p>{escape(words)}</p>"


def bands_chart(rows: list[dict[str, Any]]) -> str:
    lines = {
        "the best combination": [(float(row["k"]), row["best_accuracy"]) for row in rows],
        "mean over combinations": [(float(row["k"]), row["mean_accuracy"]) for row in rows],
    }
    return charts.curves(lines, f"bands heard, of {BANDS}", "accuracy", "Accuracy over the number of bands", from_zero=True)


def bands_table(rows: list[dict[str, Any]], edges_hz: list[float]) -> str:
    def which(row: dict[str, Any]) -> str:
        chosen = row["best_bands"]
        return "all" if row["k"] == BANDS else ", ".join(f"{edges_hz[band]:.0f} to {edges_hz[band + 1]:.0f}" for band in chosen)

    shown = (
        (
            str(row["k"]),
            str(row["combinations"]),
            str(row["tried"]),
            f"{row['mean_accuracy']:.1%}",
            f"{row['best_accuracy']:.1%}",
            f"{row['best_low']:.1%} to {row['best_high']:.1%}",
            which(row),
        )
        for row in rows
    )
    return table(("k", "C(n, k)", "tried", "mean", "best", "95 %", "which, in Hz"), shown)

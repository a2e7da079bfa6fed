"""How many connections are enough, asked of trainings and not of one network: anew for every k of n, with several seeds.

The claim under test: too few limit what a network can learn, too many overfit. For LeNet-5, k of the 6 maps that each map of its third
layer sees; for a spectrogram, k of 8 bands that are heard, another combination for every seed.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hemony import bundle as bundles
from hemony import charts, compose, domains, evaluation, hardware, judge, train
from hemony.bundle import Bundle
from hemony.config import Precision, TrainConfig
from hemony.errors import InputError, UsageError
from hemony.models.spectrogram import BANDS
from hemony.report import section, table

SEEDS = 3
MAPS_SEEN = 6  # by the third layer of LeNet-5, of which there are 16


@dataclass(frozen=True)
class Training:
    """One training, on its own data and on what it was kept from."""

    k: int
    n: int
    seed: int
    chosen: str
    parameters: int
    train_accuracy: float
    test_accuracy: float
    test_total: int


def trainings(bundle: Bundle, overrides: list[str], seed: int) -> Iterator[Training]:
    """A bundle's recipe with k of n, for every k and SEEDS seeds. Raises UsageError for a model without such a choice."""
    base = recipe_of(bundle, overrides)
    choice, n = {"lenet5": ("connections", MAPS_SEEN), "spectrogram": ("bands", BANDS)}.get(base.model.kind, ("", 0))
    if not n:
        raise UsageError(f"--retrain is for model=lenet5 and model=spectrogram, and {bundle.name} is model={base.model.kind}")
    hardware.log(f"{n * SEEDS} trainings, of about {bundle.training['train_time_s']:.0f} s each by what {bundle.name} records")
    for k in range(1, n + 1):
        for own_seed in range(seed, seed + SEEDS):
            chosen = f"16x{k}" if choice == "connections" else bands_of(k, own_seed)
            config = replace(base, seed=own_seed, model=replace(base.model, **{choice: chosen}))
            yield trained(config, k, n, chosen)


def recipe_of(bundle: Bundle, overrides: list[str]) -> TrainConfig:
    """The config that trained a bundle, with some values of its groups changed. Raises UsageError for others."""
    config: dict[str, Any] = {key: dict(value) if isinstance(value, dict) else value for key, value in bundle.config.items()}
    for override in overrides:
        key, _, value = override.partition("=")
        group, _, name = key.partition(".")
        if not name or name not in config.get(group, {}):
            raise UsageError(
                f"{override}: --retrain changes a value of what {bundle.name} was trained by, such as trainer.max_epochs=5"
            )
        config[group][name] = value
    return replace(compose.typed(TrainConfig, config), output=None, resume=None)


def bands_of(k: int, seed: int) -> str:
    """`model.bands`: k of all, by lot."""
    chosen = np.random.default_rng([seed, k]).choice(BANDS, k, replace=False)
    return ",".join(map(str, sorted(chosen.tolist())))


def trained(config: TrainConfig, k: int, n: int, chosen: str) -> Training:
    """Raises InputError where the data are not there."""
    with tempfile.TemporaryDirectory() as scratch:
        config = replace(config, output=str(Path(scratch, "bundle")))
        metrics = train.train(config)
        made = bundles.load(Path(scratch, "bundle"))
    found = Training(
        k,
        n,
        config.seed,
        chosen,
        made.training["parameters"],
        accuracy_on("train", made, config),
        metrics["accuracy"],
        metrics["total"],
    )
    hardware.log(
        f"{k} of {n} ({chosen}), seed {config.seed}: right in training {found.train_accuracy:.1%}, in the test {found.test_accuracy:.1%}"
    )
    return found


def accuracy_on(part: str, bundle: Bundle, config: TrainConfig) -> float:
    """Of a part that the bundle records, as it lies in the files: not as augmentation changes it."""
    collection = domains.find(config.data)
    mask = np.isin(collection.digests, bundle.split[part])
    if not mask.any():
        raise InputError(f"data={config.data.kind} has no fixed {part} part to be judged on")
    seen = domains.of(config.data).seen(collection.keep(mask), bundle.preprocessing)
    decoded = judge.decoded(seen, bundle, config.data)
    device = hardware.pick_device(config.trainer.accelerator)
    answers = evaluation.answers_of(bundle.recogniser, decoded, device, hardware.use_bf16(Precision.auto, device))
    return float((answers.logits.argmax(axis=1) == answers.labels).mean())


def by_count(found: list[Training]) -> list[dict[str, Any]]:
    """A row for each k: mean and standard deviation over the seeds."""
    rows = []
    for k in sorted({one.k for one in found}):
        some = [one for one in found if one.k == k]
        train_accuracy, test_accuracy = (np.array([getattr(one, f"{part}_accuracy") for one in some]) for part in ("train", "test"))
        rows.append(
            {
                "k": k,
                "n": some[0].n,
                "seeds": [one.seed for one in some],
                "chosen": [one.chosen for one in some],
                "parameters": some[0].parameters,
                "train_mean": float(train_accuracy.mean()),
                "train_std": float(train_accuracy.std(ddof=1)),
                "test_mean": float(test_accuracy.mean()),
                "test_std": float(test_accuracy.std(ddof=1)),
            }
        )
    return rows


def verdict(rows: list[dict[str, Any]]) -> str:
    """What the curve says of the claim, where a difference counts that is above twice its standard error."""

    def above(one: dict[str, Any], other: dict[str, Any]) -> bool:
        error = ((one["test_std"] ** 2 + other["test_std"] ** 2) / SEEDS) ** 0.5
        return bool(one["test_mean"] - other["test_mean"] > 2 * error)

    best, least, full = max(rows, key=lambda row: row["test_mean"]), rows[0], rows[-1]
    few = "Too few limit it" if above(best, least) else "Even the fewest are enough"
    many = "and too many cost accuracy: it overfits" if above(best, full) else "and with all of them it is not seen to overfit"
    return (
        f"{few} ({least['test_mean']:.1%} with {least['k']} of {least['n']}), {many} "
        f"({full['test_mean']:.1%} with all, {best['test_mean']:.1%} with {best['k']}, the best)."
    )


def shown(rows: list[dict[str, Any]]) -> str:
    """The part of the page."""
    lines = {
        part: [(float(row["k"]), row[f"{key}_mean"]) for row in rows]
        for part, key in (("what it learned from", "train"), ("what it was kept from", "test"))
    }
    cells = (
        (
            f"{row['k']} of {row['n']}",
            f"{row['parameters']:,}",
            f"{row['train_mean']:.1%} ± {row['train_std']:.1%}",
            f"{row['test_mean']:.1%} ± {row['test_std']:.1%}",
            "; ".join(dict.fromkeys(row["chosen"])),
        )
        for row in rows
    )
    return section(
        "Trained anew with k of n",
        f"The claim: too few connections limit what can be learned, too many overfit. {verdict(rows)} "
        f"Mean and standard deviation of {SEEDS} trainings for every k.",
        charts.curves(lines, f"connections, of {rows[0]['n']}", "accuracy", "Accuracy over the number of connections"),
        table(("connections", "parameters", "in training", "in the test", "which"), cells),
    )

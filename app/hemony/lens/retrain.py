"""How many connections are enough, asked of trainings and not of one network: anew for every k of n, with several seeds.

The claim under test: too few limit what a network can learn, too many overfit. For LeNet-5, k of the 6 maps that each map of its third
layer sees; for a spectrogram, k of 8 bands that are heard, by lot. There the number of parameters stays, and what differs between
seeds is the combination also.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hemony import bundle as bundles
from hemony import charts, compose, domains, evaluation, hardware, judge, train
from hemony.bundle import Bundle
from hemony.config import Precision, TrainConfig
from hemony.datasets.collection import PARTS
from hemony.errors import InputError, Terminated, UsageError
from hemony.models.spectrogram import BANDS
from hemony.plain import plain
from hemony.report import section, table

SEEDS = 3
MAPS_SEEN = 6  # by the third layer of LeNet-5, of which there are 16
SURE_T = 3.5  # of a difference of means of 3 and 3: passed by chance in 1.25 % of cases, with two differences that are looked at


@dataclass(frozen=True)
class Training:
    """One training, judged on what it learned from, on what chooses and on what reports."""

    k: int
    n: int
    seed: int
    chosen: str
    parameters: int
    accuracies: dict[str, float]  # by part


@dataclass(frozen=True)
class Plan:
    """What is trained anew: a recipe, in which one key has other values."""

    base: TrainConfig
    key: str  # of the model
    n: int
    value: Callable[[int, int], str]  # of k and the seed
    seconds: float  # that a training may take


def planned(bundle: Bundle, overrides: list[str]) -> Plan:
    """A bundle's recipe, some of its values changed. Raises UsageError for a model without such a choice, and for other overrides."""
    config = plain(compose.typed(TrainConfig, bundle.config))
    choices = {"lenet5": ("connections", MAPS_SEEN, maps_of), "spectrogram": ("bands", BANDS, bands_of)}
    if bundle.model["kind"] not in choices:
        raise UsageError(f"--retrain is for model=lenet5 and model=spectrogram, and {bundle.name} is model={bundle.model['kind']}")
    key, n, value = choices[bundle.model["kind"]]
    epochs = config["trainer"]["max_epochs"]
    for override in overrides:
        set_value(config, override, bundle.name, key)
    base = replace(compose.typed(TrainConfig, config), output=None, resume=None)
    return Plan(base, key, n, value, bundle.training["train_time_s"] * (base.trainer.max_epochs or 1) / (epochs or 1))


def set_value(config: dict[str, Any], override: str, name: str, swept: str) -> None:
    """`group.key=value` in a config."""
    key = override.partition("=")[0]
    group, _, entry = key.partition(".")
    values = config.get(group)
    if not isinstance(values, dict) or entry not in values or key == f"model.{swept}":
        raise UsageError(f"{override}: --retrain changes a value of what {name} was trained by, such as trainer.max_epochs=5")
    try:
        parsed: Any = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
    except OmegaConfBaseException:
        raise UsageError(f"{override} cannot be read; quote what it holds") from None
    value = parsed[group][entry]
    values[entry] = str(Path(value).expanduser()) if key == "data.root" and value else value


def maps_of(k: int, seed: int) -> str:
    """`model.connections`: every map sees k."""
    return f"16x{k}"


def bands_of(k: int, seed: int) -> str:
    """`model.bands`: k of all, by lot; seeds that follow one another have different ones, as long as there are."""
    every = list(combinations(range(BANDS), k))
    order = np.random.default_rng(k).permutation(len(every))
    return ",".join(map(str, every[order[seed % len(every)]]))


def trainings(plan: Plan, seed: int) -> list[Training]:
    """Every k with SEEDS seeds. Raises InputError where the data are not there."""
    hardware.log(f"{plan.n * SEEDS} trainings, of about {plan.seconds:.0f} s each by what the bundle records")
    found = []
    for k in range(1, plan.n + 1):
        for own_seed in range(seed, seed + SEEDS):
            chosen = plan.value(k, own_seed)
            config = replace(plan.base, seed=own_seed, model=replace(plan.base.model, **{plan.key: chosen}))
            try:
                found.append(trained(config, k, plan.n, chosen))
            except Terminated as error:
                raise Terminated(error.exit_code - 128, "of what was trained anew nothing is kept") from None
    return found


def trained(config: TrainConfig, k: int, n: int, chosen: str) -> Training:
    with tempfile.TemporaryDirectory() as scratch:
        train.train(replace(config, output=str(Path(scratch, "bundle"))))
        made = bundles.load(Path(scratch, "bundle"))
    accuracies = judged(made, config)
    words = ", ".join(f"{part} {accuracy:.1%}" for part, accuracy in accuracies.items())
    hardware.log(f"{k} of {n} ({chosen}), seed {config.seed}: {words}")
    return Training(k, n, config.seed, chosen, made.training["parameters"], accuracies)


def judged(bundle: Bundle, config: TrainConfig) -> dict[str, float]:
    """Accuracy on each part that the bundle records, as it lies in the files: not as augmentation changes it."""
    device = hardware.pick_device(config.trainer.accelerator)
    bf16 = hardware.use_bf16(Precision.auto, device)
    collection = domains.find(config.data)
    accuracies = {}
    for part in PARTS:
        mask = np.isin(collection.digests, bundle.split[part])
        if not mask.any():
            raise InputError(f"data={config.data.kind} has no {part} part to be judged on; set data.validation_share above 0")
        seen = domains.of(config.data).seen(collection.keep(mask), bundle.preprocessing)
        answers = evaluation.answers_of(bundle.recogniser, judge.decoded(seen, bundle, config.data), device, bf16)
        accuracies[part] = float((answers.logits.argmax(axis=1) == answers.labels).mean())
    return accuracies


def by_count(found: list[Training]) -> list[dict[str, Any]]:
    """A row for each k: mean and standard deviation over the seeds."""
    rows = []
    for k in sorted({one.k for one in found}):
        some = [one for one in found if one.k == k]
        row: dict[str, Any] = {
            "k": k,
            "n": some[0].n,
            "seeds": [one.seed for one in some],
            "chosen": [one.chosen for one in some],
            "parameters": some[0].parameters,
        }
        for part in PARTS:
            values = np.array([one.accuracies[part] for one in some])
            row |= {f"{part}_mean": float(values.mean()), f"{part}_std": float(values.std(ddof=1))}
        rows.append(row)
    return rows


def verdict(rows: list[dict[str, Any]]) -> str:
    """What the curve says of the claim. The best k is chosen on validation data and compared on the test."""

    def above(one: dict[str, Any], other: dict[str, Any]) -> bool:
        error = ((one["test_std"] ** 2 + other["test_std"] ** 2) / SEEDS) ** 0.5
        return bool(one["test_mean"] - other["test_mean"] > SURE_T * error)

    best, least, full = max(rows, key=lambda row: row["validation_mean"]), rows[0], rows[-1]
    few = "Too few limit it" if above(best, least) else f"That too few limit it is not seen with {SEEDS} seeds"
    many = f"that too many overfit is not seen with {SEEDS} seeds"
    if above(best, full):
        learned = full["train_mean"] >= best["train_mean"]
        many = "too many overfit" if learned else "too many cost accuracy, but in training also: that is no overfitting"
    return (
        f"{few}, and {many}. In the test {least['test_mean']:.1%} with {least['k']} of {least['n']}, {full['test_mean']:.1%} with all, "
        f"{best['test_mean']:.1%} with {best['k']}, which validation data choose."
    )


def shown(rows: list[dict[str, Any]]) -> str:
    """The part of the page."""
    lines = {
        words: [(float(row["k"]), row[f"{part}_mean"]) for row in rows]
        for words, part in (("what it learned from", "train"), ("what it was kept from", "test"))
    }
    bands = rows[0]["n"] == BANDS
    what = "bands heard" if bands else "connections"
    cells = (
        (
            f"{row['k']} of {row['n']}",
            f"{row['parameters']:,}",
            *(f"{row[f'{part}_mean']:.1%} ± {row[f'{part}_std']:.1%}" for part in PARTS),
            "; ".join(dict.fromkeys(row["chosen"])),
        )
        for row in rows
    )
    varied = " The spread is also that between combinations." if bands else ""
    return section(
        "Trained anew with k of n",
        f"The claim: too few {what} limit what can be learned, too many overfit. {verdict(rows)} "
        f"Mean and standard deviation of {SEEDS} trainings for every k.{varied}",
        charts.curves(lines, f"{what}, of {rows[0]['n']}", "accuracy", f"Accuracy over the number of {what}"),
        table((what, "parameters", "in training", "in validation", "in the test", "which"), cells),
    )

"""The parts of an inspection: each takes what is inspected and gives its figures, its piece of the page and a table, or a reason to be left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hemony import bundle as bundles
from hemony import durable, melody_bundle
from hemony.bundle import Bundle
from hemony.errors import InputError, UsageError
from hemony.facts import AUDIO_TASK, HISTORY, MELODY_TASK, read_facts
from hemony.lens import connections, costs, examples, features, flow, gradients, harmonic, landscape, retrain, subjects, tables
from hemony.lens.examples import Examples
from hemony.lens.features import PROBED
from hemony.lens.subjects import DRAWN, FEW, Trial


@dataclass(frozen=True)
class Inspected:
    """What is put to the proof."""

    about: str  # on which examples, in words
    trials: Callable[[int], list[Trial]]  # of so many examples
    optimizer: dict[str, Any]  # that trained it; empty for somebody's own module
    bundle: Bundle | None = None  # a recogniser's,
    examples: Examples | None = None  # with its data
    history: list[dict[str, float]] = field(default_factory=list)  # of its training
    trained_anew: Callable[[], list[retrain.Training]] | None = None  # where it is asked for


def inspected(name: str, parts: list[str], overrides: list[str], seed: int, anew: bool) -> Inspected:
    """The bundle or the module that is named, with examples."""
    folder = Path(name)
    own = ":" in name and not folder.exists()
    if not own and not folder.exists() and "." in name and all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{name}: there is no such bundle, and of a module the function has to be named: {name}:factory")
    melody = not own and read_facts(folder)["task"] == MELODY_TASK
    if anew and (own or melody):
        raise UsageError(f"--retrain trains a recogniser anew, and {name} is none")
    if overrides and (own or melody):
        raise UsageError(f"{overrides[0]}: {name} is inspected on what is made for it, and takes no data")
    if own:
        made = subjects.of_factory(name)
        return Inspected("on the inputs that it makes", lambda count: made, {})
    if melody:
        heard = melody_bundle.load(folder)
        rendered = subjects.of_melody(heard, seed)
        return Inspected("on a rendered recording and melodies", lambda count: rendered, heard.config["optimizer"])
    loaded = bundles.load(folder)
    plan = retrain.planned(loaded, overrides) if anew else None
    drawn = None
    count = PROBED if {"features", "connections"} & set(parts) else subjects.DRAWN
    try:
        of_data = [override for override in overrides if not anew or override.startswith("data.")]
        drawn = examples.drawn(loaded, folder, of_data, count, seed)
        about = f"on examples of {drawn.data}: {FEW} in gradients, {DRAWN} in flow and landscape"
        about += f", {len(drawn.labels)} in features" if count == PROBED else ""
    except InputError as error:
        if overrides:  # what was asked for is not there
            raise
        about = f"on noise: {error}"
    return Inspected(
        about,
        lambda count: subjects.of_recogniser(loaded, drawn, seed, count),
        loaded.config["optimizer"],
        loaded,
        drawn,
        durable.read_json(folder / HISTORY),
        (lambda: retrain.trainings(plan, seed)) if plan else None,
    )


@dataclass(frozen=True)
class Part:
    """What one part has found."""

    facts: dict[str, Any]
    page: str  # HTML
    table: str
    wrong: list[str] = field(default_factory=list)  # whose check has failed


def of_gradients(subject: Inspected, seed: int) -> Part | str:
    found = gradients.inspect(subject.trials(FEW), seed)
    return Part(found.facts(), gradients.shown(found), tables.gradients_table(found.rows()), [check.name for check in found.wrong])


def of_cost(subject: Inspected, seed: int) -> Part | str:
    found = costs.inspect(subject.trials(FEW))
    return Part(found.facts(), costs.shown(found), tables.cost_table(found.rows()))


def of_flow(subject: Inspected, seed: int) -> Part | str:
    found = flow.inspect(subject.trials(DRAWN), subject.history)
    facts = found.facts()
    return Part(facts, flow.shown(found), tables.flow_table(facts))


def of_landscape(subject: Inspected, seed: int) -> Part | str:
    found = landscape.inspect(subject.trials(DRAWN), seed, subject.optimizer)
    facts = found.facts()
    return Part(facts, landscape.shown(found), tables.landscape_table(facts))


def of_features(subject: Inspected, seed: int) -> Part | str:
    if not subject.bundle or not subject.examples:
        return "it is for recognisers" if not subject.bundle else "its data are not there"
    found = features.inspect(subject.bundle, subject.examples, seed)
    facts = found.facts()
    return Part(facts, features.shown(found), tables.probes_table(facts["probes"]))


def of_connections(subject: Inspected, seed: int) -> Part | str:
    found = connections.inspect(subject.trials(FEW), subject.bundle, subject.examples, seed)
    anew = retrain.by_count(subject.trained_anew()) if subject.trained_anew else []
    facts = found.facts() | {"retrained": anew}
    page = connections.shown(found) + (retrain.shown(anew) if anew else "")
    return Part(facts, page, tables.connections_table(facts))


def of_harmonic(subject: Inspected, seed: int) -> Part | str:
    if not subject.bundle or not subject.examples or subject.bundle.task != AUDIO_TASK:
        sound = subject.bundle and subject.bundle.task == AUDIO_TASK
        return "its data are not there" if sound else "it is for recognisers of sound"
    found = harmonic.inspect(subject.bundle, subject.examples, bells=subject.bundle.data["kind"] == "bell_types")
    facts = found.facts()
    return Part(facts, harmonic.shown(found), tables.harmonic_table(facts))


PARTS: dict[str, Callable[[Inspected, int], Part | str]] = {
    "gradients": of_gradients,
    "cost": of_cost,
    "flow": of_flow,
    "landscape": of_landscape,
    "features": of_features,
    "connections": of_connections,
    "harmonic": of_harmonic,
}

"""The bundle of what hears melodies on bells: the same files as any other, read by `correct` and `evaluate`."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch

from hemony import bundle
from hemony.config import MelodyConfig
from hemony.errors import UsageError
from hemony.facts import MELODY_TASK, checked_weights, describing, read_facts
from hemony.models.melody import MelodyNetwork, build
from hemony.plain import plain, restored


@dataclass
class MelodyBundle:
    """A network with all that is needed to use and to judge it."""

    network: MelodyNetwork
    model: MelodyConfig
    temperature: float  # of what was meant
    metrics: dict[str, Any]
    data: dict[str, Any]  # the recorded data= config
    config: dict[str, Any]  # all of it
    training: dict[str, Any]  # seed, seconds, steps, machine
    versions: dict[str, str]
    history: list[dict[str, float]] = field(default_factory=list)
    name: str = ""


def save(melody: MelodyBundle, folder: Path, card: str) -> None:
    """Write it; its parts replace earlier ones one by one, each whole, `bundle.json` last."""
    facts = {
        "task": MELODY_TASK,
        "model": plain(melody.model),
        "temperature": melody.temperature,
        "metrics": melody.metrics,
        "data": melody.data,
        "config": melody.config,
        "training": melody.training,
        "versions": melody.versions,
    }
    bundle.write(folder, melody.network, facts, melody.history, card)


def load(folder: Path) -> MelodyBundle:
    """A bundle, its weights checked and on the CPU, ready to hear. Raises UsageError for one of another task."""
    facts = read_facts(folder)
    if facts["task"] != MELODY_TASK:
        raise UsageError(f"{folder} does not hear melodies on bells; `hemony train experiment=bells` makes a bundle that does")
    weights = checked_weights(folder, facts)
    with describing(folder, "what hears melodies"):
        config = restored(MelodyConfig, facts["model"])
        network = build(config)
        network.load_state_dict(safetensors.torch.load(weights), assign=True)
        network.eval().requires_grad_(False)
        temperature = float(facts["temperature"])
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature {temperature}")
        return MelodyBundle(
            network=network,
            model=config,
            temperature=temperature,
            metrics=facts["metrics"],
            data=facts["data"],
            config=facts["config"],
            training=facts["training"],
            versions=facts["versions"],
            name=str(folder),
        )

"""The bundle: a folder that holds all that the other verbs need, and nothing that could run code.

`model.safetensors` (weights), `bundle.json` (labels, preprocessing, model, temperature, metrics, data, split, versions, digests),
`history.json` (curves) and `README.md` (the model card). `bundle.json` is written last and names the digests of the others.
"""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import nn

from hemony import durable, models
from hemony.config import MODELS
from hemony.datasets.collection import PARTS, Digests
from hemony.facts import (
    AUDIO_TASK,
    CARD,
    FACTS,
    HISTORY,
    IMAGE_TASK,
    SCHEMA_VERSION,
    WEIGHTS,
    checked_weights,
    describing,
    read_recogniser_facts,
)
from hemony.plain import plain, restored
from hemony.preprocessing import AudioView, ImagePreprocessing, View


@dataclass
class Bundle:
    """A recogniser with all that is needed to use and to judge it."""

    recogniser: models.Recogniser
    labels: list[str]
    model: dict[str, Any]  # the model's config
    preprocessing: View
    temperature: float
    metrics: dict[str, Any]
    data: dict[str, Any]  # the recorded data= config
    split: dict[str, Digests]  # content digests by part
    config: dict[str, Any]  # all of it, with what was chosen from the data filled in
    training: dict[str, Any]  # seed, seconds, steps, machine
    versions: dict[str, str]
    history: list[dict[str, float]] = field(default_factory=list)
    unknown_threshold: float = 0.0  # answers of less confidence are given for what is none of the labels; 0: not known
    name: str = ""

    @property
    def task(self) -> str:
        return AUDIO_TASK if isinstance(self.preprocessing, AudioView) else IMAGE_TASK


def save(bundle: Bundle, folder: Path, card: str) -> None:
    """Write a bundle; its parts replace earlier ones one by one, each whole, `bundle.json` last."""
    facts = {
        "task": bundle.task,
        "labels": bundle.labels,
        "model": bundle.model,
        "preprocessing": plain(bundle.preprocessing),
        "flip_averaging": bundle.recogniser.flip_averaging,
        "temperature": bundle.temperature,
        "unknown_threshold": bundle.unknown_threshold,
        "metrics": bundle.metrics,
        "data": bundle.data,
        "split": {part: encode_digests(digests) for part, digests in bundle.split.items()},
        "config": bundle.config,
        "training": bundle.training,
        "versions": bundle.versions,
    }
    write(folder, bundle.recogniser, facts, bundle.history, card)


def write(folder: Path, network: nn.Module, facts: dict[str, Any], history: list[dict[str, float]], card: str) -> None:
    """The files of a bundle for any task, `bundle.json` with the digests of the others."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    contents = {
        WEIGHTS: safetensors.torch.save(state),
        HISTORY: (json.dumps(history, indent=1, allow_nan=False) + "\n").encode(),
        CARD: card.encode(),
    }
    digests = {name: durable.digest(content) for name, content in contents.items() if name != CARD}
    for name, content in contents.items():
        durable.write_bytes(folder / name, content)
    durable.write_json(folder / FACTS, {"schema_version": SCHEMA_VERSION, **facts, "digests": digests})


def load(folder: Path) -> Bundle:
    """A bundle, its weights checked against their digest and loaded on the CPU, ready to predict."""
    facts = read_recogniser_facts(folder)
    return opened(folder, facts, checked_weights(folder, facts))


def opened(folder: Path, facts: dict[str, Any], weights: bytes) -> Bundle:
    """`load`, where facts and weights have been read."""
    with describing(folder, "a recogniser"):
        given = facts["preprocessing"]
        preprocessing: View = restored(AudioView, given) if facts["task"] == AUDIO_TASK else restored(ImagePreprocessing, given)
        config = restored(MODELS[facts["model"]["kind"]], facts["model"])
        network = models.build(config, preprocessing, len(facts["labels"]))
        recogniser = models.Recogniser(network, preprocessing, facts["flip_averaging"])
        recogniser.load_state_dict(safetensors.torch.load(weights), assign=True)
        split = {part: decode_digests(facts["split"][part]) for part in PARTS}
    recogniser.eval().requires_grad_(False)
    return Bundle(
        recogniser=recogniser,
        labels=facts["labels"],
        model=facts["model"],
        preprocessing=preprocessing,
        temperature=facts["temperature"],
        unknown_threshold=facts.get("unknown_threshold", 0.0),
        metrics=facts["metrics"],
        data=facts["data"],
        split=split,
        config=facts["config"],
        training=facts["training"],
        versions=facts["versions"],
        name=str(folder),
    )


def encode_digests(digests: Digests) -> str:
    """64-bit digests as base64 of their little-endian bytes: eleven characters an example."""
    return base64.b64encode(np.sort(digests).astype("<u8").tobytes()).decode()


def decode_digests(text: str) -> Digests:
    return np.frombuffer(base64.b64decode(text), dtype="<u8").astype(np.uint64)

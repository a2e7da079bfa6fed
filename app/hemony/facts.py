"""`bundle.json`: what a bundle says of itself, read without torch, so that work may begin before torch is there."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hemony import durable
from hemony.errors import InputError, UsageError, one_line

SCHEMA_VERSION = 1
IMAGE_TASK, AUDIO_TASK, MELODY_TASK = "image_classification", "audio_classification", "melody_correction"
WEIGHTS, FACTS, HISTORY, CARD = "model.safetensors", "bundle.json", "history.json", "README.md"


def read_facts(folder: Path) -> dict[str, Any]:
    """`bundle.json`, checked for its version. Raises InputError for a folder that is not a bundle."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a bundle: there is no such folder; `hemony train ... output={folder}` makes one")
    path = folder / FACTS
    if not path.is_file():
        unfinished = durable.states(folder / "run")
        remedy = f"`hemony train resume={folder}` finishes its training" if unfinished else "a training writes it when it is done"
        raise InputError(f"{folder} is not a bundle: it has no {FACTS}; {remedy}")
    try:
        facts = json.loads(path.read_bytes())
        version = facts["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); train the bundle again") from None
    if version != SCHEMA_VERSION:
        raise InputError(f"{path} has schema version {version}, this Hemony reads {SCHEMA_VERSION}; use the Hemony that wrote it")
    assert isinstance(facts, dict)
    return facts


def read_recogniser_facts(folder: Path) -> dict[str, Any]:
    """`bundle.json` of what recognises classes. Raises UsageError for another task."""
    facts = read_facts(folder)
    with describing(folder, "a recogniser"):
        if facts["task"] == MELODY_TASK:
            raise UsageError(
                f"{folder} hears melodies on bells, and does not recognise classes; `hemony correct {folder} song.wav` uses it"
            )
    return facts


@contextlib.contextmanager
def describing(folder: Path, what: str) -> Iterator[None]:
    """Raises InputError where the facts turn out not to describe `what` they should."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder / FACTS} does not describe {what} ({one_line(error)}); train the bundle again") from None


def checked_weights(folder: Path, facts: dict[str, Any]) -> bytes:
    """The file of weights. Raises InputError for another than `bundle.json` names by its digest."""
    with describing(folder, "a bundle"):
        digest = facts["digests"][WEIGHTS]
    try:
        content = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise InputError(f"{folder / WEIGHTS} cannot be read: {error.strerror}") from None
    if durable.digest(content) != digest:
        raise InputError(
            f"{folder / WEIGHTS} is not the file that {FACTS} describes (its digest differs): copy the bundle again, whole"
        )
    return content

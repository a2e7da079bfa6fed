"""How well a bundle hears melodies: fixed synthetic recordings, or any folder of recordings with their truths."""

import functools
import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from hemony import hardware, melody_bundle
from hemony.bells.conditions import CONDITIONS, TUNES, Case, Recording, cases
from hemony.bells.judging import Judged, bootstrap, figures, judge
from hemony.bells.notes import Notes, read_truth
from hemony.bells.synth import BellKind
from hemony.config import BellCondition, BellFolderConfig, BellMelodiesConfig, EvaluateConfig
from hemony.datasets.folder import data_root
from hemony.errors import InputError, UsageError
from hemony.hearing import notes_of
from hemony.media.audio import AUDIO_SUFFIXES, as_float, read_audio
from hemony.models.ear import SAMPLE_RATE_HZ

FEW = 8  # recordings that are judged in this process


class Judgeable(Protocol):
    """A recording with its truth, that can be named to another process."""

    @property
    def tune(self) -> str: ...

    def recording(self, sample_rate_hz: int) -> Recording: ...


@dataclass(frozen=True)
class FileCase:
    """A recording of the user's."""

    tune: str
    sound: Path
    truth: Path

    def recording(self, sample_rate_hz: int) -> Recording:
        return Recording(as_float(read_audio(self.sound, sample_rate_hz)), read_truth(self.truth))


@dataclass(frozen=True)
class Heard:
    """A recording's truth and what was heard of it."""

    tune: str
    truth: Notes
    notes: Notes


def run(config: EvaluateConfig, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """A row for each bundle, condition and kind of bell, those of all kinds first."""
    if config.report:
        raise UsageError(f"report={config.report}: melodies have no report; `hemony correct` draws a recording")
    rows = []
    for folder in folders:
        bundle = melody_bundle.load(folder)
        about = {"bundle": str(folder), "data": config.data.kind, "seed": bundle.training["seed"]}
        if isinstance(config.data, BellFolderConfig):
            found = [judge(heard.truth, heard.notes, heard.tune) for heard in listen(folder, folder_cases(config.data))]
            rows.append({**about, "condition": "", "tunes": "", "kind": "", **row(found)})
            continue
        assert isinstance(config.data, BellMelodiesConfig)
        rows += [{**about, **entry} for entry in by_condition(config.data, functools.partial(listen, folder))]
    return rows


def by_condition(data: BellMelodiesConfig, listen: Callable[[Sequence[Case]], list[Heard]]) -> list[dict[str, Any]]:
    """A row for each condition that is asked for and all kinds of bell, and one for each kind."""
    rows = []
    chosen = CONDITIONS if data.condition is BellCondition.all else [data.condition.value]
    for condition in chosen:
        asked = cases(condition, TUNES[data.tunes.value], data.repeats)
        hardware.log(f"{condition}: {len(asked)} recordings of {data.tunes.value} tunes")
        judged = [judge(heard.truth, heard.notes, heard.tune) for heard in listen(asked)]
        about = {"condition": condition, "tunes": data.tunes.value}
        rows.append({**about, "kind": "all", **row(judged)})
        for kind in BellKind:
            some = [entry for entry, case in zip(judged, asked, strict=True) if case.kind is kind]
            rows.append({**about, "kind": kind.value, **row(some)})
    return rows


def row(judged: Sequence[Judged]) -> dict[str, Any]:
    """All figures, and the interval of the one that tunes differ in most; None for a share of nothing."""
    low, high = bootstrap(judged, lambda some: figures(some)["intended_off"])
    found = {**figures(judged), "intended_off_low": low, "intended_off_high": high}
    return {key: None if math.isnan(value) else value for key, value in found.items()}


def listen(folder: Path, asked: Sequence[Judgeable]) -> list[Heard]:
    """What a bundle hears of recordings, by all cores."""
    if len(asked) <= FEW:
        prepare(folder)
        return [listen_to(case) for case in asked]
    spawning = multiprocessing.get_context(
        "spawn"
    )  # a forked process would inherit the threads of torch in the midst of their work
    with ProcessPoolExecutor(os.cpu_count(), spawning, prepare, (folder, True)) as pool:
        return list(pool.map(listen_to, asked))


_listening: dict[str, melody_bundle.MelodyBundle] = {}


def prepare(folder: Path, alone: bool = False) -> None:
    """Load the bundle of this process; `alone`: on one thread."""
    if alone:
        torch.set_num_threads(1)
    _listening["bundle"] = melody_bundle.load(folder)


def listen_to(case: Judgeable) -> Heard:
    return heard_by(_listening["bundle"], case)


def heard_by(bundle: melody_bundle.MelodyBundle, case: Judgeable) -> Heard:
    recording = case.recording(SAMPLE_RATE_HZ)
    notes, _ = notes_of(bundle.network, recording.wave, bundle.temperature)
    return Heard(case.tune, recording.truth, notes)


def folder_cases(data: BellFolderConfig) -> list[FileCase]:
    """Every recording below the root with a truth beside it. Raises InputError for none."""
    root = data_root(data)
    truths = sorted(root.rglob("*.json"))
    sounds = {
        sound.with_suffix(""): sound
        for sound in sorted(root.rglob("*"))
        if sound.suffix.lower() in AUDIO_SUFFIXES and sound.is_file()
    }
    found = [FileCase(truth.stem, sounds[truth.with_suffix("")], truth) for truth in truths if truth.with_suffix("") in sounds]
    if not found:
        raise InputError(f"{root} holds no recording with its truth: X.wav (or another format) with X.json beside it")
    return found

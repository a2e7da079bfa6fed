"""The work behind `hemony evaluate`, once bundles and data are known."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hemony import bundle as bundles
from hemony import domains, evaluation, hardware
from hemony.config import AudioDataConfig, DataConfig, EvaluateConfig
from hemony.datasets.collection import PARTS, Collection, Indices
from hemony.datasets.parts import Part, decode_collection
from hemony.errors import InputError, UsageError
from hemony.metrics import evaluate_logits, mcnemar_exact
from hemony.preprocessing import AudioView
from hemony.unknown import rejection


def run(config: EvaluateConfig, folders: list[Path]) -> list[dict[str, Any]]:
    """One flat object for one bundle; for two, one each and one that compares them."""
    device = hardware.pick_device(config.accelerator)
    bf16 = hardware.use_bf16(config.precision, device)
    loaded = [bundles.load(folder) for folder in folders]
    if config.report:
        check_writable(Path(config.report))
    domain = domains.of(config.data)
    for bundle in loaded:
        match_domain(config.data, bundle)
    collection = domains.find(config.data)
    for bundle in loaded:
        match_classes(collection, bundle)
    mask, part_name = common_test_examples(collection, loaded)
    rows, right = [], []
    for bundle in loaded:
        part = decoded(domain.seen(collection.keep(mask), bundle.preprocessing), bundle, config.data)
        part.collection.labels = relabelled(part.collection, bundle)
        if bundle is loaded[0]:
            for line in part.collection.notes:
                hardware.log(line)
        answers = evaluation.answers_of(bundle.recogniser, part, device, bf16, config.batch_size)
        judged = evaluate_logits(answers.logits, answers.labels, bundle.labels, bundle.temperature)
        foreign = rejection(
            bundle.recogniser,
            bundle.preprocessing,
            bundle.labels,
            answers.logits,
            answers.labels,
            bundle.temperature,
            bundle.unknown_threshold,
            device,
            bf16,
        )
        rows.append({**judged.metrics, **foreign, **evaluation.about(config.data.kind, part_name, bundle.name, bundle.training)})
        right.append(answers.logits.argmax(axis=1) == answers.labels)
        if config.report and bundle is loaded[0]:
            splits = {part_name: counts(answers.labels, bundle.labels)}
            summary = {"splits": splits, "warnings": part.collection.notes, "decisions": []}
            evaluation.write_report(Path(config.report), bundle, judged, answers, part, domain, summary)
            hardware.log(f"report {config.report}{f' (of {bundle.name})' if len(loaded) > 1 else ''}")
    if len(loaded) == 2:
        rows.append(comparison(rows, right))
    return rows


def check_writable(path: Path) -> None:
    """Raise UsageError, before the work, where a report could not be written after it; its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"report={path} cannot be written: {error.strerror}") from None
    if path.is_dir():
        raise UsageError(f"report={path} is a folder; name a file")


def comparison(rows: list[dict[str, Any]], right: list[Any]) -> dict[str, Any]:
    """The difference of two bundles on the same examples, with McNemar's exact test."""
    test = mcnemar_exact(right[0], right[1])
    return {
        "bundle": f"{rows[0]['bundle']} - {rows[1]['bundle']}",
        "accuracy": rows[0]["accuracy"] - rows[1]["accuracy"],
        "only_a_right": test.only_a_right,
        "only_b_right": test.only_b_right,
        "mcnemar_p_value": test.p_value,
    }


def match_domain(config: DataConfig, bundle: bundles.Bundle) -> None:
    """Raise UsageError for a recogniser of images that is to be judged on recordings, or the other way round."""
    if isinstance(config, AudioDataConfig) != isinstance(bundle.preprocessing, AudioView):
        heard = "recordings" if isinstance(bundle.preprocessing, AudioView) else "images"
        raise UsageError(f"{bundle.name} recognises {heard}, and data={config.kind} is something else")


def match_classes(collection: Collection, bundle: bundles.Bundle) -> None:
    """Raise InputError, naming both sets, if the data has a class that the bundle lacks."""
    missing = sorted(set(collection.class_names) - set(bundle.labels))
    if missing:
        raise InputError(
            f"the data has classes that {bundle.name} lacks ({', '.join(missing)}); data: {', '.join(collection.class_names)}; "
            f"bundle: {', '.join(bundle.labels)}"
        )


def relabelled(collection: Collection, bundle: bundles.Bundle) -> Indices:
    """The labels (N,) as positions in the bundle's list of classes, matched by name."""
    places = np.array([bundle.labels.index(name) for name in collection.class_names])
    return places[collection.labels]


def common_test_examples(collection: Collection, loaded: list[bundles.Bundle]) -> tuple[Any, str]:
    """Which examples may be judged on (N,), and a word for them.

    If the data shares some with what a bundle was trained or tuned on, only those of its stored test part count. Data that shares
    none counts whole.
    """
    mask = np.ones(len(collection), dtype=bool)
    name = "all"
    for bundle in loaded:
        seen = np.concatenate([bundle.split["train"], bundle.split["validation"]])
        shared = np.isin(collection.digests, seen)
        if not shared.any():
            continue
        kept = np.isin(collection.digests, bundle.split["test"]) & ~shared
        hardware.log(
            f"{int(shared.sum()):,} of {len(collection):,} {collection.noun}s were used to train {bundle.name}: only the {int(kept.sum()):,} of its "
            f"stored test part are judged"
        )
        mask &= kept
        name = PARTS[2]
    if len(loaded) > 1 and name == PARTS[2]:
        hardware.log(f"{int(mask.sum()):,} {collection.noun}s remain that none of the bundles was trained on")
    if not mask.any():
        raise InputError(f"no {collection.noun} under {collection.root} is left to judge on: the others were used in training")
    return mask, name


def decoded(collection: Collection, bundle: bundles.Bundle, config: DataConfig) -> Part:
    """The examples as the bundle sees them, unreadable ones left out."""
    kept, values = decode_collection(collection, config, bundle.preprocessing)
    return Part(kept, bundle.preprocessing, values, torch.arange(len(kept)))


def counts(labels: Indices, class_names: list[str]) -> dict[str, int]:
    return dict(zip(class_names, np.bincount(labels, minlength=len(class_names)).tolist(), strict=True))

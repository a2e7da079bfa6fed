"""From a recogniser and a part of the data to figures, and from a finished training to its bundle."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hemony import bundle as bundles
from hemony import card, durable, hardware, recipe, report
from hemony.config import plain
from hemony.datasets.images import ImageData, ImagePart
from hemony.datasets.resident import PlainBatches
from hemony.inference import predict_logits
from hemony.metrics import Evaluation, evaluate_logits, fit_temperature, softmax
from hemony.models import Recogniser
from hemony.output import as_csv
from hemony.preprocessing import ImagePreprocessing
from hemony.tasks.classification import Classifier

BATCH = 500
WORST = 24  # mistakes that the report shows


def logits_of(recogniser: Recogniser, part: ImagePart, device: torch.device, bf16: bool, batch_size: int = BATCH) -> Any:
    """Logits of every image of a part, float64 (N, classes)."""
    batches = (images for images, _ in PlainBatches(part, batch_size, device))
    return predict_logits(recogniser, batches, device, bf16).double().numpy()


def finish(
    module: Classifier,
    history: list[dict[str, float]],
    data: ImageData,
    preprocessing: ImagePreprocessing,
    plan: recipe.Recipe,
    folder: Path,
    device: torch.device,
) -> dict[str, Any]:
    """Calibrate on the validation part, judge on the test part, write bundle, metrics and report; returns the metrics."""
    config = plan.config
    bf16 = hardware.use_bf16(config.trainer.precision, device)
    recogniser = module.best
    temperature = config.temperature
    if temperature is None:
        temperature = 1.0
        if len(data.validation):
            logits = logits_of(recogniser, data.validation, device, bf16)
            temperature = fit_temperature(logits, data.validation.collection.labels)
    logits = logits_of(recogniser, data.test, device, bf16)
    evaluation = evaluate_logits(logits, data.test.collection.labels, data.class_names, temperature)
    facts = training_facts(module, history, config.seed, device)
    metrics = {**evaluation.metrics, **about(config.data.kind, "test", str(folder), facts)}
    bundle = bundles.Bundle(
        recogniser=recogniser,
        labels=data.class_names,
        model=plain(config.model),
        preprocessing=preprocessing,
        temperature=temperature,
        metrics=metrics,
        data=plain(config.data),
        split={name: part.collection.digests for name, part in data.parts.items()},
        config=plain(config),
        training=facts,
        versions=hardware.versions(),
        history=history,
    )
    bundles.save(bundle, folder, card.card(bundle, sys.argv[1:]))
    durable.write_json(folder / "run" / "metrics.json", metrics)
    durable.write_text(folder / "run" / "metrics.csv", as_csv([metrics]))
    write_report(
        folder / "run" / "report.html", bundle, evaluation, logits, data.test, data.summary() | {"decisions": plan.decisions}
    )
    hardware.log(f"bundle {folder}, report {folder / 'run' / 'report.html'}")
    return metrics


def training_facts(module: Classifier, history: list[dict[str, float]], seed: int, device: torch.device) -> dict[str, Any]:
    """What stands beside every figure: seed, size, time, machine."""
    seconds = history[-1]["elapsed_s"] if history else 0.0
    return {
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in module.recogniser.parameters()),
        "optimizer_steps": module.steps,
        "train_time_s": seconds,
        "machine": hardware.describe(device),
    }


def about(data: str, part: str, bundle: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The keys that say what a set of figures is about."""
    return {
        "bundle": bundle,
        "data": data,
        "part": part,
        "seed": facts["seed"],
        "parameters": facts["parameters"],
        "train_time_s": facts["train_time_s"],
    }


def write_report(
    path: Path, bundle: bundles.Bundle, evaluation: Evaluation, logits: Any, part: ImagePart, summary: dict[str, Any]
) -> None:
    """The HTML page of a recogniser on a part of the data."""
    accuracy = evaluation.metrics["accuracy"]
    page = report.RunReport(
        title=f"{bundle.data['kind']}: {accuracy:.2%} right",
        evaluation=evaluation,
        history=bundle.history,
        mistakes=worst_mistakes(logits, part, bundle.labels, bundle.temperature),
        data=summary,
        config=bundle.config,
        training=bundle.training | {"versions": bundle.versions},
    )
    durable.write_text(path, report.render(page))


def worst_mistakes(logits: Any, part: ImagePart, class_names: list[str], temperature: float) -> list[report.Mistake]:
    """The wrong answers that were given with the most confidence, first the surest."""
    probabilities = softmax(logits, temperature)
    predicted, labels = probabilities.argmax(axis=1), part.collection.labels
    wrong = np.flatnonzero(predicted != labels)
    order = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:WORST]
    return [
        report.Mistake(
            picture=part.batch([int(index)])[0].permute(1, 2, 0).numpy(),
            truth=class_names[labels[index]],
            prediction=class_names[predicted[index]],
            confidence=float(probabilities[index, predicted[index]]),
            name=part.collection.names[index],
        )
        for index in order
    ]

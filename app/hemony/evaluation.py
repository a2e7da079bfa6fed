"""From a recogniser and a part of the data to figures and a page."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hemony import bundle as bundles
from hemony import durable, media, report
from hemony.datasets.images import ImagePart
from hemony.datasets.resident import PlainBatches
from hemony.inference import predict_logits
from hemony.metrics import Evaluation, softmax
from hemony.models import Recogniser

BATCH = 500
WORST = 24  # mistakes that the report shows


def logits_of(recogniser: Recogniser, part: ImagePart, device: torch.device, bf16: bool, batch_size: int = BATCH) -> Any:
    """Logits of every image of a part, float64 (N, classes)."""
    batches = (images for images, _ in PlainBatches(part, batch_size, device))
    return predict_logits(recogniser, batches, device, bf16).double().numpy()


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
            picture=part.batch(torch.tensor([index]))[0].permute(1, 2, 0).numpy(),
            truth=class_names[labels[index]],
            prediction=class_names[predicted[index]],
            confidence=float(probabilities[index, predicted[index]]),
            name=media.shown(part.collection.names[index]),
        )
        for index in order
    ]

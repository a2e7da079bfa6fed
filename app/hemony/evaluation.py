"""From a recogniser and a part of the data to figures and a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hemony import bundle as bundles
from hemony import durable, report
from hemony.datasets.collection import Indices
from hemony.datasets.parts import Part
from hemony.datasets.resident import PlainBatches
from hemony.domains.base import Domain
from hemony.inference import predict_logits
from hemony.media.files import shown
from hemony.metrics import Evaluation, softmax
from hemony.models import Recogniser

BATCH = 500
WORST = 24  # mistakes that the report shows


@dataclass(frozen=True)
class Answers:
    """What a recogniser says of U images or recordings of a part."""

    logits: Any  # float64 (U, classes)
    labels: Indices  # (U,) the truth
    places: Indices  # (U,) where in the part each one is, or begins


def answers_of(recogniser: Recogniser, part: Part, device: torch.device, bf16: bool, batch_size: int = BATCH) -> Answers:
    """An answer for every image or recording of a part; that to a recording in several windows is the mean of their logits."""
    batches = (inputs for inputs, _ in PlainBatches(part, batch_size, device))
    logits = predict_logits(recogniser, batches, device, bf16).double().numpy()
    places, units, counts = np.unique(part.collection.units(), return_index=True, return_inverse=True, return_counts=True)[1:]
    sums = np.zeros((len(places), logits.shape[1]))
    np.add.at(sums, units, logits)
    return Answers(sums / counts[:, None], part.collection.labels[places], places)


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
    path: Path,
    bundle: bundles.Bundle,
    evaluation: Evaluation,
    answers: Answers,
    part: Part,
    domain: Domain,
    summary: dict[str, Any],
) -> None:
    """The HTML page of a recogniser on a part of the data."""
    accuracy = evaluation.metrics["accuracy"]
    page = report.RunReport(
        title=f"{bundle.data['kind']}: {accuracy:.2%} right",
        evaluation=evaluation,
        history=bundle.history,
        noun=part.collection.noun,
        mistakes=worst_mistakes(answers, part, domain, bundle.labels, bundle.temperature),
        data=summary,
        config=bundle.config,
        training=bundle.training | {"versions": bundle.versions},
    )
    durable.write_text(path, report.render(page))


def worst_mistakes(
    answers: Answers, part: Part, domain: Domain, class_names: list[str], temperature: float
) -> list[report.Mistake]:
    """The wrong answers that were given with the most confidence, first the surest."""
    probabilities = softmax(answers.logits, temperature)
    predicted, labels = probabilities.argmax(axis=1), answers.labels
    wrong = np.flatnonzero(predicted != labels)
    order = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:WORST]

    def mistake(index: int) -> report.Mistake:
        place = answers.places[index]
        truth, prediction = class_names[labels[index]], class_names[predicted[index]]
        example = part.batch(torch.tensor([place]))[0]
        return report.Mistake(
            exhibit=domain.exhibit(example, part.view, f"{truth} called {prediction}"),
            truth=truth,
            prediction=prediction,
            confidence=float(probabilities[index, predicted[index]]),
            name=shown(part.collection.names[place]),
        )

    return [mistake(index) for index in order.tolist()]

"""The mathematics of judging a classifier, of images and of sound alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share (Wilson 1927): honest for small samples and near 0 and 1."""
    interval = stats.binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities (N, C) of logits (N, C) divided by a temperature."""
    probabilities: Floats = special.softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return probabilities


def negative_log_likelihood(logits: Floats, labels: Ints, temperature: float = 1.0) -> float:
    """Mean of -log p(label), in nats."""
    log_probabilities = special.log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """The temperature with the least negative log likelihood (Guo et al. 2017), between 0.05 and 20.

    One more example, right half of the time, keeps a validation part without mistakes from asking for temperature zero.
    """
    logits = np.asarray(logits, dtype=np.float64)
    top_two = np.sort(logits, axis=1)[:, -2:].mean(axis=0)
    doubt = np.array([[top_two[1], top_two[0]]])

    def cost(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        likelihood = negative_log_likelihood(logits, labels, temperature) * len(labels)
        return likelihood + sum(negative_log_likelihood(doubt, np.array([side]), temperature) for side in (0, 1)) / 2

    found = optimize.minimize_scalar(cost, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram: the predictions whose confidence lies in (low, high]."""

    low: float
    high: float
    count: int
    confidence: float  # mean
    accuracy: float


def reliability(probabilities: Floats, labels: Ints, bins: int = 15) -> list[Bin]:
    """Predictions by confidence, in bins of equal width; empty bins are left out."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for place in range(bins):
        inside = places == place
        if inside.any():
            mean, share = float(confidence[inside].mean()), float(right[inside].mean())
            found.append(Bin(place / bins, (place + 1) / bins, int(inside.sum()), mean, share))
    return found


def calibration_error(probabilities: Floats, labels: Ints, bins: int = 15) -> float:
    """Expected calibration error: the mean of |accuracy - confidence| over the bins, weighted by their counts (Guo et al. 2017)."""
    return sum(bin.count * abs(bin.accuracy - bin.confidence) for bin in reliability(probabilities, labels, bins)) / len(labels)


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same examples."""

    only_a_right: int
    only_b_right: int
    p_value: float  # exact, two-sided, that they err equally often


def mcnemar_exact(right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_]) -> McNemar:
    """The exact test of McNemar (1947): among the examples on which they differ, is it a fair coin?"""
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p_value)


@dataclass(frozen=True)
class ClassScore:
    label: str
    precision: float  # 0 where nothing was called so
    recall: float  # 0 where the test part has none
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """A classifier on a test set: `metrics` flat and JSON-able, and what a report draws."""

    metrics: dict[str, Any]
    per_class: list[ClassScore]
    confusion: Ints  # (C, C), a row a true class
    reliability: list[Bin]
    reliability_uncalibrated: list[Bin]


def evaluate_logits(logits: Floats, labels: Ints, class_names: list[str], temperature: float) -> Evaluation:
    """All figures for logits (N, C) and labels (N,). Macro averages are over the classes that the labels contain."""
    classes, total = len(class_names), len(labels)
    probabilities, uncalibrated = softmax(logits, temperature), softmax(logits)
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    scores = class_scores(confusion, class_names)
    present = [score for score in scores if score.support]
    correct = int(np.trace(confusion))
    low, high = wilson_interval(correct, total)
    best = np.argpartition(-probabilities, min(5, classes) - 1, axis=1)[:, : min(5, classes)]
    metrics: dict[str, Any] = {
        "accuracy": correct / total,
        "accuracy_low": low,
        "accuracy_high": high,
        "correct": correct,
        "total": total,
        "top5_accuracy": float((best == labels[:, None]).any(axis=1).mean()),
        "balanced_accuracy": float(np.mean([score.recall for score in present])),
        "macro_precision": float(np.mean([score.precision for score in present])),
        "macro_recall": float(np.mean([score.recall for score in present])),
        "macro_f1": float(np.mean([score.f1 for score in present])),
        "nll": negative_log_likelihood(logits, labels, temperature),
        "nll_uncalibrated": negative_log_likelihood(logits, labels),
        "ece": calibration_error(probabilities, labels),
        "ece_uncalibrated": calibration_error(uncalibrated, labels),
        "temperature": temperature,
    }
    return Evaluation(metrics, scores, confusion, reliability(probabilities, labels), reliability(uncalibrated, labels))


def class_scores(confusion: Ints, class_names: list[str]) -> list[ClassScore]:
    """Precision, recall and F1 of every class, from a confusion matrix with a row a true class."""
    hits, support, called = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(called, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(called + support, 1)
    rows = zip(class_names, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
    return [ClassScore(*row) for row in rows]


def roc_area(positives: Floats, negatives: Floats) -> float:
    """The area under the receiver operating characteristic: how often a positive's score is above a negative's, ties counting half.

    The U statistic of Mann and Whitney (1947) over the number of pairs.
    """
    ranks = stats.rankdata(np.concatenate((positives, negatives)))
    count = len(positives)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * len(negatives)))

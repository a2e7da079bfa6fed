"""From probabilities to an answer."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor


class Decision:
    """From probabilities to a label: the most probable, or `unknown` where it is less probable than its threshold."""

    UNKNOWN = "unknown"

    def __init__(self, labels: list[str], thresholds: dict[str, float], otherwise: float = 0.0) -> None:
        self.labels = labels
        self.least = [thresholds.get(label, otherwise) for label in labels]

    def __call__(self, probabilities: Tensor) -> tuple[str, float]:
        """The label and its confidence for probabilities (classes,)."""
        place = int(probabilities.argmax())
        confidence = float(probabilities[place])
        return self.label(place, confidence), confidence

    def label(self, place: int, confidence: float) -> str:
        return self.labels[place] if confidence >= self.least[place] else self.UNKNOWN


def answers(probabilities: Tensor, decide: Decision, top: int) -> Iterator[dict[str, Any]]:
    """label, confidence and top for every row of probabilities (N, classes)."""
    shares, order = probabilities.topk(min(top, len(decide.labels)), dim=1)
    for confidences, places in zip(shares.tolist(), order.tolist(), strict=True):
        named = [
            {"label": decide.labels[place], "confidence": round(confidence, 6)}
            for confidence, place in zip(confidences, places, strict=True)
        ]
        yield {"label": decide.label(places[0], confidences[0]), "confidence": named[0]["confidence"], "top": named}

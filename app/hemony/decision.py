"""From probabilities to an answer."""

from typing import Any

from torch import Tensor


class Decision:
    """From probabilities to a label: the most probable, or `unknown` where it is less probable than its threshold."""

    UNKNOWN = "unknown"

    def __init__(self, labels: list[str], thresholds: dict[str, float], otherwise: float = 0.0) -> None:
        self.labels = labels
        self.least = [thresholds.get(label, otherwise) for label in labels]

    def __call__(self, probabilities: Tensor) -> tuple[str, float]:
        place = int(probabilities.argmax())
        confidence = float(probabilities[place])
        return self.labels[place] if confidence >= self.least[place] else self.UNKNOWN, confidence


def answer(probabilities: Tensor, labels: list[str], decide: Decision, top: int) -> dict[str, Any]:
    """label, confidence and top for probabilities (classes,)."""
    shares, order = probabilities.topk(min(top, len(labels)))
    named = [
        {"label": labels[place], "confidence": round(share, 6)}
        for share, place in zip(shares.tolist(), order.tolist(), strict=True)
    ]
    label, confidence = decide(probabilities)
    return {"label": label, "confidence": round(confidence, 6), "top": named}

"""How a recogniser of recordings meets what it has no label for: sounds made for the purpose, the same for every bundle."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hemony.bells.strikes import Range, at_peak, drum_like, harmonic_tones, noises
from hemony.datasets.collection import Indices
from hemony.datasets.seeding import generator, uniform
from hemony.inference import predict_logits
from hemony.metrics import roc_area, softmax
from hemony.models import Recogniser
from hemony.preprocessing import AudioView, View

CLIPS, BATCH = 600, 60
ANYWHERE = Range(pitch_classes=(0.0, 12.0), spread=(0.0, 0.0), decay=((1.0, 1.0),), transient_db=(-40.0, 0.0), level_spread_db=0.0)
BACKGROUND = frozenset(("none", "noise", "background", "silence", "unknown", "other"))  # labels that raise no alarm


def foreign_clips(view: AudioView) -> Iterator[Tensor]:
    """Tones, drums and noise, no speech among them, at levels from -40 dB to full scale: int16 (BATCH, clip_samples) at a time."""
    for number in range(CLIPS // BATCH):
        draw = generator(0, "foreign", number)
        make = (harmonic_tones, drum_like, noises)[number % 3]
        waves = at_peak(make(BATCH, view.clip_samples, view.sample_rate_hz, ANYWHERE, draw).float())
        level = 10 ** (uniform((BATCH, 1), -40.0, 0.0, draw) / 20)
        yield (waves * level * 32_767).round().to(torch.int16)


def rejection(
    recogniser: Recogniser,
    view: View,
    labels: list[str],
    known_logits: Any,
    known_labels: Indices,
    temperature: float,
    threshold: float,
    device: torch.device,
    bf16: bool,
) -> dict[str, float]:
    """Figures for `metrics.json`; none for images.

    `unknown_auroc`: how surely the confidence in a label tells clips that have one from foreign ones. `false_alarms_per_hour`: how many clips of
    an hour of foreign sound, heard clip by clip, get a label with at least `threshold` of confidence.
    """
    if not isinstance(view, AudioView):
        return {}
    foreign = predict_logits(recogniser, foreign_clips(view), device, bf16).double().numpy()
    alarming = np.array([label.lower() not in BACKGROUND for label in labels])

    def confidences(logits: Any) -> Any:
        shares = softmax(logits, temperature)
        return np.where(alarming[shares.argmax(axis=1)], shares.max(axis=1), 0.0)

    alarms = confidences(foreign) >= max(threshold, 1e-9)
    return {
        "unknown_threshold": threshold,
        "unknown_auroc": roc_area(confidences(known_logits[alarming[known_labels]]), confidences(foreign)),
        "false_alarms_per_hour": float(alarms.mean() * 3600 / view.clip_s),
    }

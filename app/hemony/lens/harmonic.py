"""A sound rebuilt term by term, beside what the recogniser makes of it: each term adds its nuance.

Terms are partials where there are bells, the strongest peaks of the clip's spectrum in the order of their frequency; otherwise bands, from
low to high. Each is cut out of the clip's own spectrum, so that all of them together are the clip, or all of it that the peaks hold.
"""

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import signal

from hemony import charts
from hemony.bundle import Bundle
from hemony.lens.examples import Examples
from hemony.models.mel import mel_edges_hz
from hemony.preprocessing import AudioView
from hemony.report import section

SHOWN = 3  # clips
TERMS = (1, 2, 4, 8, 16)
PEAK_DB = 60.0  # below the strongest, down to which a peak is a partial
APART_HZ = 25.0  # least, from one partial to the next; less is one that beats
PARTIAL_HZ = 12.0  # to either side of a peak, that belong to it
LOWEST_HZ = 40.0

Samples = npt.NDArray[np.int16]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rebuilt:
    """A clip from its first terms."""

    terms: int
    samples: Samples
    energy_share: float  # of the clip's
    probability: float  # of the clip's label
    predicted: str


@dataclass(frozen=True)
class Clip:
    """A clip and how it grows; the last of `steps` is the clip itself, as one term more than all."""

    label: str
    ends_hz: list[tuple[float, float]]  # of each term
    steps: list[Rebuilt]


@dataclass(frozen=True)
class Harmonic:
    """What was found."""

    clips: list[Clip]
    term: str  # partial or band
    sample_rate_hz: int

    def facts(self) -> dict[str, Any]:
        return {
            "term": self.term,
            "clips": [
                {
                    "label": clip.label,
                    "terms_hz": [list(ends) for ends in clip.ends_hz],
                    "steps": [
                        {
                            "terms": step.terms,
                            "energy_share": step.energy_share,
                            "probability": step.probability,
                            "predicted": step.predicted,
                        }
                        for step in clip.steps
                    ],
                }
                for clip in self.clips
            ],
        }


def inspect(bundle: Bundle, examples: Examples, bells: bool) -> Harmonic:
    """The first clips, of different classes. `bells`: whether what is heard has partials."""
    view = bundle.preprocessing
    assert isinstance(view, AudioView)
    clips = []
    for samples, label in zip(examples.inputs[:SHOWN].numpy(), examples.labels[:SHOWN].tolist(), strict=True):
        ends_hz = partials(samples, view.sample_rate_hz) if bells else bands(view.sample_rate_hz)
        clips.append(grown(bundle, samples, label, ends_hz, view.sample_rate_hz))
    return Harmonic(clips, "partial" if bells else "band", view.sample_rate_hz)


def partials(samples: Samples, sample_rate_hz: int) -> list[tuple[float, float]]:
    """Where the strongest peaks of a clip's spectrum lie, from low to high."""
    level = 20 * np.log10(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) + 1e-9)
    bin_hz = sample_rate_hz / len(samples)
    level[: round(LOWEST_HZ / bin_hz)] = -np.inf
    places, _ = signal.find_peaks(level, height=level.max() - PEAK_DB, distance=max(1, round(APART_HZ / bin_hz)))
    strongest = np.sort(places[np.argsort(-level[places])][: max(TERMS)])
    return [(place * bin_hz - PARTIAL_HZ, place * bin_hz + PARTIAL_HZ) for place in strongest.tolist()]


def bands(sample_rate_hz: int) -> list[tuple[float, float]]:
    """As many as there are terms, equally wide in mel; together they hold everything."""
    edges_hz = mel_edges_hz(max(TERMS) - 1, 0.0, sample_rate_hz / 2).tolist()
    return list(pairwise(edges_hz))


def cut_out(samples: Samples, sample_rate_hz: int, ends_hz: list[tuple[float, float]]) -> Samples:
    """What of a clip lies between the ends, each included and the next excluded."""
    spectrum = np.fft.rfft(samples.astype(np.float64))
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / sample_rate_hz)
    kept = np.zeros(len(frequency_hz), dtype=bool)
    for low_hz, high_hz in ends_hz:
        kept |= (frequency_hz >= low_hz) & ((frequency_hz < high_hz) | (high_hz >= sample_rate_hz / 2))
    rebuilt: Samples = np.clip(np.rint(np.fft.irfft(spectrum * kept, len(samples))), -32768, 32767).astype(np.int16)
    return rebuilt


def grown(bundle: Bundle, samples: Samples, label: int, ends_hz: list[tuple[float, float]], sample_rate_hz: int) -> Clip:
    counts = [count for count in TERMS if count < len(ends_hz)] + ([len(ends_hz)] if ends_hz else [])
    versions = [(count, cut_out(samples, sample_rate_hz, ends_hz[:count])) for count in counts] + [(len(ends_hz) + 1, samples)]
    with torch.inference_mode():
        logits = bundle.recogniser(torch.from_numpy(np.stack([version for _, version in versions])))
    shares = (logits.double() / bundle.temperature).softmax(dim=1)
    whole = float((samples.astype(np.float64) ** 2).sum()) or 1.0
    steps = [
        Rebuilt(
            terms=count,
            samples=version,
            energy_share=float((version.astype(np.float64) ** 2).sum()) / whole,
            probability=float(share[label]),
            predicted=bundle.labels[int(share.argmax())],
        )
        for (count, version), share in zip(versions, shares, strict=True)
    ]
    return Clip(bundle.labels[label], ends_hz, steps)


# ------------------------------------------------------------------------------------------------------------------ page


def shown(found: Harmonic) -> str:
    """The part of the page."""
    cards = []
    for clip in found.clips:
        points = [(float(step.terms), step.probability) for step in clip.steps]
        chart = charts.curves(
            {"probability": points}, f"{found.term}s, the last is the whole clip", f"probability of {clip.label}", clip.label, True
        )
        figures = "".join(figure(found, clip, step) for step in clip.steps)
        cards.append(f"<h3>{escape(clip.label)}</h3>{chart}<div class='wall'>{figures}</div>")
    return section(
        "Term by term",
        f"Each clip from its first {found.term}s, low to high, and what the recogniser makes of it: listen where it begins to know.",
        *cards,
    )


def figure(found: Harmonic, clip: Clip, step: Rebuilt) -> str:
    whole = step.terms > len(clip.ends_hz)
    words = "the clip" if whole else f"{step.terms} {found.term}{'s' if step.terms > 1 else ''}"
    return (
        f"<figure>{charts.player(step.samples, found.sample_rate_hz, f'{clip.label}: {words}')}<figcaption>{words}: {step.probability:.0%} "
        f"{escape(clip.label)}, called {escape(step.predicted)}; {step.energy_share:.0%} of the energy</figcaption></figure>"
    )

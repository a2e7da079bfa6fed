"""What a recogniser sees, from layer to layer: its filters, what they make of an example, what pleases a unit, where it looks.

A linear probe (Alain and Bengio 2016) says how far each layer has brought the classes apart: a ridge classifier on what the layer answers to examples that
the network was not trained on, by cross-validation among them.
"""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony import charts
from hemony.bundle import Bundle
from hemony.lens.examples import Examples
from hemony.lens.hooks import watching
from hemony.media import FULL_SCALE
from hemony.metrics import wilson_interval
from hemony.models.spectrogram import SpectrogramEnsemble
from hemony.preprocessing import AudioView
from hemony.report import section, table

PROBED = 600  # examples
FOLDS = 5
POOLED, INPUT_POOLED = 2, 16  # a map's side, and an image's, as the probe sees it
MOST = 4096  # samples of a waveform, which is brought to a lower rate if it has more
SHOWN, MAPS, PLEASED = 6, 8, 4  # examples, maps of a layer, classes
STEPS, RATE = 160, 0.05  # of the ascent to what pleases a unit
SHIFT = 2  # pixels or samples by which it is moved about between the steps, so that nothing depends on one place
BATCH = 64

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Probe:
    """How well a linear classifier does on what one layer answers."""

    layer: str
    numbers: int  # a layer gives for an example
    correct: int
    total: int

    def facts(self) -> dict[str, Any]:
        low, high = wilson_interval(self.correct, self.total)
        return {
            "layer": self.layer,
            "numbers": self.numbers,
            "correct": self.correct,
            "total": self.total,
            "accuracy": self.correct / self.total,
            "accuracy_low": low,
            "accuracy_high": high,
        }


@dataclass(frozen=True)
class Look:
    """Where a recogniser looks in one example, for the label that it gives."""

    label: str
    predicted: str
    confidence: float
    heat: npt.NDArray[np.float32]  # (height, width), 0 to 1
    picture: Pixels


@dataclass(frozen=True)
class Pleasing:
    """An input that was made to please the unit of one class."""

    label: str
    before: float  # the unit's logit for noise
    after: float
    probability: float
    exhibit: str


@dataclass(frozen=True)
class Features:
    """What was found."""

    probes: list[Probe]
    filters: Pixels | None
    maps: dict[str, list[Pixels]]  # by layer, of the first example
    looks: list[Look]
    pleasing: list[Pleasing]
    sees: str  # images or sounds

    def facts(self) -> dict[str, Any]:
        return {
            "probes": [probe.facts() for probe in self.probes],
            "looks": [
                {"label": look.label, "predicted": look.predicted, "confidence": look.confidence, "heat": look.heat.tolist()}
                for look in self.looks
            ],
            "pleasing": [
                {"label": one.label, "logit_before": one.before, "logit_after": one.after, "probability": one.probability}
                for one in self.pleasing
            ],
            "maps": {layer: len(maps) for layer, maps in self.maps.items()},
        }


def stages(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that follow one another, by name: children, those of a sequence one by one."""
    while len(children := dict(network.named_children())) == 1:
        network = next(iter(children.values()))
    found: dict[str, nn.Module] = {}
    for name, child in children.items():
        inner = dict(child.named_children()) if isinstance(child, nn.Sequential) else {}
        found |= {f"{name}.{number}": part for number, part in inner.items()} or {name: child}
    return {name: part for name, part in found.items() if not isinstance(part, nn.Dropout | nn.BatchNorm2d)}


def answers(network: nn.Module, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """What a network answers, and what each stage does, in the order in which they do; stages that are not called are left out."""
    heard: dict[str, Tensor] = {}

    def see(name: str, part: nn.Module, args: Any, answer: Any) -> None:
        if isinstance(answer, Tensor):
            heard[name] = answer

    with watching(stages(network), see):
        logits: Tensor = network(inputs)
    return logits, heard


def inspect(bundle: Bundle, examples: Examples, seed: int) -> Features:
    network = bundle.recogniser.network
    if isinstance(network, SpectrogramEnsemble):
        network = network.networks[0]
    inputs = bundle.recogniser.normalise(examples.inputs)
    audio = isinstance(bundle.preprocessing, AudioView)
    first = {name: answer[0] for name, answer in answers(network, inputs[:1])[1].items() if answer.ndim in (3, 4)}
    return Features(
        probes=probes(network, inputs, examples.labels),
        filters=filters(network),
        maps={name: strongest(answer) for name, answer in first.items()},
        looks=[
            one
            for place in range(min(SHOWN, len(inputs)))
            if (one := look(bundle, network, examples, place, inputs[place : place + 1]))
        ],
        pleasing=pleasing(bundle, network, seed),
        sees="sounds" if audio else "images",
    )


def probes(network: nn.Module, inputs: Tensor, labels: Tensor) -> list[Probe]:
    """One on the input, and one on each stage."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seen: dict[str, list[Tensor]] = {"input": []}
    with torch.no_grad():
        for batch in inputs.split(BATCH):  # type: ignore[no-untyped-call]
            seen["input"].append(pooled(batch, INPUT_POOLED))
            for name, answer in answers(network, batch)[1].items():
                seen.setdefault(name, []).append(pooled(answer))
    truth = labels.numpy()
    fewest = int(np.unique(truth, return_counts=True)[1].min())
    if fewest < 2:
        return []
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=0)
    found = []
    for name, parts in seen.items():
        numbers = torch.cat(parts).numpy()
        classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-1, 5, 13)))
        guessed = cross_val_predict(classifier, numbers, truth, cv=folds)
        found.append(Probe(name, numbers.shape[1], int((guessed == truth).sum()), len(truth)))
    return found


def pooled(answer: Tensor, parts: int = POOLED) -> Tensor:
    """What a layer answers, few numbers an example: means over parts of a map or of a sequence; a waveform as its samples, up to MOST."""
    answer = answer.float()
    if answer.ndim == 4:
        return functional.adaptive_avg_pool2d(answer, (min(parts, answer.shape[2]), min(parts, answer.shape[3]))).flatten(1)
    if answer.ndim == 3:
        return functional.adaptive_avg_pool1d(answer, min(parts, answer.shape[2])).flatten(1)
    return answer if answer.shape[1] <= MOST else functional.adaptive_avg_pool1d(answer[:, None], MOST)[:, 0]


def filters(network: nn.Module) -> Pixels | None:
    """The first convolution's, each brought to its own range, side by side."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.in_channels in (1, 3):
            weight = part.weight.detach().float()  # (filters, channels, side, side)
            return tiled([evened(one.permute(1, 2, 0).numpy()) for one in weight[: 4 * MAPS]])
    return None


def strongest(answer: Tensor) -> list[Pixels]:
    """The maps (channels, height, width) that vary most; of a spectrogram (bands, frames) itself."""
    maps = answer[None] if answer.ndim == 2 else answer
    order = maps.flatten(1).var(dim=1).argsort(descending=True)[:MAPS]
    return [evened(maps[place].detach().float().numpy()[:: -1 if answer.ndim == 2 else 1, :, None]) for place in order]


def evened(values: npt.NDArray[np.float32]) -> Pixels:
    """Brought to 0 to 255."""
    low, high = float(values.min()), float(values.max())
    pixels: Pixels = np.rint(255 * (values - low) / ((high - low) or 1)).astype(np.uint8)
    return pixels


def tiled(pictures: list[Pixels], gap: int = 1) -> Pixels:
    """Side by side, in as many rows as columns."""
    height, width, channels = pictures[0].shape
    columns = max(1, round(len(pictures) ** 0.5 * 1.6))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 128, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def look(bundle: Bundle, network: nn.Module, examples: Examples, place: int, inputs: Tensor) -> Look | None:
    """Grad-CAM (Selvaraju et al. 2017): the last maps, each weighted by the mean gradient of the winning logit."""
    logits, heard = answers(network, inputs.clone().requires_grad_())
    maps = [answer for answer in heard.values() if answer.ndim == 4 and answer.shape[2] * answer.shape[3] > 1]
    if not maps:
        return None
    winner = int(logits[0].argmax())
    (gradient,) = torch.autograd.grad(logits[0, winner], maps[-1])
    heat = (gradient.mean(dim=(2, 3), keepdim=True) * maps[-1]).sum(dim=1)[0].clamp(min=0).detach()
    heat = heat / heat.max().clamp(min=1e-12)
    shares = (logits[0].detach().double() / bundle.temperature).softmax(dim=0)
    example = examples.inputs[place]
    if isinstance(bundle.preprocessing, AudioView):
        picture = charts.spectrogram(example.numpy(), bundle.preprocessing.sample_rate_hz)
        heat = heat.flip(0)  # low tones at the bottom
    else:
        picture = example.permute(1, 2, 0).numpy()
        picture = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    return Look(bundle.labels[int(examples.labels[place])], bundle.labels[winner], float(shares[winner]), heat.numpy(), picture)


def lit(one: Look) -> Pixels:
    """The picture, darker where the recogniser does not look."""
    height, width = one.picture.shape[:2]
    scale = max(1, 112 // max(height, width))
    large = np.repeat(np.repeat(one.picture, scale, axis=0), scale, axis=1)
    heat = functional.interpolate(
        torch.from_numpy(one.heat.copy())[None, None], large.shape[:2], mode="bilinear", align_corners=False
    )
    lightened: Pixels = np.rint(large * (0.2 + 0.8 * heat[0, 0].numpy()[..., None])).astype(np.uint8)
    return lightened


def pleasing(bundle: Bundle, network: nn.Module, seed: int) -> list[Pleasing]:
    """Inputs that raise the logits of some classes, from noise up (Erhan et al. 2009), moved about and smoothed on the way."""
    classes = torch.arange(min(PLEASED, len(bundle.labels)))
    draw = torch.Generator().manual_seed(seed)
    audio = isinstance(bundle.preprocessing, AudioView)
    inputs = torch.randn(len(classes), *bundle.preprocessing.shape, generator=draw) * (0.01 if audio else 0.3)
    largest = 0.5 if audio else 3.0
    inputs.requires_grad_()
    ascent = torch.optim.Adam([inputs], lr=RATE * largest / 3)
    with torch.no_grad():
        before = network(inputs)[classes, classes]
    for _ in range(STEPS):
        moved = inputs.roll(int(torch.randint(-SHIFT, SHIFT + 1, (1,), generator=draw)), dims=-1)
        rough = (moved[..., 1:] - moved[..., :-1]).square().mean() + (
            0 if audio else (moved[..., 1:, :] - moved[..., :-1, :]).square().mean()
        )
        loss = 0.5 * rough / largest**2 * len(classes) - network(moved)[classes, classes].mean() * 0.05
        ascent.zero_grad()
        loss.backward()
        ascent.step()
        with torch.no_grad():
            inputs.clamp_(-largest, largest)
    with torch.no_grad():
        logits = network(inputs)
    shares = (logits.double() / bundle.temperature).softmax(dim=1)
    found = []
    for place, label in enumerate(bundle.labels[: len(classes)]):
        made = inputs[place].detach().numpy()
        words = f"what pleases {label}"
        if isinstance(bundle.preprocessing, AudioView):
            exhibit = charts.player((made * (FULL_SCALE - 1)).astype(np.int16), bundle.preprocessing.sample_rate_hz, words)
        else:
            exhibit = charts.picture(evened(made.transpose(1, 2, 0)), words)
        found.append(Pleasing(label, float(before[place]), float(logits[place, place]), float(shares[place, place]), exhibit))
    return found


# ------------------------------------------------------------------------------------------------------------------ page


def shown(found: Features) -> str:
    """The part of the page."""
    what = "edges become shapes" if found.sees == "images" else "overtones become what is said or played"
    rise = ""
    if found.probes:
        ends = [probe.correct / probe.total for probe in (found.probes[0], found.probes[-1])]
        rise = f" From {ends[0]:.1%} on the input itself it comes to {ends[1]:.1%} on the last layer."
    return (
        section(
            "Features grow",
            f"How often a linear classifier on what a layer answers is right about examples that it was not fitted to: {what}. "
            f"Maps are first averaged over {POOLED} x {POOLED} parts, sequences over {POOLED}.{rise}",
            probe_chart(found),
            probe_table(found),
        )
        + section(
            "What the layers make of one example",
            "The maps that vary most, layer after layer; first the filters of the first one, each in its own range.",
            *maps(found),
        )
        + section(
            "Where it looks",
            "Grad-CAM: bright is what speaks for the label that is given.",
            wall([figure(one) for one in found.looks]),
        )
        + section(
            "What pleases a class",
            "Inputs that were made from noise to raise the logit of one class: what the class is to the network, not what it is to us.",
            wall(
                [
                    f"<figure>{one.exhibit}<figcaption>{escape(one.label)}: logit {one.before:.1f} → {one.after:.1f}, {one.probability:.0%}</figcaption></figure>"
                    for one in found.pleasing
                ]
            ),
        )
    )


def wall(figures: list[str]) -> str:
    return f'<div class="wall">{"".join(figures)}</div>'


def figure(one: Look) -> str:
    right = "right" if one.label == one.predicted else "wrong"
    words = f"{one.label}, called {one.predicted}"
    return (
        f"<figure>{charts.picture(one.picture, words)}{charts.picture(lit(one), f'where it looks: {words}')}<figcaption>{escape(one.label)}, called "
        f"{escape(one.predicted)} ({one.confidence:.0%}, {right})</figcaption></figure>"
    )


def maps(found: Features) -> list[str]:
    cards = []
    if found.filters is not None:
        cards.append(
            f"<figure>{charts.picture(found.filters, 'filters of the first convolution')}<figcaption>filters</figcaption></figure>"
        )
    for layer, pictures in found.maps.items():
        height, width, _ = pictures[0].shape
        words = f"{layer}, {len(pictures)} of its maps, {height} x {width}"
        cards.append(f"<figure>{charts.picture(tiled(pictures), words)}<figcaption>{escape(words)}</figcaption></figure>")
    return cards


def probe_chart(found: Features) -> str:
    points = [(float(place), probe.correct / probe.total) for place, probe in enumerate(found.probes)]
    return charts.curves(
        {"accuracy": points}, "layers from the input", "accuracy of a linear probe", "Accuracy over depth", from_zero=True
    )


def probe_table(found: Features) -> str:
    rows = (
        (
            row["layer"],
            f"{row['numbers']:,}",
            f"{row['accuracy']:.1%}",
            f"{row['accuracy_low']:.1%} to {row['accuracy_high']:.1%}",
        )
        for row in (probe.facts() for probe in found.probes)
    )
    return table(("layer", "numbers", "accuracy", "95 %"), rows)

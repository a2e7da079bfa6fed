"""The model card: what a bundle is, how good, on what, and how to make it again."""

import shlex
from pathlib import Path
from typing import Any

from hemony.bundle import Bundle
from hemony.melody_bundle import MelodyBundle
from hemony.preprocessing import AudioView, ImageView

# The data sets that Hemony knows by name; of a folder of your own only you know the licence.
SOURCES = {
    "digits": "1,797 scans of handwritten digits, 8x8 grey (Alpaydin and Kaynak 1998, CC BY 4.0), as embedded in scikit-learn",
    "cifar10": "CIFAR-10, 60,000 colour images of 32x32 in 10 classes (Krizhevsky 2009)",
    "cifar100": "CIFAR-100, 60,000 colour images of 32x32 in 100 classes (Krizhevsky 2009)",
    "mnist": "MNIST, 70,000 handwritten digits, 28x28 grey (LeCun et al. 1998)",
    "bell_types": "Strikes of four kinds of bell and sounds that are none, synthesised by Hemony",
    "fsdd": "The Free Spoken Digit Dataset, 3,000 spoken digits of six speakers, 8 kHz (Jakobovski et al., CC BY-SA 4.0)",
    "speech_commands": "Speech Commands v2, one-second words of many speakers, 16 kHz (Warden 2018, CC BY 4.0)",
    "esc50": "ESC-50, 2,000 environmental sounds of 5 s in 50 classes (Piczak 2015, CC BY-NC 3.0)",
    "fashion_mnist": "Fashion-MNIST, 70,000 pictures of clothes, 28x28 grey (Xiao et al. 2017, MIT)",
}

SAME_SPEAKERS = """
Its test clips are by speakers who are in its training too. Whom it has never heard it understands less well: `data.holdout=SPEAKER`
trains without one and measures how much less.
"""


def card(bundle: Bundle, overrides: list[str]) -> str:
    """Markdown for the bundle's README.md; `overrides` are those of the command that trained it."""
    metrics, training, machine = bundle.metrics, bundle.training, bundle.training["machine"]
    kind = bundle.data["kind"]
    noun = "clip" if isinstance(bundle.preprocessing, AudioView) else "image"
    labels = ", ".join(bundle.labels[:20]) + (f" and {len(bundle.labels) - 20} more" if len(bundle.labels) > 20 else "")
    return f"""# {kind} recogniser

{SOURCES.get(kind, f"Trained on data={kind}")}. A {bundle.model["kind"]} with {training["parameters"]:,} parameters that takes
{taken(bundle)}.

Labels: {labels}.

| figure | value |
|---|---|
| accuracy, {metrics["total"]:,} test {noun}s | {metrics["accuracy"]:.4f} (95 % interval {metrics["accuracy_low"]:.4f} to {metrics["accuracy_high"]:.4f}) |
| top-5 accuracy | {metrics["top5_accuracy"]:.4f} |
| macro F1 | {metrics["macro_f1"]:.4f} |
| expected calibration error | {metrics["ece"]:.4f} (before temperature scaling {metrics["ece_uncalibrated"]:.4f}) |
| training time | {training["train_time_s"]:.0f} s on {machine["device"]} ({machine["processor"]}), {training["optimizer_steps"]:,} steps |
| runs | one, seed {training["seed"]}; other seeds and splits give other figures |

Made by

    hemony train {shlex.join(portable(overrides))} output=DIR

with Hemony {bundle.versions["hemony"]} and torch {bundle.versions["torch"]}. Use it by

    hemony classify DIR {"image.png" if noun == "image" else "recording.wav"}
    hemony evaluate DIR

It knows the labels above and nothing else: any other {noun} gets one of them too. Its figures hold for {noun}s like those of its
test part.
{SAME_SPEAKERS if kind == "fsdd" and not bundle.data["holdout"] else ""}"""


def melody_card(bundle: MelodyBundle, rows: list[dict[str, Any]], overrides: list[str]) -> str:
    """Markdown for the README.md of what hears melodies; `rows` are its figures by condition and kind of bell."""
    training, machine = bundle.training, bundle.training["machine"]
    lines = []
    for row in (row for row in rows if row["kind"] == "all"):
        off = "{} ({} to {})".format(*(figure(row[key], 3) for key in ("intended_off", "intended_off_low", "intended_off_high")))
        cents = f"{figure(row['deviation_median_cents'], 2)} / {figure(row['deviation_p95_cents'], 2)}"
        clear = f"{figure(row['onset_f1'], 4)} | {figure(row['intended_clear'], 4)}"
        lines.append(f"| {row['condition']} | {clear} | {off} | {cents} | {figure(row['flag_f1'], 3)} | {figure(row['ece'], 3)} |")
    return f"""# Hears melodies on bells

Which notes a melody on bells has, when each begins, what was meant, and how many cents it is off: carillons, handbells, tubular bells,
glockenspiels. An ear for strikes and a sense of melody with {training["parameters"]:,} parameters together, trained on synthetic recordings
that Hemony renders: tunes that it composes, and eight festive melodies.

| recordings of seven unseen tunes | onset F1 | intended, clear notes | intended, off notes (95 % interval) | deviation, median / p95, cents | flag F1 | calibration error |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

Made by

    hemony train {shlex.join(portable(overrides))} output=DIR

with Hemony {bundle.versions["hemony"]} and torch {bundle.versions["torch"]}, in {training["train_time_s"]:.0f} s on {machine["device"]}
({machine["processor"]}), {training["optimizer_steps"]:,} steps{began(training)}, seed {training["seed"]}; other seeds give other figures. Use it by

    hemony correct DIR song.wav --out tuned.wav
    hemony evaluate DIR data=bell_melodies

It knows single melodies with chords of bells below them. Several melodies at once, other instruments and voices it does not follow.
"""


def began(training: dict[str, Any]) -> str:
    """What had been learnt before the training."""
    steps = training["began_with_steps"]
    return f" after the {steps:,} of the bundle it began with" if steps else ""


def figure(value: float | None, digits: int) -> str:
    """A share of nothing is none."""
    return "none" if value is None else f"{value:.{digits}f}"


def taken(bundle: Bundle) -> str:
    """What the recogniser takes, and how it answers."""
    view = bundle.preprocessing
    if isinstance(view, AudioView):
        return f"clips of {view.clip_s:g} s, mono, {view.sample_rate_hz:,} samples a second (longer recordings by windows of that length)"
    assert isinstance(view, ImageView)
    averaging = (
        "the mean of an image's and its mirror image's logits" if bundle.recogniser.flip_averaging else "one look at each image"
    )
    return f"images of {view.size_px} pixels ({'colour' if view.channels == 3 else 'grey'}) and answers by {averaging}"


def portable(overrides: list[str]) -> list[str]:
    """The overrides without the places of this machine; a folder of one's own has to be named anew."""
    kept = [override for override in overrides if not override.startswith("output=")]
    named = []
    for override in kept:
        key, _, value = override.partition("=")
        own = key == "data.root" or (key == "model.weights" and Path(value).is_absolute())
        named.append(f"{key}={'FOLDER' if key == 'data.root' else 'WEIGHTS'}" if own else override)
    return named

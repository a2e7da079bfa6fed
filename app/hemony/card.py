"""The model card: what a bundle is, how good, on what, and how to make it again."""

import shlex

from hemony.bundle import Bundle

# The data sets that Hemony knows by name; of a folder of your own only you know the licence.
SOURCES = {
    "digits": "1,797 scans of handwritten digits, 8x8 grey (Alpaydin and Kaynak 1998, CC BY 4.0), as embedded in scikit-learn",
    "cifar10": "CIFAR-10, 60,000 colour images of 32x32 in 10 classes (Krizhevsky 2009)",
    "cifar100": "CIFAR-100, 60,000 colour images of 32x32 in 100 classes (Krizhevsky 2009)",
    "mnist": "MNIST, 70,000 handwritten digits, 28x28 grey (LeCun et al. 1998)",
    "fashion_mnist": "Fashion-MNIST, 70,000 pictures of clothes, 28x28 grey (Xiao et al. 2017, MIT)",
}


def card(bundle: Bundle, overrides: list[str]) -> str:
    """Markdown for the bundle's README.md; `overrides` are those of the command that trained it."""
    metrics, training, machine = bundle.metrics, bundle.training, bundle.training["machine"]
    kind = bundle.data["kind"]
    labels = ", ".join(bundle.labels[:20]) + (f" and {len(bundle.labels) - 20} more" if len(bundle.labels) > 20 else "")
    averaging = (
        "the mean of an image's and its mirror image's logits" if bundle.recogniser.flip_averaging else "one look at each image"
    )
    return f"""# {kind} recogniser

{SOURCES.get(kind, f"Trained on data={kind}")}. A {bundle.model["kind"]} with {training["parameters"]:,} parameters that takes images of
{bundle.preprocessing.size_px} pixels ({"colour" if bundle.preprocessing.channels == 3 else "grey"}) and answers by {averaging}.

Labels: {labels}.

| figure | value |
|---|---|
| accuracy, {metrics["total"]:,} test images | {metrics["accuracy"]:.4f} (95 % interval {metrics["accuracy_low"]:.4f} to {metrics["accuracy_high"]:.4f}) |
| top-5 accuracy | {metrics["top5_accuracy"]:.4f} |
| macro F1 | {metrics["macro_f1"]:.4f} |
| expected calibration error | {metrics["ece"]:.4f} (before temperature scaling {metrics["ece_uncalibrated"]:.4f}) |
| training time | {training["train_time_s"]:.0f} s on {machine["device"]} ({machine["processor"]}), {training["optimizer_steps"]:,} steps |
| runs | one, seed {training["seed"]}; other seeds and splits give other figures |

Made by

    hemony train {shlex.join(portable(overrides))} output=DIR

with Hemony {bundle.versions["hemony"]} and torch {bundle.versions["torch"]}. Use it by

    hemony classify DIR image.png
    hemony evaluate DIR

It knows the labels above and nothing else: any other image gets one of them too. Its figures hold for images like those of its
test part.
"""


def portable(overrides: list[str]) -> list[str]:
    """The overrides without the places of this machine; a folder of one's own has to be named anew."""
    kept = [override for override in overrides if not override.startswith("output=")]
    return ["data.root=FOLDER" if override.startswith("data.root=") else override for override in kept]

"""What the config leaves open, chosen from the data, and said in words.

Everything here is a rule of thumb with its reason beside it. What the user sets is never changed.
"""

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hemony import hardware, models
from hemony.config import (
    Accelerator,
    AutoConfig,
    FastCNNConfig,
    Fit,
    Flip,
    ModelConfig,
    OptimizerName,
    TorchvisionConfig,
    TrainConfig,
)
from hemony.datasets.collection import Collection
from hemony.datasets.images import ImageData
from hemony.datasets.symmetry import mirror_test
from hemony.errors import InputError
from hemony.models.torchvision import TorchvisionClassifier

PATIENCE_FLOP = 7e14  # of a whole training: half an hour on two fast cores
PATIENCE_GPU_FLOP = 5e16  # less than that on a GPU of today
TRAINING_COST = 3.0  # a step forward and backward, in units of a look forward
LARGEST_PX = 64  # what the fast CNN is made for
PRETRAINED_PX = 224  # what torchvision's weights have seen
VIVID = 40  # of 255, largest minus smallest channel of a pixel; JPEG leaves less in a grey picture
VIVID_SHARE = 0.002  # of an image's pixels, that make it a coloured one: a lamp may be all there is to see
OWN_SIZE = ("vit_", "maxvit_")  # networks that take images of PRETRAINED_PX only
SCRATCH_PX = 128  # a larger network on photographs, trained from scratch


@dataclass
class Recipe:
    """A config under completion, with a line for each choice."""

    config: TrainConfig
    decisions: list[str] = field(default_factory=list)

    def choose(self, place: str, reason: str, **values: Any) -> None:
        """Fill in those of `values` that are still open in `config.PLACE`, and say why."""
        node = self.config
        for name in place.split(".") if place else []:
            node = getattr(node, name)
        fresh = {name: value for name, value in values.items() if getattr(node, name) is None}
        for name, value in fresh.items():
            setattr(node, name, value)
        if fresh:
            shown = ", ".join(f"{name} {getattr(value, 'name', value)}" for name, value in fresh.items())
            self.decisions.append(f"{shown}: {reason}")


@dataclass(frozen=True)
class View:
    """How images are decoded for the network."""

    channels: int
    size_px: int
    fit: Fit


def choose_view(recipe: Recipe, collection: Collection) -> View:
    """Colour, size and fit of the network's input, before anything is decoded."""
    sizes = collection.sizes
    shorter = int(np.median(sizes.min(axis=1)))
    uniform = bool((sizes == sizes[0]).all())
    aspect = sizes[:, 1] / sizes[:, 0]
    if recipe.config.data.colour is None:
        coloured = colour_share(collection)
        recipe.choose("data", f"{coloured:.0%} of the images show colours", colour=coloured >= 0.05)
    model = recipe.config.model
    largest = LARGEST_PX
    if isinstance(model, TorchvisionConfig):
        largest = PRETRAINED_PX if model.weights or model.name.startswith(OWN_SIZE) else SCRATCH_PX
        if model.name.startswith(OWN_SIZE):
            recipe.choose("data", f"{model.name} takes no other size", size_px=PRETRAINED_PX)
    if isinstance(model, TorchvisionConfig) and model.weights and shorter < PRETRAINED_PX / 2:
        recipe.choose("data", "the weights know photographs; smaller images are enlarged", size_px=PRETRAINED_PX // 2)
    elif shorter <= largest:
        side = int(np.median(sizes.max(axis=1)))
        size = max(8, min(largest, side))
        recipe.choose("data", f"the images' own size (median {shorter} pixels)", size_px=size)
    else:
        recipe.choose("data", f"photographs (median shorter side {shorter} pixels), scaled down", size_px=largest)
    spread = float(np.quantile(aspect, 0.9) / np.quantile(aspect, 0.1))
    if uniform or spread < 1.25:
        recipe.choose("data", "the images have nearly the same shape", fit=Fit.stretch)
    elif shorter > largest:
        recipe.choose("data", "photographs of different shapes: the centre is kept", fit=Fit.crop)
    else:
        recipe.choose("data", "small images of different shapes: nothing is cut off", fit=Fit.pad)
    data = recipe.config.data
    assert data.size_px is not None
    assert data.fit is not None
    return View(3 if data.colour else 1, data.size_px, data.fit)


def colour_share(collection: Collection) -> float:
    """The share of images that show colours. Many a grey picture is stored as a colour one, so a hundred of those are looked at."""
    stored = np.flatnonzero(collection.colour)
    shown = []
    for index in stored[np.linspace(0, len(stored) - 1, min(len(stored), 100)).astype(int)].tolist():
        with contextlib.suppress(InputError):  # a damaged one is named when all are decoded
            pixels = collection.read(index, 3, 32).astype(np.int64)
            vivid = pixels.max(axis=2) - pixels.min(axis=2) > VIVID
            shown.append(vivid.mean() > VIVID_SHARE)
    return float(np.mean(shown or [True])) * len(stored) / len(collection)


def choose_training(recipe: Recipe, images: ImageData) -> None:
    """Model, optimiser, epochs and augmentation, from the decoded data."""
    config = recipe.config
    count, size = len(images.train), images.size_px
    if isinstance(config.model, AutoConfig):
        config.model = FastCNNConfig(width=0.5 if images.channels == 1 or count < 2000 else 1.0)
        recipe.decisions.append(f"model fast_cnn, width {config.model.width:g}: {count:,} training images of {size} pixels")
    batch = int(np.clip(2 ** round(np.log2(max(count, 16) / 24)), 16, 512))
    recipe.choose("trainer", f"{count:,} training images", batch_size=batch)
    batch = config.trainer.batch_size or batch
    steps_an_epoch = max(1, count // batch)
    if isinstance(config.model, TorchvisionConfig) and config.model.weights:
        recipe.choose("trainer", "pre-trained weights need few passes", max_epochs=int(np.clip(round(2e4 / (count + 500)), 4, 20)))
    if config.trainer.max_epochs is None:
        flop = forward_flop(config.model, images.channels, len(images.class_names), size) * count
        most = patient_epochs(flop, config.trainer.accelerator)
        recipe.choose(
            "trainer", "enough passes to converge, few enough to wait for", max_epochs=chosen_epochs(count, steps_an_epoch, most)
        )
    recipe.choose("trainer", "the network is small and the labels may err", label_smoothing=0.1)
    epochs = config.trainer.max_epochs or 1
    steps = epochs * steps_an_epoch // config.trainer.accumulate_batches
    recipe.choose("trainer", "the weights' average over about the last tenth", ema_decay=round(1 - 1 / max(steps / 20, 10), 4))
    recipe.choose("trainer", "about ten looks at the validation part", validate_every_epochs=max(1, epochs // 10))
    choose_optimizer(recipe)
    choose_augmentation(recipe, images)


def chosen_epochs(count: int, steps_an_epoch: int, most: float) -> int:
    """Epochs by training images: small sets need more passes. At most `most` and 12,000 steps, but 12 in any case."""
    wanted = int(np.clip(round(1e6 / (count + 2500)), 12, 300))
    return max(12, min(wanted, int(most), 12_000 // steps_an_epoch))


def patient_epochs(flop: float, accelerator: Accelerator) -> float:
    """Epochs that fit into the patience for a processor or a GPU, where one look at every image costs `flop`."""
    on_gpu = hardware.pick_device(accelerator).type == "cuda"
    return (PATIENCE_GPU_FLOP if on_gpu else PATIENCE_FLOP) / (TRAINING_COST * max(flop, 1.0))


def forward_flop(model: ModelConfig, channels: int, classes: int, size_px: int) -> float:
    """Floating-point operations of one image's way through the network."""
    network = models.build(model, channels, classes, size_px).eval()
    if isinstance(network, TorchvisionClassifier):
        network.check_size(size_px)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, channels, size_px, size_px))
    return float(counter.get_total_flops())


def choose_optimizer(recipe: Recipe) -> None:
    config = recipe.config
    transfer = isinstance(config.model, TorchvisionConfig) and config.model.weights is not None
    if isinstance(config.model, FastCNNConfig):
        recipe.choose("optimizer", "orthogonal updates suit the fast CNN", name=OptimizerName.muon)
    else:
        recipe.choose("optimizer", "steady for any network", name=OptimizerName.adamw)
    name = config.optimizer.name
    rates = {OptimizerName.muon: 0.12, OptimizerName.sgd: 0.1, OptimizerName.adamw: 2e-4 if transfer else 1e-3}
    decays = {OptimizerName.muon: 1e-3, OptimizerName.sgd: 5e-4, OptimizerName.adamw: 0.05}
    momenta = {OptimizerName.muon: 0.6, OptimizerName.sgd: 0.9, OptimizerName.adamw: 0.9}
    assert name is not None
    recipe.choose(
        "optimizer", f"usual for {name.name}", learning_rate=rates[name], weight_decay=decays[name], momentum=momenta[name]
    )


def choose_augmentation(recipe: Recipe, images: ImageData) -> None:
    """Mirror only where a mirror image keeps its label; shift all; turn and scale the small and grey; cut out where there is room."""
    config, size, count = recipe.config, images.size_px, len(images.train)
    augment = config.data.augment
    if augment.flip is None:
        keeps, line = mirror_test(images.train, config.seed)
        recipe.choose("data.augment", line, flip=Flip.alternating if keeps else Flip.none)
    recipe.choose("data.augment", "a sixteenth of the side", shift_px=max(1, round(size / 16)))
    glyphs = images.channels == 1
    if glyphs:
        recipe.choose("data.augment", "grey images vary in pose", rotate_degrees=10.0, scale_share=0.1, colour_share=0.0)
    else:
        small = count < 10_000
        recipe.choose(
            "data.augment",
            "few colour images" if small else "many colour images",
            rotate_degrees=8.0 if small else 0.0,
            scale_share=0.15 if small else 0.0,
            colour_share=0.2 if small else 0.0,
        )
    recipe.choose(
        "data.augment", "room for a hole" if size >= 24 else "too small for holes", cutout_px=size // 4 if size >= 24 else 0
    )
    progressive = isinstance(config.model, FastCNNConfig) and size >= 32
    recipe.choose(
        "data.augment",
        "small images first, they cost half" if progressive else "the images are small enough",
        small_px=round(size * 0.75) if progressive else 0,
    )
    recipe.choose("data.augment", "the other augmentations do", mixup_alpha=0.0, cutmix_alpha=0.0)
    mirrored = augment.flip is not Flip.none
    if config.flip_averaging is None:
        config.flip_averaging = mirrored
        recipe.decisions.append(f"flip_averaging {mirrored}: as training {'mirrors' if mirrored else 'does not mirror'}")


def completed(config: TrainConfig) -> Recipe:
    """A recipe over a copy of the config, so that what the user gave stays as it was."""
    return Recipe(
        dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, augment=dataclasses.replace(config.data.augment)),
            model=dataclasses.replace(config.model),
            optimizer=dataclasses.replace(config.optimizer),
            trainer=dataclasses.replace(config.trainer),
        )
    )

"""Images: how large and in which colours a network sees them, and what is done with a training's."""

import contextlib
import os
import time
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hemony import charts, models
from hemony.config import (
    AutoConfig,
    FastCNNConfig,
    Fit,
    Flip,
    ImageDataConfig,
    OptimizerName,
    TorchvisionConfig,
    TrainConfig,
)
from hemony.datasets import images
from hemony.datasets.collection import ImageCollection
from hemony.datasets.image_augment import ImageAugment
from hemony.datasets.parts import Data
from hemony.datasets.seeding import derived_seed, generator
from hemony.datasets.symmetry import mirror_test
from hemony.domains.base import Domain, Start
from hemony.errors import InputError
from hemony.models.fast_cnn import FastCNN
from hemony.models.torchvision import IMAGENET_MEAN, IMAGENET_STD, TorchvisionClassifier
from hemony.preprocessing import ImagePreprocessing, ImageView, channel_statistics
from hemony.recipe import Recipe, choose_optimizer, choose_steps

LARGEST_PX = 64  # what the fast CNN is made for
PRETRAINED_PX = 224  # what torchvision's weights have seen
VIVID = 40  # of 255, largest minus smallest channel of a pixel; JPEG leaves less in a grey picture
VIVID_SHARE = 0.002  # of an image's pixels, that make it a coloured one: a lamp may be all there is to see
OWN_SIZE = ("vit_", "maxvit_")  # networks that take images of PRETRAINED_PX only
SCRATCH_PX = 128  # a larger network on photographs, trained from scratch
SAMPLE = 5000  # images from which statistics and whitening are measured


class Images(Domain):
    """Pictures of any format and size, seen as squares."""

    def collection(self, config: ImageDataConfig) -> ImageCollection:
        return images.find(config)

    def choose_view(self, recipe: Recipe, collection: ImageCollection) -> ImageView:
        return choose_view(recipe, collection)

    def choose_training(self, recipe: Recipe, data: Data) -> None:
        choose_training(recipe, data)

    def start(self, config: TrainConfig, data: Data) -> Start:
        view = cast(ImageView, data.view)
        pretrained = (isinstance(config.model, TorchvisionConfig) and config.model.weights) or ""
        seen = torch.empty(0) if pretrained else sample(data, config.seed)
        mean, std = imagenet_statistics(view.channels) if pretrained else channel_statistics(seen)
        preprocessing = ImagePreprocessing(view.channels, view.size_px, view.fit, mean, std)
        torch.manual_seed(derived_seed(config.seed, "weights"))
        network = models.build(config.model, view, len(data.class_names))
        recogniser = models.Recogniser(network, preprocessing, bool(config.flip_averaging))
        started = time.monotonic()
        if isinstance(network, FastCNN):
            network.whiten(recogniser.normalise(seen))
        whitening_s = time.monotonic() - started
        if isinstance(network, TorchvisionClassifier) and pretrained:
            network.load_pretrained(pretrained)
        return Start(recogniser, preprocessing, whitening_s)

    def augmentation(self, config: TrainConfig, data: Data, start: Start) -> ImageAugment:
        preprocessing = cast(ImagePreprocessing, start.preprocessing)
        flip_bits = torch.rand(len(data.train), generator=generator(config.seed, "flip")) < 0.5
        augment = cast(ImageDataConfig, config.data).augment
        return ImageAugment(augment, len(data.class_names), preprocessing.mean, flip_bits)

    def exhibit(self, example: Tensor, view: ImageView, caption: str) -> str:
        return charts.picture(example.permute(1, 2, 0).numpy(), caption)


def choose_view(recipe: Recipe, collection: ImageCollection) -> ImageView:
    """Colour, size and fit of the network's input, before anything is decoded."""
    sizes = collection.sizes
    shorter = int(np.median(sizes.min(axis=1)))
    uniform = bool((sizes == sizes[0]).all())
    aspect = sizes[:, 1] / sizes[:, 0]
    data = cast(ImageDataConfig, recipe.config.data)
    if data.colour is None:
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
    assert data.size_px is not None
    assert data.fit is not None
    return ImageView(3 if data.colour else 1, data.size_px, data.fit)


def colour_share(collection: ImageCollection) -> float:
    """The share of images that show colours. Many a grey picture is stored as a colour one, so a hundred of those are looked at."""
    stored = np.flatnonzero(collection.colour)
    shown = []
    for index in stored[np.linspace(0, len(stored) - 1, min(len(stored), 100)).astype(int)].tolist():
        with contextlib.suppress(InputError):  # a damaged one is named when all are decoded
            pixels = collection.read(index, 3, 32).astype(np.int64)
            vivid = pixels.max(axis=2) - pixels.min(axis=2) > VIVID
            shown.append(vivid.mean() > VIVID_SHARE)
    return float(np.mean(shown or [True])) * len(stored) / len(collection)


def choose_training(recipe: Recipe, data: Data) -> None:
    config, view, count = recipe.config, cast(ImageView, data.view), len(data.train)
    if isinstance(config.model, AutoConfig):
        config.model = FastCNNConfig(width=0.5 if view.channels == 1 or count < 2000 else 1.0)
        recipe.decisions.append(f"model fast_cnn, width {config.model.width:g}: {count:,} training images of {view.size_px} pixels")
    transfer = isinstance(config.model, TorchvisionConfig) and config.model.weights is not None
    if isinstance(config.model, TorchvisionConfig):
        check_network(config.model, view)
    if transfer:
        recipe.choose("trainer", "pre-trained weights need few passes", max_epochs=int(np.clip(round(2e4 / (count + 500)), 4, 20)))
    choose_steps(recipe, data)
    if isinstance(config.model, FastCNNConfig):
        choose_optimizer(recipe, OptimizerName.muon, "orthogonal updates suit the fast CNN")
    else:
        choose_optimizer(recipe, OptimizerName.adamw, "steady for any network", transfer)
    choose_augmentation(recipe, data)


def check_network(config: TorchvisionConfig, view: ImageView) -> None:
    """Raise UsageError for a network of torchvision that does not take images of the view's size."""
    network = models.build(config, view, 2)
    assert isinstance(network, TorchvisionClassifier)
    network.check_size(view.size_px)


def choose_augmentation(recipe: Recipe, data: Data) -> None:
    """Mirror only where a mirror image keeps its label; shift all; turn and scale the small and grey; cut out where there is room."""
    config, count = recipe.config, len(data.train)
    channels, size = data.view.shape[0], data.view.shape[-1]
    augment = cast(ImageDataConfig, config.data).augment
    if augment.flip is None:
        keeps, line = mirror_test(data.train, config.seed)
        recipe.choose("data.augment", line, flip=Flip.alternating if keeps else Flip.none)
    recipe.choose("data.augment", "a sixteenth of the side", shift_px=max(1, round(size / 16)))
    glyphs = channels == 1
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


def imagenet_statistics(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the images that torchvision's weights have seen; for grey images those of their three channels."""
    if channels == 1:
        return (sum(IMAGENET_MEAN) / 3,), (sum(IMAGENET_STD) / 3,)
    return IMAGENET_MEAN, IMAGENET_STD


def sample(data: Data, seed: int) -> Tensor:
    """Up to SAMPLE training images, uint8 (N, C, S, S), drawn by the seed."""
    chosen = torch.randperm(len(data.train), generator=generator(seed, "sample"))[:SAMPLE]
    return data.train.batch(chosen, threads=os.cpu_count() or 1)

"""Does a mirror image keep its label? The data can tell.

A quick classifier is trained on images as they are and judged on held-out ones, as they are and mirrored. Where left and right
mean nothing (a cat) it does as well on the mirrored ones; where they mean something (a 3, an arrow) it does not.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hemony.datasets.images import ImagePart
from hemony.datasets.seeding import generator

SAMPLE = 4000  # images looked at
FEATURES = 1024  # random features of the quick classifier
PATCH_PX = 5
TOLERATED_LOSS = 0.08  # share of the accuracy above chance that may be lost to mirroring, beside the sampling error


def mirror_test(part: ImagePart, seed: int) -> tuple[bool, str]:
    """Whether to mirror the images of a part, and the sentence that says why."""
    chosen = torch.randperm(len(part), generator=generator(seed, "mirror test"))[:SAMPLE]
    images, labels = part.batch(chosen).float() / 255, part.labels[chosen]
    classes = int(labels.max()) + 1
    straight, mirrored = held_out_accuracies(images, labels, classes, seed)
    chance = float(np.bincount(labels.numpy()).max() / len(labels))
    held = max(len(chosen) // 2, 1)
    error = (straight * (1 - straight) / held) ** 0.5
    learned = straight - chance
    figures = f"a quick classifier gets {straight:.0%} of held-out images right, {mirrored:.0%} when they are mirrored"
    if learned < 3 * error:
        return part.channels == 3, f"{figures}: it cannot tell, so colour images are mirrored and grey ones are not"
    keeps = straight - mirrored <= TOLERATED_LOSS * learned + 2 * error
    return keeps, f"{figures}: mirroring {'keeps' if keeps else 'breaks'} the labels"


def held_out_accuracies(images: Tensor, labels: Tensor, classes: int, seed: int) -> tuple[float, float]:
    """Accuracy on held-out images (N, C, S, S) as they are and mirrored, two-fold, by ridge regression on random features.

    The features are random patches of the images, used as filters, rectified and pooled over a 4 x 4 grid (Coates and Ng 2012).
    """
    draw = generator(seed, "random features")
    size = min(images.shape[-1], 32)
    images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    images = images - images.mean(dim=(1, 2, 3), keepdim=True)
    filters = random_patches(images, FEATURES // 16, draw)
    straight, mirrored = features(images, filters), features(images.flip(-1), filters)
    targets = functional.one_hot(labels, classes).float() * 2 - 1
    right = [0, 0]
    even = torch.arange(len(images)) % 2 == 0
    for train in (even, ~even):
        weights, mean, scale = ridge(straight[train], targets[train])
        for place, kind in enumerate((straight, mirrored)):
            guesses = (((kind[~train] - mean) / scale) @ weights).argmax(dim=1)
            right[place] += int((guesses == labels[~train]).sum())
    return right[0] / len(images), right[1] / len(images)


def random_patches(images: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """(count, C, k, k): patches from random places of random images, mean taken off, norm one."""
    side = min(PATCH_PX, images.shape[-1] - 3)
    which = torch.randint(len(images), (count,), generator=draw).tolist()
    places = torch.randint(images.shape[-1] - side + 1, (count, 2), generator=draw).tolist()
    patches = torch.stack([images[i, :, y : y + side, x : x + side] for i, (y, x) in zip(which, places, strict=True)])
    patches = patches - patches.mean(dim=(1, 2, 3), keepdim=True)
    norms: Tensor = patches.flatten(1).norm(dim=1)
    return patches / (norms[:, None, None, None] + 1e-3)


def features(images: Tensor, filters: Tensor) -> Tensor:
    """(N, count * 16)."""
    parts = [
        functional.adaptive_avg_pool2d(functional.relu(functional.conv2d(part, filters)), 4).flatten(1)
        for part in torch.split(images, 500)
    ]
    return torch.cat(parts)


def ridge(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, mean and scale of a ridge regression on standardised inputs."""
    mean, scale = inputs.mean(dim=0), inputs.std(dim=0) + 1e-3
    standard = ((inputs - mean) / scale).double()
    gram = standard.T @ standard + 0.1 * len(inputs) * torch.eye(standard.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram, standard.T @ targets.double()).float(), mean, scale

"""Does a mirror image keep its label? The data can tell.

A quick classifier is trained on images as they are and judged on held-out ones, as they are and mirrored. Where left and right
mean nothing (a cat) it does as well on the mirrored ones; where they mean something (a 3, an arrow) it does not. Colour
images, mostly photographs, are mirrored unless that is shown to do harm; grey ones, mostly glyphs, only where it is shown to do none.
"""

import os

import torch
from torch import Tensor
from torch.nn import functional

from hemony.datasets.parts import Part
from hemony.datasets.seeding import generator

SAMPLE = 4000  # images looked at
LARGEST_PX = 32  # at which they are looked at
FEATURES = 1024  # random features of the quick classifier
PATCH_PX = 5
TOLERATED_LOSS = 0.08  # share of the accuracy above chance that mirroring may cost


def mirror_test(part: Part, seed: int) -> tuple[bool, str]:
    """Whether to mirror the images of a part, and the sentence that says why."""
    chosen = torch.randperm(len(part), generator=generator(seed, "mirror test"))[:SAMPLE]
    images, labels = shrunk(part, chosen), part.labels[chosen]
    counts = torch.bincount(labels)
    straight, mirrored = held_out_answers(images, labels, seed)
    weights = 1 / counts[labels].double()
    weights /= weights.sum()  # every class counts alike: the largest must not decide alone
    present = int((counts > 0).sum())
    right, right_mirrored = float(weights @ straight.double()), float(weights @ mirrored.double())
    learned = right - 1 / present
    figures = f"a quick classifier gets {right:.0%} of held-out images right (mean over classes), {right_mirrored:.0%} when they are mirrored"
    coloured = part.view.shape[0] == 3
    if learned < 3 * standard_error(weights, straight.double()):
        return coloured, f"{figures}: it cannot tell, so colour images are mirrored and grey ones are not"
    lost = straight.double() - mirrored.double()  # paired: the same images, seen twice
    doubt = standard_error(weights, lost) * (-2 if coloured else 1)
    keeps = right - right_mirrored + doubt <= TOLERATED_LOSS * learned
    return keeps, f"{figures}: mirroring {'keeps' if keeps else 'may break'} the labels"


def shrunk(part: Part, chosen: Tensor) -> Tensor:
    """The chosen images, float (N, C, S, S) in 0 to 1, S at most LARGEST_PX, a few hundred at a time."""
    size = min(part.view.shape[-1], LARGEST_PX)
    threads = os.cpu_count() or 1
    batches = (part.batch(some, threads).float() / 255 for some in torch.split(chosen, 250))
    return torch.cat([functional.interpolate(images, (size, size), mode="bilinear", antialias=True) for images in batches])


def standard_error(weights: Tensor, values: Tensor) -> float:
    """Of the mean of `values` (N,) under `weights` (N,) that add up to 1."""
    return float((weights.square() * (values - weights @ values).square()).sum().sqrt())


def held_out_answers(images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Which held-out images (N, C, S, S) are answered right, as they are and mirrored, bool (N,) each.

    Two-fold, by ridge regression on random features: patches of the images, used as filters, rectified and pooled over a 4 x 4
    grid (Coates and Ng 2012).
    """
    draw = generator(seed, "random features")
    images = images - images.mean(dim=(1, 2, 3), keepdim=True)
    filters = random_patches(images, FEATURES // 16, draw)
    straight, mirrored = features(images, filters), features(images.flip(-1), filters)
    targets = functional.one_hot(labels).float() * 2 - 1
    right = torch.zeros((2, len(images)), dtype=torch.bool)
    even = torch.arange(len(images)) % 2 == 0
    for train in (even, ~even):
        weights, mean, scale = ridge(straight[train], targets[train])
        for place, kind in enumerate((straight, mirrored)):
            guesses = (((kind[~train] - mean) / scale) @ weights).argmax(dim=1)
            right[place, ~train] = guesses == labels[~train]
    return right[0], right[1]


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

"""Networks by name, and the recogniser that wraps one: raw bytes in, logits out."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from hemony.config import FastCNNConfig, LeNet5Config, ModelConfig, TorchvisionConfig
from hemony.errors import UsageError
from hemony.preprocessing import ImagePreprocessing, Normalise


def _fast_cnn(config: FastCNNConfig, channels: int, classes: int, size_px: int) -> nn.Module:
    from hemony.models.fast_cnn import FastCNN

    return FastCNN(channels, classes, size_px, config.width, config.depth)


def _lenet5(config: LeNet5Config, channels: int, classes: int, size_px: int) -> nn.Module:
    from hemony.models.lenet5 import LeNet5

    return LeNet5(channels, classes, config.connections)


def _torchvision(config: TorchvisionConfig, channels: int, classes: int, size_px: int) -> nn.Module:
    from hemony.models.torchvision import TorchvisionClassifier

    return TorchvisionClassifier(config.name, channels, classes, config.small_stem)


BUILDERS: dict[str, Callable[[Any, int, int, int], nn.Module]] = {
    "fast_cnn": _fast_cnn,
    "lenet5": _lenet5,
    "torchvision": _torchvision,
}


def build(config: ModelConfig, channels: int, classes: int, size_px: int) -> nn.Module:
    """A network with fresh weights: float (N, channels, size_px, size_px) to logits (N, classes)."""
    if config.kind not in BUILDERS:
        raise UsageError(f"model.kind={config.kind} cannot be built; expected one of: {', '.join(BUILDERS)}")
    return BUILDERS[config.kind](config, channels, classes, size_px)


class Recogniser(nn.Module):
    """Resized images, uint8 (N, C, S, S), to logits (N, classes): normalising included, so that nobody can forget it."""

    def __init__(self, network: nn.Module, preprocessing: ImagePreprocessing, flip_averaging: bool) -> None:
        super().__init__()
        self.normalise = Normalise(preprocessing.mean, preprocessing.std)
        self.network = network
        self.flip_averaging = flip_averaging

    def forward(self, images: Tensor) -> Tensor:
        """One look at each image. Values 0 to 255; float where an augmentation has made fractions."""
        logits: Tensor = self.network(self.normalise(images))
        return logits

    def predict(self, images: Tensor) -> Tensor:
        """What the recogniser stands by: the mean of the logits for an image and its mirror image, where it was trained so."""
        logits: Tensor = self(images)
        if self.flip_averaging:
            logits = (logits + self(images.flip(-1))) / 2
        return logits

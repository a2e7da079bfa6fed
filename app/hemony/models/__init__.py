"""Networks by name, and the recogniser that wraps one: raw bytes in, logits out."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from hemony.config import FastCNNConfig, LeNet5Config, ModelConfig, SpectrogramConfig, TorchvisionConfig
from hemony.errors import UsageError
from hemony.preprocessing import AudioView, FullScale, ImagePreprocessing, ImageView, Normalise, View

Builder = Callable[[Any, Any, int], nn.Module]  # the model's config, the view, the number of classes


def _fast_cnn(config: FastCNNConfig, view: ImageView, classes: int) -> nn.Module:
    from hemony.models.fast_cnn import FastCNN

    return FastCNN(view.channels, classes, view.size_px, config.width, config.depth)


def _lenet5(config: LeNet5Config, view: ImageView, classes: int) -> nn.Module:
    from hemony.models.lenet5 import LeNet5

    return LeNet5(view.channels, classes, config.connections)


def _torchvision(config: TorchvisionConfig, view: ImageView, classes: int) -> nn.Module:
    from hemony.models.torchvision import TorchvisionClassifier

    return TorchvisionClassifier(config.name, view.channels, classes, config.small_stem)


def _spectrogram(config: SpectrogramConfig, view: AudioView, classes: int) -> nn.Module:
    from hemony.models.spectrogram import SpectrogramCNN, SpectrogramEnsemble

    members = [SpectrogramCNN(view.sample_rate_hz, classes, config) for _ in range(config.members)]
    return members[0] if len(members) == 1 else SpectrogramEnsemble(members)


BUILDERS: dict[type[View], dict[str, Builder]] = {
    ImageView: {"fast_cnn": _fast_cnn, "lenet5": _lenet5, "torchvision": _torchvision},
    AudioView: {"spectrogram": _spectrogram},
}


def build(config: ModelConfig, view: View, classes: int) -> nn.Module:
    """A network with fresh weights for what the view sees, as float (N, *view.shape), to logits (N, classes)."""
    builders = next(builders for kind, builders in BUILDERS.items() if isinstance(view, kind))
    if config.kind not in builders:
        raise UsageError(f"model.kind={config.kind} does not take such data; expected one of: {', '.join(builders)}")
    return builders[config.kind](config, view, classes)


class Recogniser(nn.Module):
    """What a view sees to logits (N, classes): scaling the numbers of the file included, so that nobody can forget it."""

    def __init__(self, network: nn.Module, preprocessing: View, flip_averaging: bool = False) -> None:
        super().__init__()
        self.normalise: nn.Module = FullScale()
        if isinstance(preprocessing, ImagePreprocessing):
            self.normalise = Normalise(preprocessing.mean, preprocessing.std)
        self.network = network
        self.flip_averaging = flip_averaging

    def forward(self, inputs: Tensor) -> Tensor:
        """One look at each input, in the numbers of the file; float where an augmentation has made fractions."""
        logits: Tensor = self.network(self.normalise(inputs))
        return logits

    def predict(self, inputs: Tensor) -> Tensor:
        """What the recogniser stands by: the mean of the logits for an image and its mirror image, where it was trained so."""
        logits: Tensor = self(inputs)
        if self.flip_averaging:
            logits = (logits + self(inputs.flip(-1))) / 2
        return logits

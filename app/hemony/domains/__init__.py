"""What differs between images and recordings; everything else about a training is the same for both."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hemony.config import AudioDataConfig, DataConfig, TrainConfig
from hemony.datasets.collection import Collection, check_unreadable, skipped
from hemony.datasets.parts import Data
from hemony.datasets.resident import Augmentation
from hemony.models import Recogniser
from hemony.preprocessing import View
from hemony.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """A recogniser before its first step."""

    recogniser: Recogniser
    preprocessing: View
    measuring_s: float  # of measuring on the training data what its first layer needs


class Domain(ABC):
    """One kind of data, from finding it to showing it."""

    @abstractmethod
    def collection(self, config: Any) -> Collection:
        """What a config names, before anything is decoded."""

    @abstractmethod
    def choose_view(self, recipe: Recipe, collection: Any) -> View:
        """How the network will see it."""

    def seen(self, collection: Any, view: Any) -> Collection:
        """The collection as examples of the view's size."""
        found: Collection = collection
        return found

    @abstractmethod
    def choose_training(self, recipe: Recipe, data: Data) -> None:
        """Model, optimiser, epochs and augmentation, from the decoded data."""

    @abstractmethod
    def start(self, config: TrainConfig, data: Data) -> Start:
        """The network with its starting weights, drawn by the seed."""

    @abstractmethod
    def augmentation(self, config: TrainConfig, data: Data, start: Start) -> Augmentation: ...

    @abstractmethod
    def exhibit(self, example: Tensor, view: Any, caption: str) -> str:
        """One example as HTML for a report."""


def of(config: DataConfig) -> Domain:
    """The domain of a data set's config."""
    if isinstance(config, AudioDataConfig):
        from hemony.domains.sounds import Sounds

        return Sounds()
    from hemony.domains.images import Images

    return Images()


def find(config: DataConfig) -> Collection:
    """The collection that a config names. Raises InputError where too few of its files can be read."""
    collection = of(config).collection(config)
    total = len(collection) + len(collection.unreadable)
    check_unreadable(collection.unreadable, total, collection.root, config.max_unreadable_share)
    collection.notes += skipped(collection.unreadable, total)
    return collection

"""What a domain has to say."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hemony.config import TrainConfig
from hemony.datasets.collection import Collection
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

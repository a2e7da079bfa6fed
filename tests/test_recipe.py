"""What is chosen from the data, and that what the user sets is never changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hemony import domains, recipe
from hemony.config import (
    Accelerator,
    AudioFolderConfig,
    AutoConfig,
    FastCNNConfig,
    Fit,
    Flip,
    ImageAugmentConfig,
    ImageDataConfig,
    ImageFolderConfig,
    ModelConfig,
    OptimizerConfig,
    OptimizerName,
    SpectrogramConfig,
    TorchvisionConfig,
    TrainConfig,
    TrainerConfig,
)
from hemony.datasets.collection import UNASSIGNED, ImageCollection
from hemony.datasets.parts import build
from hemony.domains.images import choose_training, choose_view, colour_share
from hemony.errors import UsageError
from hemony.preprocessing import ImageView


def collection_of(sizes: list[tuple[int, int]], coloured: float) -> ImageCollection:
    count = len(sizes)
    return ImageCollection(
        class_names=["a", "b"],
        names=[str(index) for index in range(count)],
        labels=np.arange(count) % 2,
        digests=np.arange(count, dtype=np.uint64),
        given=np.full(count, UNASSIGNED),
        sizes=np.array(sizes),
        colour=np.arange(count) < coloured * count,
        read=lambda index, channels, least_size_px: np.full((1, 1, channels), (200, 0, 0)[:channels], dtype=np.uint8),
    )


def view(sizes: list[tuple[int, int]], coloured: float = 1.0, model: ModelConfig | None = None) -> ImageView:
    plan = recipe.completed(TrainConfig(data=ImageDataConfig(), model=model or AutoConfig()))
    return choose_view(plan, collection_of(sizes, coloured))


PHOTOGRAPHS = [(480, 640), (640, 480), (500, 500), (300, 900)]


@pytest.mark.parametrize(
    ("sizes", "coloured", "model", "expected"),
    [
        ([(28, 28)] * 10, 0.0, None, ImageView(1, 28, Fit.stretch)),
        ([(32, 32)] * 10, 1.0, None, ImageView(3, 32, Fit.stretch)),
        ([(28, 28)] * 20, 0.1, None, ImageView(3, 28, Fit.stretch)),  # a few colour images make a colour set
        ([(10, 40), (40, 10), (20, 20)], 0.0, None, ImageView(1, 40, Fit.pad)),
        ([(4, 5)] * 3, 1.0, None, ImageView(3, 8, Fit.stretch)),
        (PHOTOGRAPHS, 1.0, None, ImageView(3, 64, Fit.crop)),
        (PHOTOGRAPHS, 1.0, TorchvisionConfig(), ImageView(3, 128, Fit.crop)),
        (PHOTOGRAPHS, 1.0, TorchvisionConfig(weights="DEFAULT"), ImageView(3, 224, Fit.crop)),
        ([(32, 32)] * 3, 1.0, TorchvisionConfig(weights="DEFAULT"), ImageView(3, 112, Fit.stretch)),
        ([(32, 32)] * 3, 1.0, TorchvisionConfig(), ImageView(3, 32, Fit.stretch)),
    ],
)
def test_colour_size_and_fit_follow_the_images(
    sizes: list[tuple[int, int]], coloured: float, model: ModelConfig | None, expected: ImageView
) -> None:
    assert view(sizes, coloured, model) == expected


def test_epochs_fall_with_the_size_of_the_set_and_stay_bearable() -> None:
    counts = (50, 200, 1_000, 5_000, 20_000, 60_000, 1_000_000)
    epochs = [recipe.chosen_epochs(count, max(1, count // 128), 1e6) for count in counts]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] <= 300
    assert epochs[-1] == 12
    assert recipe.chosen_epochs(1_000, 8, 50.0) == 50
    assert recipe.chosen_epochs(1_000, 8, 0.1) == 12


def test_a_costly_network_gets_fewer_epochs() -> None:
    small = recipe.forward_flop(FastCNNConfig(width=0.5), ImageView(3, 32, Fit.stretch), 10)
    large = recipe.forward_flop(FastCNNConfig(width=1.0), ImageView(3, 32, Fit.stretch), 10)
    assert 2e7 < small < large < 1e9
    assert 2.5 < large / small < 4  # the products of channels grow as the square of the width, the first layer's do not
    epochs = [recipe.patient_epochs(flop * 5_000, Accelerator.cpu) for flop in (small, large)]
    assert epochs[0] / epochs[1] == pytest.approx(large / small)


def test_grey_pictures_stored_in_colour_are_grey() -> None:
    collection = collection_of([(20, 20)] * 30, 1.0)
    assert colour_share(collection) == 1.0
    collection.read = lambda index, channels, least_size_px: np.full((4, 4, channels), 99, dtype=np.uint8)
    assert colour_share(collection) == 0.0
    collection.read = lambda index, channels, least_size_px: np.full(
        (4, 4, channels), (90, 0, 0) if index < 15 else (9, 9, 9), dtype=np.uint8
    )
    assert colour_share(collection) == 0.5
    lamp = np.full((100, 100, 3), 80, dtype=np.uint8)
    lamp[:5, :8] = (250, 20, 20)
    collection.read = lambda index, channels, least_size_px: lamp
    assert colour_share(collection) == 1.0


def test_everything_is_chosen_and_said_and_nothing_set_is_changed(shapes_folder: Callable[..., Path]) -> None:
    given = TrainConfig(
        data=ImageFolderConfig(root=str(shapes_folder(each=30)), augment=ImageAugmentConfig(flip=Flip.none, cutout_px=3)),
        model=AutoConfig(),
        optimizer=OptimizerConfig(name=OptimizerName.sgd, weight_decay=0.0),
        trainer=TrainerConfig(max_epochs=2, label_smoothing=0.0),
    )
    plan = recipe.completed(given)
    collection = domains.find(plan.config.data)
    chosen = choose_view(plan, collection)
    choose_training(plan, build(collection, plan.config.data, chosen))
    config = plan.config
    assert isinstance(config.model, FastCNNConfig)
    for node in (config.trainer, config.optimizer, config.data.augment):
        assert None not in vars(node).values(), node
    assert (config.trainer.max_epochs, config.trainer.label_smoothing) == (2, 0.0)
    assert (config.optimizer.name, config.optimizer.weight_decay) == (OptimizerName.sgd, 0.0)
    assert (config.data.augment.flip, config.data.augment.cutout_px) == (Flip.none, 3)
    assert config.flip_averaging is False  # training does not mirror
    assert isinstance(given.model, AutoConfig)
    assert given.optimizer.learning_rate is None
    said = "\n".join(plan.decisions)
    for word in ("model fast_cnn", "data.size_px 16", "batch_size", "learning_rate", "shift_px", "ema_decay"):
        assert word in said
    assert "cutout_px" not in said


def test_pretrained_weights_get_few_passes_and_a_gentle_rate(shapes_folder: Callable[..., Path]) -> None:
    given = TrainConfig(
        data=ImageFolderConfig(root=str(shapes_folder(each=30)), size_px=16, colour=True, fit=Fit.stretch),
        model=TorchvisionConfig(weights="DEFAULT"),
    )
    plan = recipe.completed(given)
    choose_training(plan, build(domains.find(given.data), given.data, ImageView(3, 16, Fit.stretch)))
    assert plan.config.trainer.max_epochs == 20
    assert plan.config.optimizer.name is OptimizerName.adamw
    assert plan.config.optimizer.learning_rate == 2e-4


def test_each_member_of_an_ensemble_gets_the_batches_and_the_epochs_of_one_network(tmp_path: Path) -> None:
    for number, label in enumerate("ab" * 20):
        (tmp_path / label).mkdir(exist_ok=True)
        soundfile.write(tmp_path / label / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 4000), 8000)

    def chosen(members: int, batch_size: int | None = None) -> TrainerConfig:
        given = TrainConfig(
            data=AudioFolderConfig(root=str(tmp_path)),
            model=SpectrogramConfig(members=members),
            trainer=TrainerConfig(batch_size=batch_size),
        )
        plan = recipe.completed(given)
        domain, collection = domains.of(given.data), domains.find(given.data)
        view = domain.choose_view(plan, collection)
        domain.choose_training(plan, build(domain.seen(collection, view), plan.config.data, view))
        return plan.config.trainer

    one, three = chosen(1), chosen(3)
    assert one.batch_size
    assert one.max_epochs
    assert three.batch_size == 3 * one.batch_size
    assert three.max_epochs
    assert three.max_epochs >= 2.5 * one.max_epochs
    with pytest.raises(UsageError, match=r"members=3.* a batch of 2 "):
        chosen(3, batch_size=2)

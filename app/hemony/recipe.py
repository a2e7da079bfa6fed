"""What the config leaves open, chosen from the data, and said in words.

Every choice is a rule of thumb with its reason beside it; what the user sets is never changed. Here are those that are the same for all
data, the others are in `hemony.domains`.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hemony import hardware, models
from hemony.config import Accelerator, ModelConfig, OptimizerName, TrainConfig
from hemony.datasets.parts import Data
from hemony.preprocessing import View

PATIENCE_FLOP = 7e14  # of a whole training: half an hour on two fast cores
PATIENCE_GPU_FLOP = 5e16  # less than that on a GPU of today
TRAINING_COST = 3.0  # a step forward and backward, in units of a look forward


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
            shown = ", ".join(f"{place}.{name} {getattr(value, 'name', value)}" for name, value in fresh.items())
            self.decisions.append(f"{shown}: {reason}")


def chosen_epochs(count: int, steps_an_epoch: int, most: float) -> int:
    """Epochs by training examples: small sets need more passes. At most `most` and 12,000 steps, but 12 in any case."""
    wanted = int(np.clip(round(1e6 / (count + 2500)), 12, 300))
    return max(12, min(wanted, int(most), 12_000 // steps_an_epoch))


def patient_epochs(flop: float, accelerator: Accelerator) -> float:
    """Epochs that fit into the patience for a processor or a GPU, where one look at every example costs `flop`."""
    on_gpu = hardware.pick_device(accelerator).type == "cuda"
    return (PATIENCE_GPU_FLOP if on_gpu else PATIENCE_FLOP) / (TRAINING_COST * max(flop, 1.0))


def forward_flop(model: ModelConfig, view: View, classes: int) -> float:
    """Floating-point operations of one example's way through the network."""
    network = models.build(model, view, classes).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, *view.shape))
    return float(counter.get_total_flops())


def choose_steps(recipe: Recipe, data: Data, members: int = 1) -> None:
    """Batch size, epochs, smoothing, averaging and validation, for a model that is chosen already.

    Of `members` networks each sees its share of every batch: batches and epochs are so many times as large.
    """
    config, count = recipe.config, len(data.train)
    batch = int(np.clip(2 ** round(np.log2(max(count, 16) / 24)), 16, 512)) * members
    recipe.choose("trainer", f"{count:,} training {data.noun}s", batch_size=batch)
    steps_an_epoch = max(1, count // (config.trainer.batch_size or batch))
    if config.trainer.max_epochs is None:
        flop = forward_flop(config.model, data.view, len(data.class_names)) * count
        most = patient_epochs(flop, config.trainer.accelerator)
        recipe.choose(
            "trainer",
            "enough passes to converge, few enough to wait for",
            max_epochs=chosen_epochs(count, steps_an_epoch, most) * members,
        )
    recipe.choose("trainer", "the network is small and the labels may err", label_smoothing=0.1)
    epochs = config.trainer.max_epochs or 1
    steps = epochs * steps_an_epoch // config.trainer.accumulate_batches
    recipe.choose("trainer", "the weights' average over about the last tenth", ema_decay=round(1 - 1 / max(steps / 20, 10), 4))
    recipe.choose("trainer", "about ten looks at the validation part", validate_every_epochs=max(1, epochs // 10))


def choose_optimizer(recipe: Recipe, suited: OptimizerName, reason: str, transfer: bool = False) -> None:
    """The optimiser that suits the model unless another is given, and the usual values for it."""
    recipe.choose("optimizer", reason, name=suited)
    name = recipe.config.optimizer.name or suited
    rates = {OptimizerName.muon: 0.12, OptimizerName.sgd: 0.1, OptimizerName.adamw: 2e-4 if transfer else 1e-3}
    decays = {OptimizerName.muon: 1e-3, OptimizerName.sgd: 5e-4, OptimizerName.adamw: 0.05}
    momenta = {OptimizerName.muon: 0.6, OptimizerName.sgd: 0.9, OptimizerName.adamw: 0.9}
    recipe.choose(
        "optimizer", f"usual for {name.name}", learning_rate=rates[name], weight_decay=decays[name], momentum=momenta[name]
    )


def completed(config: TrainConfig) -> Recipe:
    """A recipe over a copy of the config, so that what the user gave stays as it was."""
    data: Any = config.data  # images and recordings have an `augment` each
    return Recipe(
        dataclasses.replace(
            config,
            data=dataclasses.replace(data, augment=dataclasses.replace(data.augment)),
            model=dataclasses.replace(config.model),
            optimizer=dataclasses.replace(config.optimizer),
            trainer=dataclasses.replace(config.trainer),
        )
    )

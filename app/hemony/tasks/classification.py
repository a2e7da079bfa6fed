"""Training a recogniser, of images or of sound: the step, the optimiser, the schedule, the average of the weights."""

import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from hemony.config import Schedule, TrainConfig
from hemony.datasets.seeding import derived_seed
from hemony.errors import HemonyError
from hemony.models import Recogniser
from hemony.optimizers import build_optimizer
from hemony.rules import Rule


class NonFiniteLoss(HemonyError):
    """The loss is NaN or infinite; nothing was updated by it."""


class Classifier(lightning.LightningModule):
    """One LightningModule for classification, whatever the input and whatever the learning rule.

    A batch is (inputs, targets, step). Everything random in a step follows from (seed, step), so that a resumed run draws what the
    uninterrupted one would have drawn. `steps` is the number of optimiser steps of the whole training. `pretrained` parameters
    rest for the first `frozen_batches`, while the new head finds its place.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        rule: Rule,
        config: TrainConfig,
        steps: int,
        pretrained: list[nn.Parameter] | None = None,
        frozen_batches: int = 0,
    ) -> None:
        super().__init__()
        self.recogniser = recogniser
        self.rule = rule
        self.config = config
        self.steps = steps
        self.pretrained = pretrained or []
        self.frozen_batches = frozen_batches
        decay = config.trainer.ema_decay or 0.0
        self.averaged = AveragedModel(recogniser, multi_avg_fn=averaging(decay), use_buffers=True) if decay else None
        self.loss = torch.zeros(())  # of the last batch
        self._validated: list[tuple[Tensor, Tensor, int]] = []

    @property
    def best(self) -> Recogniser:
        """The recogniser to keep: the averaged one where there is one."""
        if self.averaged is None:
            return self.recogniser
        averaged = self.averaged.module
        assert isinstance(averaged, Recogniser)
        return averaged

    def training_step(self, batch: tuple[Tensor, Tensor, int], batch_index: int) -> Tensor:
        inputs, targets, step = batch
        for parameter in self.pretrained:
            parameter.requires_grad_(step >= self.frozen_batches)
        torch.manual_seed(derived_seed(self.config.seed, "step", step))  # dropout, stochastic depth
        logits = self.rule.forward(self.recogniser, inputs)
        smoothing = self.config.trainer.label_smoothing or 0.0
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        if not math.isfinite(loss.item()):
            raise NonFiniteLoss(
                f"the loss is {loss.item()} at step {step}: training stopped before the update, the states saved before it are kept. "
                f"Try a lower optimizer.learning_rate, trainer.gradient_clip_norm=1 or trainer.precision=fp32"
            )
        self.loss = loss.detach()
        if self.config.trainer.tensorboard:
            self.log_dict({"train_loss": self.loss, "learning_rate": self.trainer.optimizers[0].param_groups[0]["lr"]})
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        self.rule.backward(loss)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The step, and right after it the average: whoever saves a state finds both of the same age."""
        super().optimizer_step(*args, **kwargs)
        if self.averaged is not None:
            self.averaged.update_parameters(self.recogniser)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        inputs, labels = batch
        logits = self.best.predict(inputs).float()
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        self._validated.append((loss, (logits.argmax(dim=1) == labels).sum(), len(labels)))

    def on_validation_epoch_end(self) -> None:
        losses, right, counts = zip(*self._validated, strict=True)
        total = sum(counts)
        self._validated.clear()
        self.log_dict({"val_loss": float(sum(losses)) / total, "val_accuracy": float(sum(right)) / total})

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.recogniser.network, self.config.optimizer, self.pretrained)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_share(self.config, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """The update of an exponential moving average: its memory grows with the steps taken, up to 1 / (1 - decay) of them."""

    @torch.no_grad()
    def update(averages: Any, currents: Any, taken: Any) -> None:
        if not averages[0].is_floating_point():  # tensors come grouped by type: these are the counters of batch norm
            torch._foreach_copy_(averages, currents)
            return
        share = 1 - min(decay, (1 + int(taken)) / (10 + int(taken)))
        torch._foreach_lerp_(averages, currents, share)

    return update


def learning_rate_share(config: TrainConfig, steps: int) -> Callable[[int], float]:
    """The share of the top learning rate at a step: a warm-up line, then the schedule down to `final_share`."""
    optimizer = config.optimizer
    warmup = round(optimizer.warmup_share * steps)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if optimizer.schedule is Schedule.constant:
            return 1.0
        done = min((step - warmup) / max(steps - warmup, 1), 1.0)
        falling = 1 - done if optimizer.schedule is Schedule.linear else (1 + math.cos(math.pi * done)) / 2
        return optimizer.final_share + (1 - optimizer.final_share) * falling

    return share

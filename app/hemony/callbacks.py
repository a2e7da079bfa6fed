"""What happens beside the training step: saving, stopping, telling how far it is."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.fabric.plugins.io import CheckpointIO

from hemony import durable, hardware
from hemony.errors import InputError, Terminated


class StopRequest:
    """SIGTERM and SIGINT, turned into an orderly end.

    While `deferred`, a signal only asks: the training saves and stops between two steps. Otherwise it raises Terminated where the
    program stands. A second signal ends the process at once.
    """

    def __init__(self, run: Path) -> None:
        self.run = run  # the folder of the training states
        self.signal: int | None = None
        self._deferring = False
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> "StopRequest":
        self._before = self.listen()
        return self

    def listen(self) -> dict[int, Callable[[int, FrameType | None], Any] | int | None]:
        """Handle the signals from now on; the handlers that did so before are returned."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}

    @property
    def rest(self) -> str:
        """What becomes of the work."""
        if durable.states(self.run):
            return f"`hemony train resume={self.run.parent}` goes on with what is saved"
        return "nothing had been saved yet"

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self.signal is not None:  # it came after the last step
            raise Terminated(self.signal, self.rest)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        if not self._deferring:
            raise Terminated(number, self.rest)


class StateIO(CheckpointIO):
    """Lightning's training state as durable files in the run folder; the path that Lightning names is not used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        durable.save_state(self.folder, checkpoint["global_step"], checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> dict[str, Any]:
        state = durable.load_state(self.folder)
        if not isinstance(state, dict):
            raise InputError(f"none of the states in {self.folder} is whole: begin the run again")
        return state

    def remove_checkpoint(self, path: Any) -> None:
        """The previous states are removed when a new one has been written."""


class History(lightning.Callback):
    """A row for every epoch: epoch, step, train_loss, learning_rate, elapsed_s, and val_loss and val_accuracy where validated.

    Its state is part of the training state, so that the curves of a resumed run have no gap. `before_s` is time that belongs to the
    training although it passed before its first step.
    """

    def __init__(self, epoch_batches: int, before_s: float = 0.0) -> None:
        self.epoch_batches = epoch_batches
        self.rows: list[dict[str, float]] = []
        self._losses: list[Any] = []
        self._before_s = before_s  # also of training in earlier processes
        self._started_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return self._before_s + time.monotonic() - self._started_s

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "losses": [float(loss) for loss in self._losses], "elapsed_s": self.elapsed_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]
        self._losses = list(state_dict["losses"])
        self._before_s = state_dict["elapsed_s"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started_s = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._losses.append(pl_module.loss)
        epoch, inside = divmod(int(batch[2]) + 1, self.epoch_batches)
        if not inside:
            mean = sum(float(loss) for loss in self._losses) / len(self._losses)
            self._losses.clear()
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {"epoch": epoch, "step": trainer.global_step, "train_loss": mean, "learning_rate": rate}
            self.rows.append({**row, "elapsed_s": round(self.elapsed_s, 3)})

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.rows:
            validated = {key: float(trainer.callback_metrics[key]) for key in ("val_loss", "val_accuracy")}
            self.rows[-1].update(validated)


class Saver(lightning.Callback):
    """Saves the state after an optimiser step: when `every_s` seconds have passed, when a stop is asked for, and after the last."""

    def __init__(self, every_s: float, folder: Path, stop: StopRequest, validate_every_batches: int) -> None:
        self.validate_every_batches = validate_every_batches  # 0: never
        self.every_s = every_s
        self.folder = folder
        self.stop = stop
        self._saved_s = time.monotonic()
        self._step = 0
        self._stepped = False  # whether the last batch ended with an optimiser step

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._step = trainer.global_step
        self.stop.listen()  # Lightning has put a handler of its own before ours, which ends the process with 0 and saves nothing

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._stepped = trainer.global_step != self._step
        self._step = trainer.global_step
        if not self.validate_every_batches or (batch_idx + 1) % self.validate_every_batches:
            self._save_if_due(trainer, batch_idx + 1 == trainer.num_training_batches)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Here instead of before it, so that a resumed run does not miss what was measured."""
        batches = trainer.fit_loop.total_batch_idx + 1
        self._save_if_due(trainer, trainer.should_stop or batches == trainer.num_training_batches)

    def _save_if_due(self, trainer: lightning.Trainer, last: bool) -> None:
        if not self._stepped:
            return  # in the middle of an accumulation: half a gradient cannot be saved
        signal_number = self.stop.signal
        if signal_number is None and not last and time.monotonic() - self._saved_s < self.every_s:
            return
        saved = self._save(trainer)
        self._saved_s = time.monotonic()
        if signal_number is not None:
            raise Terminated(
                signal_number, f"{'the state is saved' if saved else 'the state could not be saved'}; {self.stop.rest}"
            )

    def _save(self, trainer: lightning.Trainer) -> bool:
        try:
            trainer.save_checkpoint(self.folder / "state")
        except OSError as error:  # a full disk: what was saved before is still there, and training can go on
            hardware.log(f"warning: the state at step {self._step} was not saved: {error.strerror}; the one before it is kept")
            return False
        return True


class EarlyStopping(lightning.Callback):
    """Ends a training whose validation loss has not fallen for `patience_epochs`, and keeps the weights of its best moment."""

    def __init__(self, patience_epochs: int, epoch_batches: int) -> None:
        self.patience_epochs = patience_epochs
        self.epoch_batches = epoch_batches
        self.best_loss = math.inf
        self.best_epoch = 0
        self.best_weights: dict[str, Any] = {}
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best_loss", "best_epoch", "best_weights", "stopped")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = self.stopped  # a run may be resumed that had stopped already

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        epoch = (trainer.fit_loop.total_batch_idx + 1) // self.epoch_batches
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            self.best_weights = {key: value.detach().cpu().clone() for key, value in pl_module.best.state_dict().items()}
        elif epoch - self.best_epoch >= self.patience_epochs:
            self.stopped = trainer.should_stop = True

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if self.best_weights:
            pl_module.best.load_state_dict(self.best_weights)
            hardware.log(f"the weights of epoch {self.best_epoch} are kept, with the least validation loss, {self.best_loss:.4f}")


class Progress(lightning.Callback):
    """How far the training is: a line that moves on a terminal, plain lines in a log."""

    LOG_EVERY_S = 10.0

    def __init__(self, history: History, epochs: int) -> None:
        self.history = history
        self.epoch_batches = history.epoch_batches
        self.epochs = epochs
        self.terminal = sys.stderr.isatty()
        self._said_s = time.monotonic()
        self._told = 0
        self._length = 0

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        epoch, inside = divmod(int(batch[2]) + 1, self.epoch_batches)
        last = epoch == self.epochs and not inside
        waited = time.monotonic() - self._said_s
        if self.terminal and (last or waited > 0.2):
            share = (epoch * self.epoch_batches + inside) / (self.epochs * self.epoch_batches)
            bar = "━" * round(30 * share)
            line = f"epoch {min(epoch + 1, self.epochs)}/{self.epochs} {bar:<30} {share:4.0%}  {self._figures()}"
            sys.stderr.write("\r" + line.ljust(self._length) + ("\n" if last else ""))
            sys.stderr.flush()
            self._length = len(line)
            self._said_s = time.monotonic()
        elif not self.terminal and not inside and epoch > self._told and (last or waited > self.LOG_EVERY_S):
            hardware.log(f"epoch {epoch}/{self.epochs}  {self._figures()}")
            self._told = epoch
            self._said_s = time.monotonic()

    def _figures(self) -> str:
        rows = self.history.rows[-1:]
        validated = [row for row in self.history.rows if "val_accuracy" in row][-1:]
        parts = [f"train loss {row['train_loss']:.4f}" for row in rows]
        parts += [f"validation accuracy {row['val_accuracy']:.4f}" for row in validated]
        parts += [f"{row['elapsed_s']:.0f} s" for row in rows]
        parts += [
            f"at least {remaining(row['elapsed_s'], row['epoch'], self.epochs)} left" for row in rows if row["epoch"] < self.epochs
        ]
        return "  ".join(parts)


def remaining(elapsed_s: float, epochs: float, of: int) -> str:
    """The time of the other epochs if they are like those before, which may have had smaller images: `40 s`, `12 min`, `2.5 h`."""
    left_s = elapsed_s * (of - epochs) / epochs
    if left_s < 90:
        return f"{left_s:.0f} s"
    return f"{left_s / 60:.0f} min" if left_s < 90 * 60 else f"{left_s / 3600:.1f} h"

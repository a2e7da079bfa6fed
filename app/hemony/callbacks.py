"""What happens beside the training step: saving, stopping, telling how far it is."""

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
from hemony.errors import Terminated


class StopRequest:
    """SIGTERM and SIGINT, turned into an orderly end.

    While `deferred`, a signal only asks: the training saves and stops between two steps. Otherwise it raises Terminated where the
    program stands. A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._deferring = False
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        return self

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

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        if not self._deferring:
            raise Terminated.by(number, "nothing was lost")


class StateIO(CheckpointIO):
    """Lightning's training state as durable files in the run folder; the path that Lightning names is not used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        durable.save_state(self.folder, checkpoint["global_step"], checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> dict[str, Any]:
        state = durable.load_state(self.folder)
        assert isinstance(state, dict)
        return state

    def remove_checkpoint(self, path: Any) -> None:
        """The previous states are removed when a new one has been written."""


class Saver(lightning.Callback):
    """Saves the state every `every_s` seconds, after an optimiser step, and when a stop is asked for."""

    def __init__(self, every_s: float, folder: Path, stop: StopRequest) -> None:
        self.every_s = every_s
        self.folder = folder
        self.stop = stop
        self._saved_s = time.monotonic()
        self._step = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self._step:
            return  # in the middle of an accumulation: half a gradient cannot be saved
        self._step = trainer.global_step
        if self.stop.signal is not None:
            trainer.save_checkpoint(self.folder / "state")
            raise Terminated.by(self.stop.signal, f"the state is saved; `hemony train resume={self.folder.parent}` goes on with it")
        if time.monotonic() - self._saved_s >= self.every_s:
            try:
                trainer.save_checkpoint(self.folder / "state")
            except OSError as error:  # a full disk: what was saved before is still there, and training can go on
                hardware.log(f"warning: the state at step {self._step} was not saved: {error.strerror}; the one before it is kept")
            self._saved_s = time.monotonic()


class Progress(lightning.Callback):
    """How far the training is: a line that moves on a terminal, plain lines in a log."""

    LOG_EVERY_S = 10.0

    def __init__(self, epoch_batches: int, epochs: int) -> None:
        self.epoch_batches = epoch_batches
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
            line = f"epoch {min(epoch + 1, self.epochs)}/{self.epochs} {bar:<30} {share:4.0%}  {self._figures(pl_module)}"
            sys.stderr.write("\r" + line.ljust(self._length) + ("\n" if last else ""))
            sys.stderr.flush()
            self._length = len(line)
            self._said_s = time.monotonic()
        elif not self.terminal and not inside and epoch > self._told and (last or waited > self.LOG_EVERY_S):
            hardware.log(f"epoch {epoch}/{self.epochs}  {self._figures(pl_module)}")
            self._told = epoch
            self._said_s = time.monotonic()

    @staticmethod
    def _figures(module: Any) -> str:
        rows = module.history[-1:]
        validated = [row for row in module.history if "val_accuracy" in row][-1:]
        parts = [f"train loss {row['train_loss']:.4f}" for row in rows]
        parts += [f"validation accuracy {row['val_accuracy']:.4f}" for row in validated]
        parts += [f"{row['elapsed_s']:.0f} s" for row in rows]
        return "  ".join(parts)

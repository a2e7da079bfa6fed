"""Files in, rows out: images and short clips in batches, long recordings as events or windows, in the order of the files."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hemony import hardware
from hemony.bundle import Bundle
from hemony.config import Accelerator, Precision
from hemony.decision import Decision, answers
from hemony.errors import InputError
from hemony.inference import predict_logits
from hemony.preprocessing import AudioView, View
from hemony.reading import Item, Long

Row = dict[str, Any]

EVENT_THRESHOLD = 0.5  # of long ones: they hold much that is none of the labels


class Detail(Enum):
    """What becomes of the windows of a recording."""

    auto = "auto"  # one row where it is short, events where it is not
    events = "events"
    windows = "windows"  # a row each


@dataclass(frozen=True)
class Settings:
    """What the user asks for."""

    device: str = "auto"
    batch_size: int = 256
    top: int = 5
    detail: Detail = Detail.auto
    hop_s: float | None = None
    thresholds: dict[str, float] | None = None  # by label; below it an answer is `unknown`
    threshold: float | None = None  # of the other labels


@dataclass(frozen=True)
class Content:
    """A decoded file: its pieces (k, *view.shape), k being 1 but for recordings, and for those how long they are."""

    pieces: Tensor
    duration_s: float | None = None


Judged = tuple[Path, Content | Long | str]  # or the line that says what is wrong with the file


class Labeller:
    """A bundle at work."""

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self.bundle = bundle
        self.settings = settings
        self.device = hardware.pick_device(Accelerator[settings.device])
        self.bf16 = hardware.use_bf16(Precision.auto, self.device)

    def batches(self, items: Iterable[Item]) -> Iterator[list[Judged]]:
        """Decoded files, `batch_size` at a time."""
        judged = ((path, content_of(decoded, self.bundle.preprocessing)) for path, decoded in items)
        while batch := list(itertools.islice(judged, self.settings.batch_size)):
            yield batch

    def rows(self, batch: list[Judged]) -> Iterator[Row]:
        """The rows of a batch of files, in their order."""
        short = [content for _, content in batch if isinstance(content, Content)]
        found = answers(self.probabilities(short), self.decision(0.0), self.settings.top) if short else iter(())
        for path, content in batch:
            name = str(path)
            if isinstance(content, str):
                yield {"path": name, "error": content}
            elif isinstance(content, Content):
                span = {} if content.duration_s is None else {"start_s": 0.0, "end_s": round(content.duration_s, 6)}
                yield {"path": name, **span, **next(found)}
            else:
                try:
                    yield from ({"path": name, **row} for row in self.listened(path))
                except InputError as error:
                    yield {"path": name, "error": str(error)}

    def probabilities(self, contents: list[Content]) -> Tensor:
        """(len(contents), classes), calibrated; pieces of a recording are averaged."""
        pieces = torch.cat([content.pieces for content in contents])
        counts = torch.tensor([len(content.pieces) for content in contents])
        logits = predict_logits(
            self.bundle.recogniser, torch.split(pieces, self.settings.batch_size), self.device, self.bf16
        ).double()
        owner = torch.repeat_interleave(torch.arange(len(contents)), counts)
        means = torch.zeros(len(contents), logits.shape[1], dtype=torch.float64).index_add_(0, owner, logits) / counts[:, None]
        return (means / self.bundle.temperature).softmax(dim=1)

    def decision(self, otherwise: float) -> Decision:
        """The user's thresholds; `otherwise` where none is given."""
        settings = self.settings
        return Decision(
            self.bundle.labels, settings.thresholds or {}, otherwise if settings.threshold is None else settings.threshold
        )

    def listened(self, path: Path) -> Iterator[Row]:
        """The rows of a recording of any length."""
        from hemony.media.audio import audio_blocks

        view = self.bundle.preprocessing
        assert isinstance(view, AudioView)
        yield from self.heard(audio_blocks(path, view.sample_rate_hz))

    def heard(self, blocks: Iterable[Any], at_once: bool = False) -> Iterator[Row]:
        """The rows of blocks of samples at the bundle's rate, as soon as they are known."""
        from hemony.recordings import Listener, events_of, windows_of

        listener = Listener(self.bundle, self.device, self.bf16, self.settings.hop_s, at_once)
        windows, rate_hz = windows_of(listener, blocks), listener.sample_rate_hz
        if self.settings.detail is Detail.windows:
            decide = self.decision(0.0)
            for window in windows:
                span = {"start_s": round(window.start / rate_hz, 6), "end_s": round(window.end / rate_hz, 6)}
                yield {**span, **next(answers(window.probabilities[None], decide, self.settings.top))}
            return
        for event in events_of(windows, self.decision(EVENT_THRESHOLD), listener.window, listener.hop, rate_hz):
            yield {**vars(event), "confidence": round(event.confidence, 6)}


def content_of(decoded: Any, view: View) -> Content | Long | str:
    """What was decoded, as the pieces that are judged for it."""
    if isinstance(decoded, Tensor):
        return Content(decoded[None])
    if isinstance(decoded, Long | str):
        return decoded
    assert isinstance(view, AudioView)
    samples = torch.from_numpy(decoded)
    return Content(view.pieces(samples), len(samples) / view.sample_rate_hz)

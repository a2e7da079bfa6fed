"""Long recordings and streams: windows of whole samples, answers for each, events that span many.

A recording of 24 hours and a microphone go the same way, in constant memory: samples come in blocks of any size, each frame of the
spectrogram is computed once, and the network answers for every window in a batch of fixed shape, so that a stream gets the very numbers
that the file of the same sound gets.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hemony.bundle import Bundle
from hemony.datasets.collection import Samples
from hemony.decision import Decision
from hemony.errors import UsageError
from hemony.inference import autocast
from hemony.media import FULL_SCALE
from hemony.models.spectrogram import SpectrogramCNN, SpectrogramEnsemble
from hemony.preprocessing import AudioView

BATCH = 8  # windows that the network answers for at a time


@dataclass(frozen=True)
class Heard:
    """The answer for one window."""

    start: int  # first sample
    end: int  # after its last sample, or the recording's
    probabilities: Tensor  # (classes,), calibrated


@dataclass(frozen=True)
class Event:
    """A stretch of a recording under one label."""

    start_s: float
    end_s: float
    label: str
    confidence: float  # mean over its windows


class Listener:
    """Feed it samples at the bundle's rate; it yields windows in order.

    Windows begin every `hop` samples, a whole number of spectrogram frames; the last one reaches the end of the recording. With
    `at_once` each is answered as soon as it has been heard, otherwise BATCH at a time.
    """

    def __init__(self, bundle: Bundle, device: torch.device, bf16: bool, hop_s: float | None = None, at_once: bool = False) -> None:
        network = bundle.recogniser.network
        if not isinstance(network, SpectrogramCNN | SpectrogramEnsemble):
            raise UsageError(f"{bundle.name} does not listen to recordings: it is a {bundle.model['kind']}")
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.temperature, self.device, self.bf16, self.at_once = bundle.temperature, device, bf16, at_once
        view = cast(AudioView, bundle.preprocessing)
        front = network.front
        self.sample_rate_hz = view.sample_rate_hz
        self.window_frames = max(1, view.clip_samples // front.hop)
        self.hop_frames = self.window_frames // 2 or 1
        if hop_s is not None:
            self.hop_frames = max(1, round(hop_s * view.sample_rate_hz / front.hop))
        if self.hop_frames > self.window_frames:
            raise UsageError(f"--hop {hop_s:g} leaves gaps: a window is {view.clip_s:g} s")
        self.window, self.hop = self.window_frames * front.hop, self.hop_frames * front.hop
        self.before = front.window // 2  # samples that a frame hears before its middle
        self.block = (self.hop_frames - 1) * front.hop + front.window  # samples that the frames of one hop hear
        self.samples = np.zeros(self.before, np.int16)  # from `before` before the next frame's middle on; at first silence
        self.heard = 0  # samples fed so far
        self.frames: list[Tensor] = []  # mel power (mels, hop_frames), hop by hop, of the windows that are not answered yet
        self.number = 0  # of the next window
        self.waiting: list[Tensor] = []  # windows (mels, window_frames) that are not answered yet

    def feed(self, samples: Samples) -> Iterator[Heard]:
        self.heard += len(samples)
        self.samples = np.concatenate((self.samples, samples))
        while len(self.samples) >= self.block:
            yield from self.hear(self.samples[: self.block])
            self.samples = self.samples[self.hop :]

    def finish(self) -> Iterator[Heard]:
        """The windows that the end of the recording cuts off, filled up with silence."""
        last = 1 + max(0, -(-(self.heard - self.window) // self.hop))  # windows in all
        while self.number + len(self.waiting) < last:
            yield from self.hear(np.pad(self.samples, (0, max(0, self.block - len(self.samples))))[: self.block])
            self.samples = self.samples[self.hop :]
        yield from self.answers()

    def hear(self, samples: Samples) -> Iterator[Heard]:
        """The frames of one more hop."""
        wave = torch.from_numpy(samples).to(self.device).float()[None] / FULL_SCALE
        front = self.network.front
        with torch.inference_mode():
            mel = front.mel_of_frames(wave)[0]
        self.frames.append(mel[:, : self.hop_frames])
        if len(self.frames) * self.hop_frames >= self.window_frames:
            self.waiting.append(torch.cat(self.frames, dim=1)[:, : self.window_frames])
            self.frames.pop(0)
            if self.at_once or (self.number + len(self.waiting)) % BATCH == 0:
                yield from self.answers()

    @torch.inference_mode()
    def answers(self) -> Iterator[Heard]:
        """What waits, each window at its own place in a batch of BATCH: its number's remainder."""
        if not self.waiting:
            return
        first = self.number % BATCH
        batch = torch.zeros((BATCH, *self.waiting[0].shape), device=self.device)
        batch[first : first + len(self.waiting)] = torch.stack(self.waiting)
        with autocast(self.device, self.bf16):
            logits = self.network.logits(batch)
        shares = (logits.double() / self.temperature).softmax(dim=1).cpu()
        for place in range(first, first + len(self.waiting)):
            start = self.number * self.hop
            self.number += 1
            yield Heard(start, min(start + self.window, self.heard), shares[place])
        self.waiting.clear()


def windows_of(listener: Listener, blocks: Iterable[Samples]) -> Iterator[Heard]:
    """All windows of a recording."""
    for block in blocks:
        yield from listener.feed(block)
    yield from listener.finish()


def events_of(windows: Iterable[Heard], decide: Decision, window: int, hop: int, sample_rate_hz: int) -> Iterator[Event]:
    """Neighbouring windows of one label as one event; unknown ones are none.

    Windows of `window` samples overlap: each speaks for the `hop` samples in its middle, the first and the last of a recording up to
    its ends.
    """
    label, start, end, confidences, last = Decision.UNKNOWN, 0.0, 0.0, list[float](), None
    edge = (window - hop) / 2

    def event() -> Iterator[Event]:
        if label != Decision.UNKNOWN:
            mean = sum(confidences) / len(confidences)
            yield Event(round(start / sample_rate_hz, 6), round(end / sample_rate_hz, 6), label, mean)

    for heard in windows:
        found, confidence = decide(heard.probabilities)
        begins = heard.start + edge if heard.start else 0.0
        if found != label:
            yield from event()
            label, start, confidences = found, begins, []
        confidences.append(confidence)
        end, last = heard.start + edge + hop, heard
    if last is not None:
        end = float(last.end)
    yield from event()

"""Sound that is still being made: raw samples from a pipe, or a microphone."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soxr

from hemony.errors import InputError, UsageError
from hemony.media.audio import LEAST_RATE_HZ, MOST_CHANNELS, MOST_RATE_HZ, Samples, as_int16, mixed

LOUDEST = 8.0  # times full scale, that a sample in float32 may be
READ_S = 0.01  # read at a time: what a row may be late by
BYTES = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "u8": 1}


@dataclass(frozen=True)
class RawFormat:
    """What raw samples do not say of themselves."""

    sample_rate_hz: int
    channels: int
    encoding: str  # a key of BYTES

    def __post_init__(self) -> None:
        if not LEAST_RATE_HZ <= self.sample_rate_hz <= MOST_RATE_HZ or not 1 <= self.channels <= MOST_CHANNELS:
            raise UsageError(
                f"--rate {self.sample_rate_hz} --channels {self.channels}: from {LEAST_RATE_HZ:,} to {MOST_RATE_HZ:,} Hz and 1 to "
                f"{MOST_CHANNELS} channels are read"
            )


def raw_blocks(stream: BinaryIO, form: RawFormat, sample_rate_hz: int) -> Iterator[Samples]:
    """Raw samples as mono int16 blocks at another rate, as soon as they are there. Raises InputError for a stream without any."""
    frame = BYTES[form.encoding] * form.channels
    wanted = max(1, round(READ_S * form.sample_rate_hz)) * frame
    resampler = None
    if form.sample_rate_hz != sample_rate_hz:
        resampler = soxr.ResampleStream(form.sample_rate_hz, sample_rate_hz, 1, dtype="float32", quality="HQ")
    rest, some = b"", False
    while True:
        read = stream.read1(wanted) if hasattr(stream, "read1") else stream.read(wanted)
        rest += read
        whole = len(rest) // frame * frame
        last = not read
        if whole or last:
            mono = mixed(values(rest[:whole], form).reshape(-1, form.channels)) if whole else np.zeros(0, np.float32)
            rest = rest[whole:]
            some |= whole > 0
            samples = resampler.resample_chunk(mono, last=last) if resampler else mono
            if len(samples):
                yield as_int16(samples)
        if last:
            break
    if not some:
        raise InputError("the stream ended before there was a sample in it")


def stdin() -> BinaryIO:
    """Raises InputError where there is none."""
    if sys.stdin is None:
        raise InputError("stdin is closed: a stream has to come from somewhere")
    return sys.stdin.buffer


def values(raw: bytes, form: RawFormat) -> npt.NDArray[np.float32]:
    """Interleaved samples in -1 to 1."""
    if form.encoding == "u8":
        return np.asarray(np.frombuffer(raw, np.uint8) / 128 - 1, dtype=np.float32)
    if form.encoding == "f32le":
        floats = np.frombuffer(raw, "<f4").astype(np.float32)
        if np.count_nonzero(~(np.abs(floats) <= LOUDEST)) > len(floats) / 2:
            raise InputError("most of what comes is no sound in float32: say by --encoding what it is")
        return np.clip(floats, -LOUDEST, LOUDEST)
    if form.encoding == "s24le":
        triples = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        padded = np.zeros((len(triples), 4), np.uint8)
        padded[:, 1:] = triples  # the high bytes of 32 bits
        return np.asarray(padded.view("<i4")[:, 0] / 2**31, dtype=np.float32)
    whole = np.frombuffer(raw, "<i2" if form.encoding == "s16le" else "<i4")
    return np.asarray(whole / float(2 ** (8 * BYTES[form.encoding] - 1)), dtype=np.float32)


def microphone_blocks(sample_rate_hz: int) -> Iterator[Samples]:
    """The default microphone, until the process is interrupted."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise UsageError(f"--microphone needs sounddevice and PortAudio ({error}): pip install sounddevice") from None
    size = max(1, round(READ_S * sample_rate_hz))
    try:
        with sounddevice.InputStream(samplerate=sample_rate_hz, channels=1, dtype="int16", blocksize=size) as device:
            while True:
                block, _ = device.read(size)
                yield block[:, 0].copy()
    except sounddevice.PortAudioError as error:
        raise InputError(f"the microphone cannot be read: {error}") from None

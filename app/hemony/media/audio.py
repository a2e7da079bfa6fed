"""Decoding audio files: in blocks, mixed to one channel, at the sample rate that is asked for.

Content decides, not the suffix. What cannot be decoded raises InputError with one line; nothing beyond a block is allocated on the word of a
header, so memory stays at a few blocks whatever a file claims and however long it is.
"""

import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from hemony import durable
from hemony.errors import InputError, UsageError, one_line
from hemony.media import FULL_SCALE
from hemony.media.files import check_file, find_files, open_regular, shown, what_it_is

Samples = npt.NDArray[np.int16]

AUDIO_SUFFIXES = frozenset(".wav .wave .w64 .rf64 .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf".split())
MOST_HELD_VALUES = 2**28  # of a recording that is held as it is: 1 GiB
MOST_WRITTEN = {"WAV": (1_000_000, 256), "FLAC": (655_350, 8), "OGG": (200_000, 255)}  # Hz and channels; libsndfile crashes beyond
WRITTEN = {".wav": ("WAV", "PCM_24"), ".flac": ("FLAC", "PCM_24"), ".ogg": ("OGG", "VORBIS")}
TAGS = ("title", "artist", "album", "tracknumber", "date", "genre", "copyright", "license", "comment")
LEAST_RATE_HZ, MOST_RATE_HZ = 1_000, 1_000_000
MOST_CHANNELS = 256
BLOCK_VALUES = 2**18  # values, over all channels, that are decoded at a time
LEAST_ROWS = 4096  # of a block, however little a header claims


class TooLong(InputError):
    """A recording that is not to be held in memory."""


@dataclass(frozen=True)
class AudioHeader:
    """What a file says of itself; `frames` is a claim until it has been read."""

    sample_rate_hz: int
    channels: int
    frames: int


def read_audio(path: Path, sample_rate_hz: int, most_s: float = 3600.0) -> Samples:
    """A whole recording, mono, int16 (samples,). Raises InputError, also for one of more than `most_s` seconds (TooLong)."""
    blocks, samples = [], 0
    for block in audio_blocks(path, sample_rate_hz):
        blocks.append(block)
        samples += len(block)
        if samples > most_s * sample_rate_hz:
            raise TooLong(f"{shown(path)}: longer than {most_s:,.0f} s, which is read whole only by windows")
    return np.concatenate(blocks)


@dataclass(frozen=True)
class Recording:
    """A recording as its file holds it."""

    waves: npt.NDArray[np.float32]  # (samples, channels), full scale 1
    sample_rate_hz: int
    floats: bool  # whether the file holds floats
    tags: dict[str, str]  # TAGS that it has
    repaired: int  # values that were no numbers, and are silence now


def read_recording(path: Path, most_s: float = 3600.0) -> Recording:
    """A whole recording; values that are not finite become silence. Raises InputError, also for one of more than `most_s` seconds."""
    name, blocks, frames, repaired = shown(path), [], 0, 0
    with opened(path) as (file, header):
        rows = max(LEAST_ROWS, BLOCK_VALUES // header.channels)
        while True:
            try:
                block = file.read(rows, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise InputError(f"{name}: damaged audio ({damage_of(error)})") from None
            if not len(block):
                break
            repaired += block.size - int(np.isfinite(block).sum())
            blocks.append(np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0))
            frames += len(block)
            if frames > most_s * header.sample_rate_hz or frames * header.channels > MOST_HELD_VALUES:
                raise InputError(
                    f"{name}: longer than {frames / header.sample_rate_hz:,.0f} s, which is too much at a time; cut it into pieces"
                )
        floats = file.subtype in ("FLOAT", "DOUBLE")
        tags = {name: getattr(file, name) for name in TAGS if getattr(file, name)}
    if not frames:
        raise InputError(f"{name}: no sound in it (0 samples)")
    return Recording(np.concatenate(blocks), header.sample_rate_hz, floats, tags, repaired)


def check_writable(path: Path, sample_rate_hz: int = 0, channels: int = 1) -> tuple[str, str]:
    """The format and subtype in which sound is written to `path`.

    Raises UsageError for a suffix that names none, a missing folder, and sound that such a file does not hold.
    """
    if path.suffix.lower() not in WRITTEN:
        raise UsageError(f"{shown(path)}: sound is written as one of {', '.join(WRITTEN)}")
    check_file(path)
    form, subtype = WRITTEN[path.suffix.lower()]
    most_hz, most_channels = MOST_WRITTEN[form]
    if sample_rate_hz > most_hz or channels > most_channels:
        raise UsageError(
            f"{shown(path)}: {form} holds at most {most_hz:,} Hz and {most_channels} channels, and this has {sample_rate_hz:,} and {channels}: write .wav"
        )
    return form, subtype


def write_audio(
    path: Path, waves: npt.NDArray[np.float32], sample_rate_hz: int, floats: bool = False, tags: Mapping[str, str] | None = None
) -> None:
    """Samples (T,) or (T, channels), full scale 1, as a file of the format that the suffix names, whole or not at all.

    `floats`: a WAV file holds them as they are; otherwise they have 24 bits, and what is louder than full scale is clipped.
    """
    channels = 1 if waves.ndim == 1 else waves.shape[1]
    form, subtype = check_writable(path, sample_rate_hz, channels)
    subtype = "FLOAT" if floats and form == "WAV" else subtype
    content = io.BytesIO()  # libsndfile does not report a full disk in a way that can be told from a bug
    with soundfile.SoundFile(content, "w", sample_rate_hz, channels, subtype, format=form) as file:
        for name, words in (tags or {}).items():
            setattr(file, name, words)
        for first in range(0, len(waves), BLOCK_VALUES):  # more than 2 million values at a time break libsndfile's stack in Vorbis
            file.write(waves[first : first + BLOCK_VALUES])
    durable.write_bytes(path, content.getbuffer())


def audio_blocks(path: Path, sample_rate_hz: int, start_s: float = 0.0, end_s: float | None = None) -> Iterator[Samples]:
    """A recording as blocks of mono int16 samples, resampled without a seam, from `start_s` to `end_s` of it.

    Channels are averaged; values that are not finite become silence; louder ones than full scale are clipped. A file that ends before
    its header says gives what is there. Raises InputError for one with nothing in it.
    """
    name, total = shown(path), 0
    with opened(path) as (file, header):
        resampler = None
        if header.sample_rate_hz != sample_rate_hz:
            resampler = soxr.ResampleStream(header.sample_rate_hz, sample_rate_hz, 1, dtype="float32", quality="HQ")
        for mono, last in decoded_blocks(file, header, name, start_s, end_s):
            samples = resampler.resample_chunk(mono, last=last) if resampler else mono
            if last and not total and not len(samples):
                samples = np.zeros(1, np.float32)  # less than a sample at the new rate
            total += len(samples)
            if len(samples):
                yield as_int16(samples)
    if not total:
        raise InputError(f"{name}: no sound in it (0 samples{f' from {start_s:g} s on' if start_s else ''})")


def decoded_blocks(
    file: soundfile.SoundFile, header: AudioHeader, name: str, start_s: float, end_s: float | None
) -> Iterator[tuple[npt.NDArray[np.float32], bool]]:
    """(mono block (frames,), whether it is the last)."""
    most_rows = max(1, BLOCK_VALUES // header.channels)
    rows = min(most_rows, max(header.frames + 1, LEAST_ROWS))  # a file that leaves room in it has ended, and is not read again
    skip = round(start_s * header.sample_rate_hz)
    left = None if end_s is None else round(end_s * header.sample_rate_hz) - skip
    if skip > most_rows:
        with contextlib.suppress(soundfile.LibsndfileError, RuntimeError):  # where nothing can be sought, what comes before is read
            skip -= file.seek(skip)
    buffer = np.empty((rows, header.channels), np.float32)
    waiting: npt.NDArray[np.float32] | None = None
    damage, done = "", 0
    while not damage and (left is None or left > 0) and not 0 < header.frames <= done < rows:
        buffer.fill(np.nan)
        try:
            block = file.read(out=buffer)
        except (soundfile.LibsndfileError, RuntimeError) as error:  # what was decoded up to the damage is kept
            damage = damage_of(error)
            block = buffer[: int(np.isnan(buffer).all(axis=1).argmax())]
        if not len(block):
            break
        done += len(block)
        if skip:
            dropped = min(skip, len(block))
            skip -= dropped
            block = block[dropped:]
        block = block if left is None else block[:left]
        if len(block):
            left = None if left is None else left - len(block)
            if waiting is not None:
                yield waiting, False
            waiting = mixed(block)
    if waiting is None and damage:
        raise InputError(f"{name}: damaged audio ({damage})")
    if waiting is not None:
        yield waiting, True


def mixed(block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(frames, channels) to their mean (frames,), with silence for what is not finite."""
    if not np.isfinite(block).all():
        block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
    mono: npt.NDArray[np.float32] = block[:, 0].copy() if block.shape[1] == 1 else block.mean(axis=1)
    return mono


def as_int16(samples: npt.NDArray[np.float32]) -> Samples:
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def as_float(samples: Samples) -> npt.NDArray[np.float32]:
    """Full scale 1."""
    floats: npt.NDArray[np.float32] = samples.astype(np.float32) / np.float32(FULL_SCALE)
    return floats


def probe_audio(path: Path) -> AudioHeader:
    """What the header says. Raises InputError for what `audio_blocks` would refuse by it."""
    with opened(path) as (_, header):
        return header


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[soundfile.SoundFile, AudioHeader]]:
    """A regular file whose header has been read and found reasonable."""
    name = shown(path)
    with open_regular(path) as stream:
        start = stream.read(512)
        os.lseek(stream.fileno(), 0, os.SEEK_SET)  # where libsndfile begins; `seek` would move our buffer alone
        try:
            file = soundfile.SoundFile(stream.fileno(), closefd=False)
        except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
            reason = f"not an audio file ({damage_of(error)})"
            raise InputError(f"{name}: {what_it_is(start, 'audio file', reason)}") from None
        with file:
            header = AudioHeader(file.samplerate, file.channels, file.frames)
            check_header(header, name)
            yield file, header


def check_header(header: AudioHeader, name: str) -> None:
    if not LEAST_RATE_HZ <= header.sample_rate_hz <= MOST_RATE_HZ:
        raise InputError(
            f"{name}: claims {header.sample_rate_hz:,} samples a second; from {LEAST_RATE_HZ:,} to {MOST_RATE_HZ:,} are read"
        )
    if not 1 <= header.channels <= MOST_CHANNELS:
        raise InputError(f"{name}: claims {header.channels} channels; from 1 to {MOST_CHANNELS} are read")


def damage_of(error: Exception) -> str:
    """What is wrong, in libsndfile's own words where it has some."""
    return getattr(error, "error_string", None) or one_line(error)


def find_audio(root: Path) -> tuple[list[Path], Counter[str]]:
    """Every audio file below `root`, by suffix, sorted by path, and how many others there are of each suffix."""
    return find_files(root, AUDIO_SUFFIXES)

"""Finding recordings: class folders, a table of clips, the sets that are known by name."""

import csv
import hashlib
import io
import math
import os
import re
import tempfile
import urllib.request
import zipfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hemony.config import AudioDataConfig, ESC50Config, FSDDConfig, SpeechCommandsConfig
from hemony.datasets.collection import TEST, TRAIN, UNASSIGNED, VALIDATION, AudioCollection, Samples, digest_of
from hemony.datasets.folder import classed_files, data_root, file_facts, or_told_where
from hemony.errors import InputError, UsageError
from hemony.media import audio
from hemony.media.files import shown

MOST_SAMPLES_A_BYTE = 200  # that a file of sound holds; spoken Opus has 64, only FLAC of silence has more
SYNONYMS = {"file": "path", "filename": "path", "file_name": "path", "category": "label", "class": "label", "speaker": "group", "src_file": "group"}  # fmt: skip
PART_CODES = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST, "": UNASSIGNED}


@dataclass(frozen=True)
class Clip:
    """One example: a file, or a span of it."""

    path: Path
    label: str
    start_s: float = 0.0
    end_s: float | None = None
    group: str = ""
    fold: int = -1
    part: int = UNASSIGNED


def find(config: AudioDataConfig) -> AudioCollection:
    """The collection that a config names, before anything is decoded."""
    if isinstance(config, SpeechCommandsConfig):
        return speech_commands(data_root(config), config.classes)
    if isinstance(config, FSDDConfig):
        return fsdd(data_root(config))
    if isinstance(config, ESC50Config):
        return esc50(data_root(config))
    if not config.root:
        raise UsageError(
            "data=audio_folder needs data.root=FOLDER, a folder that holds one of recordings for each class, or a CSV table"
        )
    root = Path(config.root)
    return read_table(root) if root.is_file() else scan_folder(root)


def collect(root: Path, clips: list[Clip]) -> AudioCollection:
    """The clips as a collection; those whose header cannot be read are listed as unreadable."""
    paths = list(dict.fromkeys(clip.path for clip in clips))  # a table may name a file many times
    facts = dict(zip(paths, file_facts(root, paths, "audio", probe), strict=True))
    class_names = sorted({clip.label for clip in clips})
    if len(class_names) < 2:
        raise InputError(f"{root} holds one class, {', '.join(class_names) or 'none'}; a recogniser needs at least two")

    def read(index: int, sample_rate_hz: int, start_s: float = 0.0, end_s: float | None = None) -> Samples:
        clip = clips[index]
        last_s = clip.end_s if end_s is None else clip.start_s + end_s
        return np.concatenate(list(audio.audio_blocks(clip.path, sample_rate_hz, clip.start_s + start_s, last_s)))

    headers = np.array([facts[clip.path].header or (0, 1) for clip in clips])
    whole_s = headers[:, 0] / headers[:, 1]
    starts_s = np.array([clip.start_s for clip in clips])
    ends_s = np.array([math.inf if clip.end_s is None else clip.end_s for clip in clips])
    return AudioCollection(
        class_names=class_names,
        names=[name_of(root, clip) for clip in clips],
        labels=np.array([class_names.index(clip.label) for clip in clips]),
        digests=np.array([clip_digest(facts[clip.path].digest, clip) for clip in clips], dtype=np.uint64),
        given=np.array([clip.part for clip in clips]),
        groups=groups_of(root, clips),
        durations_s=np.maximum(0.0, np.minimum(whole_s, ends_s) - starts_s),
        sample_rates_hz=headers[:, 1],
        folds=np.array([clip.fold for clip in clips]),
        read=read,
        root=str(root),
    ).readable([facts[clip.path].error for clip in clips])


def groups_of(root: Path, clips: list[Clip]) -> list[str]:
    """The clips' groups. Spans of one file are one, whatever the table says of groups; a clip without one stands alone."""
    files = Counter(clip.path for clip in clips)
    if not any(clip.group for clip in clips) and len(files) == len(clips):
        return []
    return [clip.group or os.path.relpath(clip.path, root) for clip in clips]


def probe(path: Path) -> tuple[int, ...]:
    """Frames, and frames a second. A header that claims more than its file could hold is not believed: the frames are counted."""
    header = audio.probe_audio(path)
    frames = header.frames
    if not 0 < frames * header.channels <= MOST_SAMPLES_A_BYTE * path.stat().st_size:
        frames = sum(map(len, audio.audio_blocks(path, header.sample_rate_hz)))
    return frames, header.sample_rate_hz


def clip_digest(file: int, clip: Clip) -> int:
    """64 bits for a file's content and the span of it."""
    if not clip.start_s and clip.end_s is None:
        return file
    return digest_of(f"{file} {clip.start_s} {clip.end_s}".encode())


def name_of(root: Path, clip: Clip) -> str:
    name = os.path.relpath(clip.path, root)
    return (
        name
        if not clip.start_s and clip.end_s is None
        else f"{name}@{clip.start_s:g}-{'' if clip.end_s is None else f'{clip.end_s:g}'}"
    )


def scan_folder(root: Path) -> AudioCollection:
    """Class folders of recordings, with or without train/, val/ and test/ above them."""
    files = classed_files(root, "recording", audio.find_audio)
    named = [files.class_names[label] for label in files.labels]
    clips = [Clip(path, label, part=part) for path, label, part in zip(files.paths, named, files.parts, strict=True)]
    collection = collect(root, clips)
    collection.notes += files.left_out_notes("recordings")
    return collection


def read_table(path: Path) -> AudioCollection:
    """A CSV with a header: path and label, and where they are given start and end (seconds), group, fold, part.

    Paths are relative to the table's folder, or to audio/ beside or above it, as in ESC-50. Raises InputError that names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV table ({error})") from None
    if not rows:
        raise InputError(f"{path} has no rows")
    renamed = [
        {SYNONYMS.get(str(key).strip().lower(), str(key).strip().lower()): value for key, value in row.items()} for row in rows
    ]
    missing = [column for column in ("path", "label") if column not in renamed[0]]
    if missing:
        raise InputError(f"{path} lacks the column {' and '.join(missing)}; its header has {', '.join(map(str, rows[0]))}")
    bases = [path.parent, path.parent / "audio", path.parent.parent / "audio", path.parent.parent]
    clips = []
    for number, row in enumerate(renamed, start=2):
        try:
            clips.append(clip_of(row, bases))
        except (ValueError, KeyError) as error:
            raise InputError(f"{path}, line {number}: {error}") from None
    folds = sorted({clip.fold for clip in clips if clip.fold >= 0})
    clips = [replace(clip, fold=folds.index(clip.fold) if clip.fold >= 0 else -1) for clip in clips]
    return collect(path.parent, clips)


def clip_of(row: dict[str, str | None], bases: list[Path]) -> Clip:
    """One row. Raises ValueError, with what is wrong with it."""
    name, label = (row.get("path") or "").strip(), (row.get("label") or "").strip()
    if not name or not label:
        raise ValueError("path or label is empty")
    path = next((base / name for base in bases if (base / name).exists()), bases[0] / name)
    start_s, end_s = seconds(row.get("start"), "start"), seconds(row.get("end"), "end")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise ValueError(f"end {end_s:g} is not after start {start_s or 0:g}")
    part = (row.get("part") or "").strip().lower()
    if part not in PART_CODES:
        raise ValueError(f"part '{part}' is none of train, validation, test")
    fold = (row.get("fold") or "").strip()
    return Clip(path, label, start_s or 0.0, end_s, (row.get("group") or "").strip(), int(fold) if fold else -1, PART_CODES[part])


def seconds(text: str | None, column: str) -> float | None:
    if not (text or "").strip():
        return None
    value = float(str(text))
    if not np.isfinite(value) or value < 0:
        raise ValueError(f"{column} {text} is not a time in seconds")
    return value


FSDD_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")
FSDD_TEST = range(5)  # the official test part: the first five recordings of each digit by each speaker
FSDD_BLOCK = 5  # recordings of a digit and speaker in a fold of the ten-fold cross-validation


FSDD_ARCHIVE = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"  # CC BY-SA 4.0
FSDD_DIGEST = "a2e8a660492f28d9eed6270b290d26cbc5c81d6077ce87d3c0ad5adf4d4ee696"  # of its 3,000 recordings, names and contents


def fsdd(root: Path) -> AudioCollection:
    """The Free Spoken Digit Dataset: groups are speakers, folds are the blocks of indices 0-4, 5-9, ..."""
    folder = next((place for place in (root / "recordings", root) if any(map(FSDD_NAME.fullmatch, names_in(place)))), None)
    if folder is None:
        folder = root / "recordings"
        there = "put the folder recordings/ of the Free Spoken Digit Dataset there (DIGIT_SPEAKER_INDEX.wav), or name its place"
        with or_told_where("fsdd", root, there):
            download_fsdd(folder)
    clips = []
    for name in sorted(names_in(folder)):
        if match := FSDD_NAME.fullmatch(name):
            index = int(match[3])
            part = TEST if index in FSDD_TEST else TRAIN
            clips.append(Clip(folder / name, match[1], group=match[2], fold=index // FSDD_BLOCK, part=part))
    return collect(root, clips)


def names_in(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def download_fsdd(folder: Path) -> None:
    """The recordings of FSDD_ARCHIVE into `folder`, all or none of them."""
    with urllib.request.urlopen(FSDD_ARCHIVE, timeout=60) as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    contents = {Path(name).name: archive.read(name) for name in archive.namelist() if FSDD_NAME.fullmatch(Path(name).name)}
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + hashlib.sha256(contents[name]).digest() for name in sorted(contents)))
    if digest.hexdigest() != FSDD_DIGEST:
        raise ValueError(f"what {FSDD_ARCHIVE} gives is not the data set that is known by this name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for name, content in contents.items():
            Path(scratch, name).write_bytes(content)
        Path(scratch).chmod(0o755)
        Path(scratch).rename(folder)
        Path(scratch).mkdir()  # for the block's end to remove


def esc50(root: Path) -> AudioCollection:
    """ESC-50: its table, its five folds; the recording that clips were cut from is the group."""
    table = root / "meta" / "esc50.csv"
    if not table.is_file():
        raise InputError(
            f"esc50 is not in {shown(root)}: put meta/esc50.csv and audio/ of ESC-50 there (github.com/karolpiczak/ESC-50), or name its "
            f"place with data.root="
        )
    return read_table(table)


def speech_commands(root: Path, classes: int) -> AudioCollection:
    """Speech Commands v2 (Warden 2018): the parts that its lists name; 35 words, or ten of them, the other words, and silence."""
    base = speech_commands_folder(root)
    lists = {VALIDATION: base / "validation_list.txt", TEST: base / "testing_list.txt"}
    parts = {line: code for code, path in lists.items() for line in path.read_text().split()}
    clips = []
    for word in sorted(folder.name for folder in base.iterdir() if folder.is_dir() and not folder.name.startswith(("_", "."))):
        label = word if classes == 35 or word in TEN_WORDS else "unknown"
        for path in sorted((base / word).glob("*.wav")):
            speaker = path.name.partition("_nohash_")[0]
            clips.append(Clip(path, label, group=speaker, part=parts.get(f"{word}/{path.name}", TRAIN)))
    if classes == 12:
        for path in sorted((base / "_background_noise_").glob("*.wav")):
            clips += silence_of(path)
    return collect(base, clips)


TEN_WORDS = frozenset("yes no up down left right on off stop go".split())
SILENCE_S = 1.0


def silence_of(path: Path) -> list[Clip]:
    """A recording of noise as seconds of it: the first eight tenths for training, then a tenth for validation and one for the test."""
    header = audio.probe_audio(path)
    count = int(header.frames / header.sample_rate_hz / SILENCE_S)
    parts = [TRAIN if number < 0.8 * count else VALIDATION if number < 0.9 * count else TEST for number in range(count)]
    return [
        Clip(path, "silence", number * SILENCE_S, (number + 1) * SILENCE_S, group=f"{path.name} {part}", part=part)
        for number, part in enumerate(parts)
    ]


def speech_commands_folder(root: Path) -> Path:
    """Where the words' folders are: in the root, or where torchaudio puts them, after a download if need be."""
    places = (root, root / "speech_commands_v0.02", root / "SpeechCommands" / "speech_commands_v0.02")
    for place in places:
        if (place / "testing_list.txt").is_file() and (place / "validation_list.txt").is_file():
            return place
    with or_told_where("speech_commands", root, "unpack speech_commands_v0.02.tar.gz there, or name its place"):
        from torchaudio.datasets import SPEECHCOMMANDS

        root.mkdir(parents=True, exist_ok=True)
        SPEECHCOMMANDS(root, download=True)  # 2.3 GB, checked against its checksum
    return places[-1]

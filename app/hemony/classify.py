"""`hemony classify`: what is on these images, what is to be heard in these recordings?

hemony classify BUNDLE SOURCE [SOURCE ...]      files, folders, globs; - reads paths from stdin, one a line
hemony classify BUNDLE --stream --rate HZ --channels N --encoding s16le|s24le|s32le|f32le|u8      raw sound from stdin
hemony classify BUNDLE --microphone             live, where sounddevice is installed

--format table|json|jsonl|csv|audacity|raven    a row a file: path, label, confidence, top (or error); recordings also start_s, end_s
--top K                                         how many labels a row names (5)
--threshold P | LABEL=P,...                     less probable answers are `unknown`
--unknown                                       the same at the threshold that was found on validation data
--out FILE [--resume]                           rows into a file; --resume goes on with one that was interrupted
--device auto|cpu|gpu   --batch-size N

Recordings longer than 10 s are heard by overlapping windows: --events (the default for them) gives a row for each stretch of one label
that passes the threshold (0.5 unless given), --windows a row for each window, --hop S the seconds from one window to the next (half a window).
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemony.errors import EXIT_FINE, EXIT_INPUT, UsageError
from hemony.facts import AUDIO_TASK, WEIGHTS, checked_weights, describing, read_recogniser_facts
from hemony.journal import Journal
from hemony.reading import SHORT_S, Decode, ReadAhead, Recordings
from hemony.sources import Source

if TYPE_CHECKING:
    from hemony.labelling import Settings

COLUMNS = ("path", "label", "confidence", "top", "error")
AUDIO_COLUMNS = ("path", "start_s", "end_s", "label", "confidence", "top", "error")
Thresholds = tuple[float | None, dict[str, float]]  # of all labels, and of single ones
FORMATS = ("table", "json", "jsonl", "csv", "audacity", "raven")


def main(arguments: list[str]) -> int:
    """The verb. 0 when every file was classified, 3 when one could not be read."""
    options = parse(arguments)
    folder = Path(options.bundle)
    facts = read_recogniser_facts(folder)
    check_kind(options, facts["task"] == AUDIO_TASK)
    thresholds = thresholds_of(options, folder, facts)
    if options.stream or options.microphone:
        return listen(options, folder, thresholds)
    return label(options, folder, facts, thresholds)


def listen(options: argparse.Namespace, folder: Path, thresholds: Thresholds) -> int:
    """Rows of sound as it comes."""
    from hemony import bundle
    from hemony.labelling import Labeller
    from hemony.output import RowWriter
    from hemony.preprocessing import AudioView

    loaded = bundle.load(folder)
    assert isinstance(loaded.preprocessing, AudioView)
    labeller = Labeller(loaded, settings_of(options, thresholds))
    with RowWriter(options.format, AUDIO_COLUMNS) as writer:
        for row in labeller.heard(live_blocks(options, loaded.preprocessing.sample_rate_hz), at_once=True):
            writer.write(row)
    return EXIT_FINE


def label(options: argparse.Namespace, folder: Path, facts: dict[str, Any], thresholds: Thresholds) -> int:
    """Rows of files. Recordings are being decoded while torch is imported."""
    audio = facts["task"] == AUDIO_TASK
    weights = checked_weights(folder, facts)  # before a file is opened that an earlier run may have left
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads would spin as they wait, on cores that decode
    with (
        Journal(options.out, journal_key(options, facts), options.resume) as journal,
        files_of(options, folder, facts, journal.remaining(sources_of(options.sources, audio))) as files,
    ):
        if "-" not in options.sources:  # lines on stdin may be long in coming
            files.fill()
        from hemony import bundle
        from hemony.labelling import Labeller
        from hemony.output import RowWriter

        labeller = Labeller(bundle.opened(folder, facts, weights), settings_of(options, thresholds))
        columns = AUDIO_COLUMNS if audio else COLUMNS
        with RowWriter(options.format, columns, journal.file, journal.rows, journal.begun) as writer:
            for batch in labeller.batches(files):
                for row in labeller.rows(batch):
                    journal.failed |= "error" in row
                    writer.write(row)
                journal.commit([path for path, _ in batch], writer.count)
        return EXIT_INPUT if journal.failed else EXIT_FINE


def files_of(options: argparse.Namespace, folder: Path, facts: dict[str, Any], sources: Iterable[Source]) -> ReadAhead:
    """The files, as they are decoded for the bundle, two batches ahead."""
    with describing(folder, "a recogniser"):
        if facts["task"] == AUDIO_TASK:
            most_s = 0.0 if options.events or options.windows else SHORT_S
            decode: Decode = Recordings(int(facts["preprocessing"]["sample_rate_hz"]), most_s)
        else:
            from hemony.plain import restored
            from hemony.preprocessing import ImagePreprocessing

            decode = restored(ImagePreprocessing, facts["preprocessing"]).read
    return ReadAhead(sources, decode, 2 * options.batch_size)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("hemony classify", usage=__doc__, add_help=False, allow_abbrev=False)
    parser.error = refuse  # type: ignore[method-assign,assignment]
    parser.add_argument("bundle")
    parser.add_argument("sources", nargs="*")
    parser.add_argument("--format", default="table", choices=FORMATS)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threshold")
    parser.add_argument("--unknown", action="store_true")
    parser.add_argument("--out")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--hop", type=float)
    detail = parser.add_mutually_exclusive_group()
    detail.add_argument("--events", action="store_true")
    detail.add_argument("--windows", action="store_true")
    live = parser.add_mutually_exclusive_group()
    live.add_argument("--stream", action="store_true")
    live.add_argument("--microphone", action="store_true")
    parser.add_argument("--rate", type=int)
    parser.add_argument("--channels", type=int)
    parser.add_argument("--encoding", choices=("s16le", "s24le", "s32le", "f32le", "u8"))
    options = parser.parse_intermixed_args(arguments)  # files and options in any order
    for name in ("top", "batch_size"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(options, name)} must be at least 1")
    check_live(options)
    if options.hop is not None and not 0 < options.hop < 3600:
        raise UsageError(f"--hop {options.hop:g} must be above 0 and below 3600 seconds")
    if options.resume and not options.out:
        raise UsageError("--resume goes on with the file of an interrupted run: name it by --out FILE")
    return options


def check_live(options: argparse.Namespace) -> None:
    live = options.stream or options.microphone
    if live == bool(options.sources):
        raise UsageError(
            "a stream takes no files" if live else "name files, folders or globs; usage: hemony classify BUNDLE SOURCE [SOURCE ...]"
        )
    given = {name: getattr(options, name) for name in ("rate", "channels", "encoding")}
    if options.stream:
        missing = [f"--{name}" for name, value in given.items() if value is None]
        if missing:
            raise UsageError(f"--stream reads raw sound, which does not say what it is: give {', '.join(missing)}")
        from hemony.media.live import RawFormat

        RawFormat(options.rate, options.channels, options.encoding)
    elif any(value is not None for value in given.values()):
        raise UsageError("--rate, --channels and --encoding describe a --stream; a file says of itself what it is")
    if live and (options.out or options.resume):
        raise UsageError("--out writes the rows of files; send those of a stream where you like by >")


def refuse(message: str) -> None:
    raise UsageError(f"{message}; usage: hemony classify BUNDLE SOURCE [SOURCE ...]")


def check_kind(options: argparse.Namespace, audio: bool) -> None:
    """Raise UsageError where images are asked for what only recordings have."""
    if audio:
        if options.format == "audacity" and len(options.sources) != 1 and not (options.stream or options.microphone):
            raise UsageError("--format audacity is for one recording: its labels name no file; raven, csv and jsonl do")
        return
    asked = {
        "--stream": options.stream, "--microphone": options.microphone, "--events": options.events, "--windows": options.windows,
        "--hop": options.hop is not None, f"--format {options.format}": options.format in ("audacity", "raven"),
    }  # fmt: skip
    for option, given in asked.items():
        if given:
            raise UsageError(f"{option} is for recordings, and {options.bundle} recognises images")


def settings_of(options: argparse.Namespace, thresholds: Thresholds) -> "Settings":
    from hemony.labelling import Detail, Settings

    detail = Detail.events if options.events or options.stream or options.microphone else Detail.auto
    threshold, single = thresholds
    return Settings(
        device=options.device,
        batch_size=options.batch_size,
        top=options.top,
        detail=Detail.windows if options.windows else detail,
        hop_s=options.hop,
        thresholds=single,
        threshold=threshold,
    )


def thresholds_of(options: argparse.Namespace, folder: Path, facts: dict[str, Any]) -> Thresholds:
    """The threshold of all labels and those of single ones: `--threshold 0.7` or `dog=0.7,cat=0.4` or both, and `--unknown`."""
    with describing(folder, "a recogniser"):
        labels = list(facts["labels"])
    threshold, single = None, {}
    for part in options.threshold.split(",") if options.threshold else []:
        label, equals, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise UsageError(f"--threshold {part}: a probability from 0 to 1 is expected, or LABEL=PROBABILITY")
        if not equals:
            threshold = value
        elif label in labels:
            single[label] = value
        else:
            raise UsageError(f"--threshold {part}: the bundle has no label '{label}'; it has {', '.join(labels[:20])}")
    if options.unknown:
        validated = facts.get("unknown_threshold", 0.0)
        if not validated:
            raise UsageError(f"{folder} has no threshold for --unknown (it had no validation data); give one by --threshold")
        threshold = max(threshold or 0.0, validated)
    return threshold, single


def sources_of(sources: list[str], audio: bool) -> Iterator[Any]:
    from hemony.sources import expand

    if audio:
        from hemony.media.audio import find_audio

        return expand(sources, sys.stdin, find_audio, "recordings")
    from hemony.media.image import find_images

    return expand(sources, sys.stdin, find_images, "images")


def live_blocks(options: argparse.Namespace, sample_rate_hz: int) -> Iterator[Any]:
    from hemony.media import live

    if options.microphone:
        return live.microphone_blocks(sample_rate_hz)
    return live.raw_blocks(live.stdin(), live.RawFormat(options.rate, options.channels, options.encoding), sample_rate_hz)


def journal_key(options: argparse.Namespace, facts: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same for an interrupted run to go on."""
    asked = {key: value for key, value in vars(options).items() if key not in ("out", "resume", "bundle", "sources")}
    return {"bundle": facts["digests"][WEIGHTS], **asked}

"""`hemony correct`: hear the melody of a recording of bells, find every wrong note, put it right.

hemony correct BUNDLE IN.wav                     the notes as a table: what was meant, and how many cents off it is
  --out TUNED.wav        the recording with its wrong notes moved to where they belong (.flac and .ogg too)
  --midi M.mid           what was meant, as a MIDI file        --notes N.jsonl   the notes, a row each
  --plot P.png           the notes over the spectrogram, as they are and as they are meant
  --page P.html          all of it on one page, with both recordings to listen to
  --tolerance-cents C    notes that are less than this off stay as they are (5; twice that in what was corrected before)
  --a4 HZ                move every note to the tuning with this A4, by less than a semitone; otherwise the recording's own is kept
  --temperament F.scl    what is in tune: twelve notes from C on in Scala's format; equal temperament unless given
  --format table|json|jsonl|csv
hemony correct BUNDLE --stream --rate HZ --channels N --encoding s16le|s24le|s32le|f32le|u8    raw sound from stdin

A stream gives JSON lines: {"event": "strike", ...} a tenth of a second after each strike, and {"event": "note", ...} when it is decided what it
was meant to be, after the next note or a second and a half.

A row: onset_s, note, intended_midi, deviation_cents (positive is sharp, beside the recording's own tuning), confidence, level_db, moved_cents.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hemony.errors import EXIT_FINE, UsageError

if TYPE_CHECKING:
    from hemony.bells.notes import Notes, Values
    from hemony.bells.synth import BellKind
    from hemony.media.audio import Recording
    from hemony.melody_bundle import MelodyBundle

TOLERANCE_CENTS = 5.0
MARK = "corrected by hemony"  # in the comment of what is written
AGAIN = 2.0  # times the tolerance a note has to be off to be moved once more: what was near it is not to go back and forth
OUTPUTS, RAW = ("out", "midi", "notes", "plot", "page"), ("rate", "channels", "encoding")
FORMATS = ("table", "json", "jsonl", "csv")
COLUMNS = ("onset_s", "note", "intended_midi", "deviation_cents", "confidence", "level_db", "moved_cents")
UNSURE = 0.5  # confidence below which a note that is less than half a semitone off stays: it may not be what it is taken for


def main(arguments: list[str]) -> int:
    """The verb."""
    options = parse(arguments)
    check_outputs(options)
    from hemony import melody_bundle, output
    from hemony.bells.temperament import EQUAL, read_scala
    from hemony.hardware import log, one_blas_thread

    temperament = read_scala(Path(options.temperament)) if options.temperament else EQUAL
    bundle = melody_bundle.load(Path(options.bundle))
    if options.stream:
        return stream(bundle, options)
    from hemony.media.audio import check_writable, read_recording

    recording = read_recording(Path(options.recording))
    waves, rate_hz = recording.waves, recording.sample_rate_hz
    if options.out:
        check_writable(Path(options.out), rate_hz, waves.shape[1])
    if recording.repaired:
        log(f"{options.recording}: {recording.repaired:,} values are no numbers, and are taken for silence")
    notes, kind = heard(bundle, waves, rate_hz)
    tolerance_cents = TOLERANCE_CENTS if options.tolerance_cents is None else options.tolerance_cents
    if MARK in recording.tags.get("comment", "") and options.tolerance_cents is None and tuned_to(notes, options.a4):
        tolerance_cents *= AGAIN
        log(f"{options.recording} was corrected before: only notes more than {tolerance_cents:g} cents off are moved again")
    off, moves, tuning_cents = corrections(notes, temperament, tolerance_cents, options.a4)
    say(notes, kind, off, moves, tuning_cents, options)
    tuned = waves
    if options.out or options.page:
        from hemony.bells.retune import retune

        with one_blas_thread():
            tuned = retune(waves, rate_hz, notes.onset_s, notes.strike_hz, moves, kind)
    write(options, recording, tuned, notes, off, moves)
    rows = rows_of(notes, off, moves)
    if options.format in (None, "table"):
        print(table(rows))
    else:
        output.print_rows(rows, options.format, COLUMNS)
    return EXIT_FINE


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("hemony correct", usage=__doc__, add_help=False, allow_abbrev=False)
    parser.error = refuse  # type: ignore[method-assign,assignment]
    parser.add_argument("bundle")
    parser.add_argument("recording", nargs="?")
    for name in (*OUTPUTS, "temperament"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--tolerance-cents", type=float)
    parser.add_argument("--a4", type=float)
    parser.add_argument("--format", choices=FORMATS)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--rate", type=int)
    parser.add_argument("--channels", type=int)
    parser.add_argument("--encoding", choices=("s16le", "s24le", "s32le", "f32le", "u8"))
    options = parser.parse_intermixed_args(arguments)
    if options.tolerance_cents is not None and not 0 <= options.tolerance_cents <= 100:
        raise UsageError(f"--tolerance-cents {options.tolerance_cents:g} must be from 0 to 100")
    if options.a4 is not None and not 220 <= options.a4 <= 880:
        raise UsageError(f"--a4 {options.a4:g} must be from 220 to 880 Hz")
    if options.stream == bool(options.recording):
        raise UsageError(
            "a stream takes no file" if options.stream else "name a recording; usage: hemony correct BUNDLE IN.wav --out TUNED.wav"
        )
    return options


def refuse(message: str) -> None:
    raise UsageError(f"{message}; usage: hemony correct BUNDLE IN.wav --out TUNED.wav")


def check_outputs(options: argparse.Namespace) -> None:
    """Raise UsageError, before the work, for what could not be written after it."""
    from hemony.media.audio import check_writable
    from hemony.media.files import check_file

    named = {name: Path(getattr(options, name)) for name in OUTPUTS if getattr(options, name)}
    if options.stream:
        check_stream(options)
        return
    if any(getattr(options, name) is not None for name in RAW):
        raise UsageError("--rate, --channels and --encoding describe a --stream; a file says of itself what it is")
    if "out" in named:
        check_writable(named["out"])
    for name in OUTPUTS:
        if getattr(options, name) == "":
            raise UsageError(f"--{name} names no file")
    for path in named.values():
        check_file(path)
    if "plot" in named and named["plot"].suffix.lower() != ".png":
        raise UsageError(f"--plot {named['plot']}: the picture is a PNG; name a .png file")
    read = [Path(given) for given in (options.recording, options.temperament) if given]
    places = [path.resolve() for path in (*named.values(), *read)]
    if len(set(places)) < len(places):
        raise UsageError("two of the files named are the same one: what is read and all that is written need names of their own")


def check_stream(options: argparse.Namespace) -> None:
    """Raise UsageError for a stream that does not say what it is, and for what is asked of it that only a recording has."""
    from hemony.media.live import RawFormat

    for name in (*OUTPUTS, "a4", "tolerance_cents", "temperament", "format"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} is for a recording that has an end; a stream prints its notes as JSON lines"
            )
    missing = [f"--{name}" for name in RAW if getattr(options, name) is None]
    if missing:
        raise UsageError(f"--stream reads raw sound, which does not say what it is: give {', '.join(missing)}")
    RawFormat(options.rate, options.channels, options.encoding)


def heard(bundle: "MelodyBundle", waves: Any, rate_hz: int) -> "tuple[Notes, BellKind]":
    """The notes of a recording (samples, channels), and on which bells they are played."""
    import soxr

    from hemony.hearing import notes_of
    from hemony.models.ear import SAMPLE_RATE_HZ

    mono = mono_of(waves)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return notes_of(bundle.network, np.ascontiguousarray(mono, dtype=np.float32), bundle.temperature)


def tuned_to(notes: "Notes", a4_hz: float | None) -> bool:
    """Whether notes are in the tuning that is asked for, if any is."""
    return a4_hz is None or abs(beside_cents(notes.tuning_cents, notes.a4_hz, a4_hz)) <= TOLERANCE_CENTS


def beside_cents(tuning_cents: float, own_hz: float, a4_hz: float) -> float:
    """How far a tuning beside an A4 of `own_hz` is above that of another A4, but for whole semitones: the way to it transposes nothing."""
    from hemony.bells.grid import wrapped_cents
    from hemony.bells.tuning import cents_between

    return float(wrapped_cents(np.array(tuning_cents - cents_between(own_hz, a4_hz))))


def mono_of(waves: Any) -> Any:
    """The mean of the channels (samples, channels), each turned to the sign of the first, so that none cancels another."""
    signs = np.where(waves.T @ waves[:, 0] < 0, -1.0, 1.0).astype(np.float32)
    return (waves * signs).mean(axis=1)


def corrections(
    notes: "Notes", temperament: "Values", tolerance_cents: float, a4_hz: float | None
) -> "tuple[Values, Values, float]":
    """How far each note is off beside the temperament (N,), by how many cents it is to be moved (N,), 0 within the tolerance, and the
    tuning beside which that is."""
    from hemony.bells.grid import grid_cents, wrapped_cents

    sounding = notes.deviation_cents + notes.tuning_cents - temperament[notes.intended_midi % 12]
    tuning_cents = notes.tuning_cents
    if temperament.any():  # it was found beside equal temperament
        tuning_cents += float(wrapped_cents(np.array(grid_cents(sounding / 100) - tuning_cents)))
    off = sounding - tuning_cents
    away = off if a4_hz is None else off + beside_cents(tuning_cents, notes.a4_hz, a4_hz)
    unsure = (notes.confidence < UNSURE) & (np.abs(away) < 50) & (a4_hz is None)  # to another tuning all go together
    return off, np.where((np.abs(away) > tolerance_cents) & ~unsure, -away, 0.0), tuning_cents


def say(notes: "Notes", kind: "BellKind", off: "Values", moves: "Values", tuning_cents: float, options: argparse.Namespace) -> None:
    """What was found, in a line."""
    from hemony.bells.notes import FLAGGED_CENTS
    from hemony.bells.tuning import cents_between, shifted
    from hemony.hardware import log

    if not len(notes):
        log(f"{options.recording}: no melody on bells is to be heard in it")
        return
    wrong, moved = int((np.abs(off) > FLAGGED_CENTS).sum()), int((moves != 0).sum())
    would = "would be moved" if not (options.out or options.page) else "is moved" if moved == 1 else "are moved"
    log(
        f"{len(notes)} notes on {kind.value.replace('_', ' ')}s, {tuning_cents:+.1f} cents from A4 = {notes.a4_hz:g} Hz; {wrong} "
        f"{'is' if wrong == 1 else 'are'} more than {FLAGGED_CENTS:g} cents off, {moved} {would}"
    )
    own_hz = shifted(notes.a4_hz, tuning_cents)
    if options.a4 is not None and abs(cents_between(own_hz, options.a4)) > 50:
        log(
            f"A4 = {options.a4:g} Hz is {cents_between(own_hz, options.a4):+.0f} cents from the {own_hz:.1f} Hz of the recording: nothing is transposed, every "
            f"note goes to the nearest place in that tuning and keeps its name"
        )


def write(options: argparse.Namespace, recording: "Recording", tuned: Any, notes: "Notes", off: "Values", moves: "Values") -> None:
    """All files that are asked for, each whole or not at all."""
    from hemony import durable, output

    waves, rate_hz = recording.waves, recording.sample_rate_hz
    if options.notes:
        durable.write_text(Path(options.notes), "".join(output.as_json(row) + "\n" for row in truth_rows(notes, off)))
    if options.midi:
        from hemony.bells.midi import as_midi

        durable.write_bytes(Path(options.midi), as_midi(notes))
    if options.out:
        from hemony.media.audio import write_audio

        tags = recording.tags
        if moves.any() and MARK not in tags.get("comment", ""):
            tags = {**tags, "comment": f"{tags.get('comment', '')}; {MARK}".removeprefix("; ")}
        write_audio(Path(options.out), tuned, rate_hz, recording.floats, tags)
    if options.plot or options.page:
        from hemony import melody_page

        picture = melody_page.picture(mono_of(waves), rate_hz, notes, off, moves)
        if options.plot:
            durable.write_bytes(Path(options.plot), picture)
        if options.page:
            rows = rows_of(notes, off, moves)
            durable.write_text(
                Path(options.page), melody_page.page(Path(options.recording).name, waves, tuned, rate_hz, picture, rows)
            )


def truth_rows(notes: "Notes", off: "Values") -> list[dict[str, Any]]:
    """A row a note with the keys of a truth file."""
    return [{**row, "deviation_cents": float(cents)} for row, cents in zip(notes.rows(), off, strict=True)]


def rows_of(notes: "Notes", off: "Values", moves: "Values") -> list[dict[str, Any]]:
    """A row a note, for people and programs."""
    from hemony.bells.tuning import note_name

    return [
        {
            "onset_s": round(row["onset_s"], 4),
            "note": note_name(int(row["intended_midi"])),
            "intended_midi": row["intended_midi"],
            "deviation_cents": round(row["deviation_cents"], 2),
            "confidence": round(row["confidence"], 4),
            "level_db": round(row["level_db"], 2),
            "moved_cents": round(float(move), 2) + 0.0,
        }
        for row, move in zip(truth_rows(notes, off), moves, strict=True)
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """A line a note; what is moved stands out."""
    lines = [f"{'onset s':>9} {'meant':>6} {'cents off':>10} {'confidence':>11} {'level dB':>9}  moved by"]
    for row in rows:
        moved = f"{row['moved_cents']:+8.1f}" if row["moved_cents"] else ""
        lines.append(
            f"{row['onset_s']:9.3f} {row['note']:>6} {row['deviation_cents']:+10.1f} {row['confidence']:11.2f} {row['level_db']:9.1f}  {moved}".rstrip()
        )
    return "\n".join(lines)


def stream(bundle: "MelodyBundle", options: argparse.Namespace) -> int:
    """Strikes and notes of raw sound on stdin, each as soon as it is known, as JSON lines."""
    from hemony import output
    from hemony.following import Follower
    from hemony.media import live
    from hemony.media.audio import as_float
    from hemony.models.ear import SAMPLE_RATE_HZ

    form = live.RawFormat(options.rate, options.channels, options.encoding)
    follower = Follower(bundle)
    for block in live.raw_blocks(live.stdin(), form, SAMPLE_RATE_HZ):
        for row in follower.feed(as_float(block)):
            print(output.as_json(row), flush=True)
    for row in follower.finish():
        print(output.as_json(row), flush=True)
    return EXIT_FINE

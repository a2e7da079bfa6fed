"""`hemony synth`: melodies on bells that are off pitch, with the truth of every note.

hemony synth PIECE --out FILE.wav [--truth FILE.json]     .flac and .ogg too; PIECE is one of
  hot_chilli_bells_100, composed, jingle_bells, carol_of_the_bells, ding_dong_merrily, joy_to_the_world, deck_the_halls, god_rest_ye,
  good_king_wenceslas, hark_the_herald, o_come_all_ye_faithful, silent_night, i_heard_the_bells, angels_we_have_heard, in_dulci_jubilo,
  sugar_plum_fairy, westminster_quarters

--seed N                 draws the piece where it is drawn, its errors, bells and noise (0)
--kind KIND              carillon, handbell, tubular_bell or glockenspiel (carillon)
--tempo BPM              beats a minute (120); or --spacing LEAST,MOST: seconds between notes, long and short ones brought to between the two
--spread-cents C         standard deviation of the notes that are about right (5)
--off-share P            share of the notes that are off by 50 to 100 cents (0.12)
--semitone-share P       share of the notes that are off by a whole semitone (0.03)
--per-bell               a bell is off alike whenever it sounds, in place of each stroke by itself
--in-tune                no errors but those of --drift
--tuning CENTS           of all bells beside A4 = 440 Hz, -50 to 50 (0)    --drift CENTS   how far the reference pitch wanders (0)
--harmony                a chord bell or two below every second note
--room SECONDS           reverberation time (0: none)                      --snr-db DB     melody over noise (none unless given)
--rate HZ                sample rate (44100)                               --format table|json|jsonl|csv

A summary goes to stdout. The same seed and options always give the same recording.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemony.errors import EXIT_FINE, UsageError, did_you_mean

if TYPE_CHECKING:
    from hemony.bells.notes import Notes
    from hemony.bells.tunes import Score

KINDS = ("carillon", "handbell", "tubular_bell", "glockenspiel")
FORMATS = ("table", "json", "jsonl", "csv")
RANGES = {  # of the options, each with both ends
    "tempo": (10.0, 1000.0),
    "spread_cents": (0.0, 100.0),
    "off_share": (0.0, 1.0),
    "semitone_share": (0.0, 1.0),
    "tuning": (-50.0, 50.0),
    "drift": (0.0, 200.0),
    "room": (0.0, 10.0),  # and not between 0 and LEAST_ROOM_S
    "snr_db": (-20.0, 120.0),
    "rate": (4_000, 192_000),
    "seed": (0, 2**62),
}
LEAST_ROOM_S = 0.05
LONGEST_S = 1800.0


def main(arguments: list[str]) -> int:
    """The verb."""
    options = parse(arguments)
    from hemony import output
    from hemony.bells.notes import write_truth
    from hemony.media.audio import check_writable, write_audio
    from hemony.media.files import check_file

    check_writable(Path(options.out))
    if options.truth:
        check_file(Path(options.truth))
        if Path(options.truth).resolve() == Path(options.out).resolve():
            raise UsageError(f"--truth {options.truth} is where --out writes: name another file")
    score, wave, notes = rendered(options)
    write_audio(Path(options.out), wave, options.rate)
    if options.truth:
        write_truth(Path(options.truth), notes)
    output.print_rows([summary(score, notes, len(wave) / options.rate, options)], options.format)
    return EXIT_FINE


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("hemony synth", usage=__doc__, add_help=False, allow_abbrev=False)
    parser.error = refuse  # type: ignore[method-assign,assignment]
    parser.add_argument("piece")
    parser.add_argument("--out", required=True)
    parser.add_argument("--truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="carillon", choices=KINDS)
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--tempo", type=float, default=120.0)
    pace.add_argument("--spacing")
    errors = parser.add_mutually_exclusive_group()
    errors.add_argument("--in-tune", action="store_true")
    errors.add_argument("--per-bell", action="store_true")
    for name, default in (("spread-cents", 5.0), ("off-share", 0.12), ("semitone-share", 0.03)):
        parser.add_argument(f"--{name}", type=float, default=default)
    for name in ("tuning", "drift", "room"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    parser.add_argument("--snr-db", type=float)
    parser.add_argument("--harmony", action="store_true")
    parser.add_argument("--rate", type=int, default=44_100)
    parser.add_argument("--format", default="table", choices=FORMATS)
    options = parser.parse_args(arguments)
    for name, (least, most) in RANGES.items():
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise UsageError(f"--{name.replace('_', '-')} {value:g} must be from {least:g} to {most:g}")
    if options.off_share + options.semitone_share > 1:
        raise UsageError(
            f"--off-share {options.off_share:g} and --semitone-share {options.semitone_share:g} are more than all notes"
        )
    if 0 < options.room < LEAST_ROOM_S:
        raise UsageError(f"--room {options.room:g} must be 0 or at least {LEAST_ROOM_S:g}")
    if options.tuning == RANGES["tuning"][1]:
        raise UsageError("--tuning 50 is the same as --tuning -50 of the semitone above: give a value below 50")
    options.spacing = spacing_of(options.spacing)
    check_piece(options.piece)
    return options


def refuse(message: str) -> None:
    raise UsageError(f"{message}; usage: hemony synth PIECE --out FILE.wav")


def spacing_of(text: str | None) -> tuple[float, float] | None:
    """`0.35,0.6` as two numbers of seconds."""
    if text is None:
        return None
    try:
        least, most = (float(part) for part in text.split(","))
    except ValueError:
        least, most = 0.0, 0.0
    if not 0.02 <= least <= most <= 60:
        raise UsageError(f"--spacing {text}: expected LEAST,MOST in seconds between notes, from 0.02 to 60, such as 0.35,0.6")
    return least, most


def check_piece(name: str) -> None:
    from hemony.bells.scores import NAMES

    if name not in NAMES:
        raise UsageError(f"'{name}' is not a piece{did_you_mean(name, NAMES)}")


def rendered(options: argparse.Namespace) -> tuple["Score", Any, "Notes"]:
    """The score as it is played, the recording, float32 (samples,), and its truth."""
    from hemony.bells import pieces, scores
    from hemony.bells.synth import BellKind
    from hemony.datasets.seeding import generator

    kind = BellKind(options.kind)
    score = pieces.fitting(scores.score(options.piece, options.seed), kind)
    begins_s = pieces.even_onsets_s(score, *options.spacing) if options.spacing else pieces.onsets_s(score, 60 / options.tempo)
    least_hz = pieces.least_rate_hz(score, kind)
    if options.rate < least_hz:
        raise UsageError(
            f"--rate {options.rate}: the strike notes of this piece on a {kind.value} need at least {math.ceil(least_hz):,} Hz"
        )
    if begins_s[-1] > LONGEST_S:
        raise UsageError(
            f"the piece would last {begins_s[-1]:,.0f} s: at most {LONGEST_S:,.0f} s are rendered; give another --tempo or --spacing"
        )
    mistuning = pieces.Mistuning(options.spread_cents, options.off_share, options.semitone_share, options.per_bell)
    if options.in_tune:
        mistuning = replace(mistuning, spread_cents=0.0, off_share=0.0, semitone_share=0.0)
    playing = pieces.Playing(
        kind=kind,
        sample_rate_hz=options.rate,
        tuning_cents=options.tuning,
        drift_cents=options.drift,
        chord_every=2 if options.harmony else 0,
        room_t60_s=options.room,
        snr_db=options.snr_db,
    )
    wave, notes = pieces.play(score, begins_s, mistuning, playing, generator(options.seed, "synth"))
    return score, wave.numpy(), notes


def summary(score: "Score", notes: "Notes", duration_s: float, options: argparse.Namespace) -> dict[str, Any]:
    """One row: what was rendered, and how much of it is wrong."""
    import numpy as np

    from hemony.bells.notes import FLAGGED_CENTS, OFF_CENTS

    off = np.abs(notes.deviation_cents)
    return {
        "piece": score.name,
        "kind": options.kind,
        "notes": len(notes),
        "duration_s": round(duration_s, 3),
        "tuning_cents": notes.tuning_cents,
        "median_deviation_cents": round(float(np.median(off)), 2),
        "over_25_cents": int((off > FLAGGED_CENTS).sum()),
        "over_50_cents": int((off > OFF_CENTS).sum()),
        "out": options.out,
        "truth": options.truth or "",
    }

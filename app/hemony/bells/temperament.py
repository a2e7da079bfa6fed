"""Temperaments: how far each of the twelve pitch classes lies from equal temperament."""

import codecs
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from hemony.bells.notes import Values
from hemony.bells.tuning import cents_between
from hemony.errors import InputError
from hemony.media.files import shown

EQUAL = np.zeros(12)
MOST_BYTES = 100_000
FURTHEST_CENTS = 100.0  # of a note from equal temperament


def read_scala(path: Path) -> Values:
    """A Scala file (.scl, https://www.huygens-fokker.org/scala/scl_format.html) of twelve notes from C on, as cents (12,) beside equal
    temperament. The A stays where it is: that is the note by which a recording's tuning is named. Raises InputError for another file.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{shown(path)}: too large for a Scala file")
        text = path.read_bytes().removeprefix(codecs.BOM_UTF8).decode("latin-1")
    except OSError as error:
        raise InputError(f"{shown(path)}: {error.strerror}") from None
    lines = [line.strip() for line in text.splitlines() if not line.startswith("!")]
    line = ""
    try:
        line = lines[1]
        count = int(line.split()[0])
        pitches = [pitch_cents(line := given) for given in lines[2:14]]
    except (IndexError, ValueError, ZeroDivisionError):
        raise InputError(
            f"{shown(path)} is no Scala file (at '{line[:40]}'): a description, a count and a pitch a line are expected"
        ) from None
    if count != 12 or len(pitches) != 12:
        raise InputError(
            f"{shown(path)}: a scale of twelve notes to the octave is expected; it names {count} and holds {len(pitches)}"
        )
    offsets: Values = np.array([0.0, *pitches[:-1]]) - 100 * np.arange(12)
    offsets -= offsets[9]
    if not abs(pitches[-1] - 1200) <= 1 or not np.abs(offsets).max() <= FURTHEST_CENTS:
        raise InputError(
            f"{shown(path)}: its notes must lie within {FURTHEST_CENTS:g} cents of equal temperament, and its last one an octave above the first"
        )
    return offsets


def pitch_cents(line: str) -> float:
    """`701.955` is cents, `3/2` and `2` are ratios. Raises ValueError."""
    word = re.split(r"[\s!]", line)[0]
    ratio = 1.0 if "." in word else float(Fraction(word))
    cents = float(word) if "." in word else 0.0
    if ratio <= 0 or not math.isfinite(cents):
        raise ValueError(f"{word} is no interval")
    return cents + cents_between(1.0, ratio)

"""Plausible tunes without end: what a training hears in place of the melodies that exist.

A tune has a key, a metre, a few rhythms and a form; its phrases follow a progression of chords, return, are moved up and down the scale,
and end on a half or a full cadence. Now and then it is something else that bells play: a motif turned over and over, changes rung on a few
bells, a chromatic line.
"""

import itertools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hemony.bells.tunes import MAJOR, MINOR, Score

T = TypeVar("T")
Draw = np.random.Generator

SCALES = (
    (MAJOR, 0.55),
    (MINOR, 0.27),
    ((0, 2, 3, 5, 7, 9, 10), 0.06),  # dorian
    ((0, 2, 4, 5, 7, 9, 10), 0.06),  # mixolydian
    ((0, 2, 4, 6, 7, 9, 11), 0.03),  # lydian
    ((0, 1, 3, 5, 7, 8, 10), 0.03),  # phrygian
)
# bars of a metre, as the lengths of their notes in beats; the last ones are for the end of a phrase
RHYTHMS: dict[float, tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]] = {
    4: (
        ((1, 1, 1, 1), (1.5, 0.5, 1, 1), (1, 1, 2), (2, 1, 1), (0.5, 0.5, 1, 1, 1), (1, 1, 0.5, 0.5, 1), (0.5,) * 4 + (1, 1),
         (1, 0.5, 0.5, 1, 1), (1.5, 0.5, 1.5, 0.5), (0.5,) * 8, (3, 1), (2, 2), (1, 1, 1, 0.5, 0.5), (1.5, 0.5, 0.5, 0.5, 0.5, 0.5)),
        ((2, 2), (3, 1), (4,), (1, 1, 2), (1, 3)),
    ),
    3: (
        ((1, 1, 1), (2, 1), (1, 0.5, 0.5, 1), (1.5, 0.5, 1), (0.5, 0.5, 1, 1), (1, 1, 0.5, 0.5), (1, 0.5, 1, 0.5), (0.75, 0.25, 0.5, 1.5),
         (0.5,) * 6, (1.5, 1.5), (1, 0.5, 1.5), (1, 2)),
        ((3,), (2, 1), (1, 2), (1.5, 1.5)),
    ),
    2: (
        ((1, 1), (0.5, 0.5, 1), (1, 0.5, 0.5), (0.5,) * 4, (0.75, 0.25, 1), (1.5, 0.5), (0.5, 1, 0.5), (0.5, 0.5, 0.75, 0.25)),
        ((2,), (1, 1), (1.5, 0.5)),
    ),
}  # fmt: skip
PROGRESSIONS = (  # roots of the chords of four bars, as degrees of the scale from 0
    (0, 3, 4, 0), (0, 0, 4, 4), (0, 5, 3, 4), (0, 4, 0, 4), (3, 0, 4, 0), (0, 3, 0, 4), (0, 4, 5, 3), (0, 1, 4, 0), (5, 3, 0, 4),
    (4, 0, 4, 0), (0, 0, 3, 0), (0, 2, 3, 4), (4, 4, 0, 0),
)  # fmt: skip
FORMS = ("AABA", "ABAB", "AABB", "ABAC", "AABC", "ABBA", "ABCA", "AAAB", "ABCD", "ABABCB")
STEPS = (-4, -3, -2, -1, 0, 1, 2, 3, 4)  # degrees of the scale, and how often a melody takes them on the way
STEP_SHARES = (0.015, 0.03, 0.09, 0.29, 0.17, 0.25, 0.1, 0.035, 0.02)
LOWEST, HIGHEST = -4, 11  # degrees beside the tonic
REGISTER_MIDI = 72  # about which a tune lies; whoever plays it moves it to its bells


@dataclass(frozen=True)
class Phrase:
    """Degrees beside the tonic (0 is the tonic, 7 its octave), lengths in beats, and alterations in semitones, note by note."""

    degrees: tuple[int, ...]
    beats: tuple[float, ...]
    altered: tuple[int, ...]

    def moved(self, degrees: int) -> "Phrase":
        return Phrase(tuple(degree + degrees for degree in self.degrees), self.beats, self.altered)

    def __add__(self, other: "Phrase") -> "Phrase":
        return Phrase(self.degrees + other.degrees, self.beats + other.beats, self.altered + other.altered)


def compose(draw: Draw, least_notes: int = 40) -> Score:
    """A tune of at least so many notes, in any key."""
    scale = pick(draw, SCALES)
    if draw.random() < 0.08:
        phrase = turning(draw, least_notes)
    elif draw.random() < 0.05:
        phrase = changes(draw, least_notes)
    else:
        phrase = song(draw)
        while len(phrase.degrees) < least_notes:
            phrase = phrase + (phrase if draw.random() < 0.7 else song(draw))
    tonic = int(draw.integers(12))
    base = tonic + 12 * round((REGISTER_MIDI - tonic - 4) / 12)
    notes = [semitones(degree, scale) + alteration for degree, alteration in zip(phrase.degrees, phrase.altered, strict=True)]
    if scale == MINOR and draw.random() < 0.8:
        notes = with_leading_notes(notes)
    return Score("composed", tuple(base + note for note in notes), phrase.beats, tonic, scale)


def pick(draw: Draw, choices: tuple[tuple[T, float], ...]) -> T:
    """One of the choices, each as likely as the number beside it says."""
    shares = np.array([share for _, share in choices])
    return choices[int(draw.choice(len(choices), p=shares / shares.sum()))][0]


def semitones(degree: int, scale: tuple[int, ...]) -> int:
    """Above the tonic."""
    return 12 * (degree // len(scale)) + scale[degree % len(scale)]


def with_leading_notes(notes: list[int]) -> list[int]:
    """The minor seventh raised where it leads up to the tonic, and the sixth raised with it on the way up."""
    raised = list(notes)
    for place in range(len(notes) - 2, -1, -1):
        here, after = notes[place], raised[place + 1]
        if (here % 12 == 10 and after - here == 2) or (here % 12 == 8 and after - here == 3):
            raised[place] += 1
    return raised


def song(draw: Draw) -> Phrase:
    """A form of phrases, each of four bars, or of two."""
    metre = pick(draw, ((4.0, 0.55), (3.0, 0.25), (2.0, 0.2)))
    bars, ends = RHYTHMS[metre]
    few = [bars[place] for place in draw.choice(len(bars), size=int(draw.integers(1, 4)), replace=False)]
    length = int(draw.choice((2, 4), p=(0.2, 0.8)))
    chromatic = draw.random() < 0.35
    made: dict[str, Phrase] = {}
    whole = Phrase((), (), ())
    form = str(draw.choice(FORMS))
    start = int(draw.choice((0, 2, 4, 7)))
    for place, letter in enumerate(form):
        last = place == len(form) - 1
        if letter not in made:
            made[letter] = phrase_of(draw, few, ends, length, start, full=last or draw.random() < 0.5, chromatic=chromatic)
            if made.keys() > {"A"} and draw.random() < 0.25:  # what is new begins like the first phrase, elsewhere on the scale
                made[letter] = made["A"].moved(int(draw.choice((-2, -1, 1, 2))))
        phrase = made[letter]
        if last and phrase.degrees[-1] % 7 != 0:
            phrase = Phrase((*phrase.degrees[:-1], 7 * round(phrase.degrees[-1] / 7)), phrase.beats, (*phrase.altered[:-1], 0))
        whole = whole + phrase
        start = phrase.degrees[-1]
    return whole


def phrase_of(
    draw: Draw,
    bars: list[tuple[float, ...]],
    ends: tuple[tuple[float, ...], ...],
    length: int,
    start: int,
    *,
    full: bool,
    chromatic: bool,
) -> Phrase:
    """Bars over a progression of chords, ending on the tonic (`full`) or on the way to it."""
    roots = PROGRESSIONS[int(draw.integers(len(PROGRESSIONS)))]
    degrees: list[int] = []
    beats: list[float] = []
    degree = start
    motif: tuple[list[int], tuple[float, ...]] | None = None
    for bar in range(length):
        rhythm = bars[int(draw.integers(len(bars)))] if bar < length - 1 else ends[int(draw.integers(len(ends)))]
        if motif and bar < length - 1 and draw.random() < 0.4:  # the bar before once more, where it was or moved
            move = int(draw.choice((-2, -1, 0, 1, 2), p=(0.1, 0.25, 0.3, 0.25, 0.1)))
            line, rhythm = [min(max(note + move, LOWEST), HIGHEST) for note in motif[0]], motif[1]
        else:
            line = bar_over(draw, roots[bar % 4], degree, rhythm)
        motif = line, rhythm
        degrees += line
        beats += rhythm
        degree = line[-1]
    before = degrees[-2] if len(degrees) > 1 else start
    close = 7 * round(before / 7)
    ends_on = (close,) if full else (close + 1, close + 4, close + 2, close - 1, close - 3)
    degrees[-1] = min(draw.choice(ends_on, size=2), key=lambda degree: abs(degree - before)).item()
    if full and len(degrees) > 1 and draw.random() < 0.7:
        degrees[-2] = close + int(draw.choice((1, -1, 2, -3), p=(0.55, 0.25, 0.1, 0.1)))
    return Phrase(tuple(degrees), tuple(beats), alterations(draw, degrees) if chromatic else (0,) * len(degrees))


def bar_over(draw: Draw, root: int, before: int, rhythm: tuple[float, ...]) -> list[int]:
    """Degrees of a bar: notes of the chord where the beat falls, steps between, and after a leap a step back."""
    line: list[int] = []
    degree, leap, place = before, 0, 0.0
    for beats in rhythm:
        move = int(draw.choice(STEPS, p=STEP_SHARES))
        if abs(leap) >= 2 and draw.random() < 0.6:
            move = -1 if leap > 0 else 1
        aim = degree + move
        if place % 2 == 0 and draw.random() < 0.75:
            aim = min(
                (aim + shift for shift in (0, 1, -1, 2, -2)), key=lambda note: ((note - root) % 7 not in (0, 2, 4), abs(note - aim))
            )
        if not LOWEST <= aim <= HIGHEST:
            aim = degree - move
        leap, degree = aim - degree, min(max(aim, LOWEST), HIGHEST)
        line.append(degree)
        place += beats
    return line


def alterations(draw: Draw, degrees: list[int]) -> tuple[int, ...]:
    """Semitones up or down: a raised fourth before the fifth, a lowered seventh on the way down, a passing or a neighbouring note."""
    altered = [0] * len(degrees)
    for place, (here, after) in enumerate(itertools.pairwise(degrees)):
        if here % 7 == 3 and after - here == 1 and draw.random() < 0.4:
            altered[place] = 1
        elif here % 7 == 6 and after - here == -1 and draw.random() < 0.3:
            altered[place] = -1
        elif here % 7 in (0, 1, 4) and after - here == 1 and draw.random() < 0.05:
            altered[place] = 1
    return tuple(altered)


def turning(draw: Draw, least_notes: int) -> Phrase:
    """A motif of one bar again and again, moved now and then: Carol of the Bells, chimes, music boxes."""
    metre = pick(draw, ((4.0, 0.4), (3.0, 0.4), (2.0, 0.2)))
    bars = [bar for bar in RHYTHMS[metre][0] if len(bar) > 2]
    rhythm = bars[int(draw.integers(len(bars)))]
    line = bar_over(draw, 0, int(draw.choice((0, 2, 4))), rhythm)
    chromatic = draw.random() < 0.35  # moved by semitones instead of degrees: a chromatic line
    degrees: list[int] = []
    altered: list[int] = []
    count = 0
    while count < least_notes:
        move = int(draw.choice((0, 0, 1, 2, -1, -2, 4, -3)))
        for time in range(int(draw.integers(2, 5))):
            fall = -time if chromatic and draw.random() < 0.5 else 0
            degrees += [min(max(note + move, LOWEST), HIGHEST) for note in line]
            altered += [fall] * len(line)
            count += len(line)
    degrees.append(0)
    altered.append(0)
    return Phrase(tuple(degrees), rhythm * (count // len(rhythm)) + (metre,), tuple(altered))


def changes(draw: Draw, least_notes: int) -> Phrase:
    """A few bells in ever other orders: quarters, and the beginning of change ringing."""
    bells = np.sort(draw.choice(np.arange(-3, 9), size=int(draw.integers(4, 9)), replace=False))
    order = bells[::-1].copy()
    plain = draw.random() < 0.5
    degrees: list[int] = []
    beats: list[float] = []
    turn = 0
    while len(degrees) < least_notes:
        degrees += [int(bell) for bell in order]
        beats += [1.0] * (len(order) - 1) + [2.0]
        if plain:  # plain hunt: neighbours change places, beginning with the first or the second by turns
            for place in range(turn % 2, len(order) - 1, 2):
                order[[place, place + 1]] = order[[place + 1, place]]
        else:
            order = draw.permutation(order)
        turn += 1
    return Phrase(tuple(degrees), tuple(beats), (0,) * len(degrees))

"""Festive melodies composed before 1925, as note sequences.

A token is a note's name and octave and, after a colon, its length in beats where that is not 1: `F#5:.5`. Bars are divided by `|`; all but
the first and the last of a line are full ones.
"""

import functools
import itertools
from dataclasses import dataclass

MAJOR = (0, 2, 4, 5, 7, 9, 11)  # semitones above the tonic
MINOR = (0, 2, 3, 5, 7, 8, 10)

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"#": 1, "b": -1}


@dataclass(frozen=True)
class Score:
    """A melody: notes with their lengths, and the key that it is in."""

    name: str
    midi: tuple[int, ...]
    beats: tuple[float, ...]  # from each note's beginning to the next
    tonic: int  # pitch class: 0 is C
    scale: tuple[int, ...] = MAJOR

    def transposed(self, semitones: int) -> "Score":
        """The same melody higher by some semitones."""
        midi = tuple(note + semitones for note in self.midi)
        return Score(self.name, midi, self.beats, (self.tonic + semitones) % 12, self.scale)


# name: (tonic, scale, beats of a bar, lines)
TUNES: dict[str, tuple[str, tuple[int, ...], float, tuple[str, ...]]] = {
    "jingle_bells": ("C", MAJOR, 4, (
        "G4 E5 D5 C5 | G4:3 G4:.5 G4:.5 | G4 E5 D5 C5 | A4:4 | A4 F5 E5 D5 | B4:4 | G5 G5 F5 D5 | E5:4",
        "G4 E5 D5 C5 | G4:4 | G4 E5 D5 C5 | A4:3 A4 | A4 F5 E5 D5 | G5 G5 G5 G5 | A5 G5 F5 D5 | C5:2 G5:2",
        "E5 E5 E5:2 | E5 E5 E5:2 | E5 G5 C5:1.5 D5:.5 | E5:4 | F5 F5 F5:1.5 F5:.5 | F5 E5 E5 E5:.5 E5:.5 | E5 D5 D5 E5 | D5:2 G5:2",
        "E5 E5 E5:2 | E5 E5 E5:2 | E5 G5 C5:1.5 D5:.5 | E5:4 | F5 F5 F5:1.5 F5:.5 | F5 E5 E5 E5:.5 E5:.5 | G5 G5 F5 D5 | C5:4",
    )),
    "carol_of_the_bells": ("G", MINOR, 3, (
        "Bb4 A4:.5 Bb4:.5 G4 | Bb4 A4:.5 Bb4:.5 G4 | Bb4 A4:.5 Bb4:.5 G4 | Bb4 A4:.5 Bb4:.5 G4",
        "D5 C5:.5 D5:.5 Bb4 | D5 C5:.5 D5:.5 Bb4 | D5 C5:.5 D5:.5 Bb4 | D5 C5:.5 D5:.5 Bb4",
        "G5 G5:.5 G5:.5 F5:.5 Eb5:.5 | D5 D5:.5 D5:.5 C5:.5 Bb4:.5 | C5 C5:.5 C5:.5 D5:.5 C5:.5 | G4 G4:.5 G4:.5 G4",
        "D4:.5 E4:.5 F#4:.5 G4:.5 A4:.5 Bb4:.5 | C5:.5 D5:.5 C5 Bb4 | D4:.5 E4:.5 F#4:.5 G4:.5 A4:.5 Bb4:.5 | C5:.5 D5:.5 C5 Bb4",
        "Bb4 A4:.5 Bb4:.5 G4 | Bb4 A4:.5 Bb4:.5 G4 | G4:3",
    )),
    "ding_dong_merrily": ("G", MAJOR, 4, (
        "G5 G5 A5:.5 G5:.5 F#5:.5 E5:.5 | D5:3 D5 | E5 G5 G5 F#5 | G5:2 G5:2",
        "G5 G5 A5:.5 G5:.5 F#5:.5 E5:.5 | D5:3 D5 | E5 G5 G5 F#5 | G5:2 G5:2",
        "D6:1.5 C6:.5 B5:.5 C6:.5 D6:.5 B5:.5 | C6:1.5 B5:.5 A5:.5 B5:.5 C6:.5 A5:.5 | B5:1.5 A5:.5 G5:.5 A5:.5 B5:.5 G5:.5",
        "A5:1.5 G5:.5 F#5:.5 G5:.5 A5:.5 F#5:.5 | G5:1.5 F#5:.5 E5:.5 F#5:.5 G5:.5 E5:.5 | F#5:1.5 E5:.5 D5 D5 | E5 G5 G5 F#5 | G5:4",
    )),
    "joy_to_the_world": ("D", MAJOR, 2, (
        "D6 C#6:.75 B5:.25 | A5:1.5 G5:.5 | F#5 E5 | D5:1.5 A5:.5 | B5:1.5 B5:.5 | C#6:1.5 C#6:.5 | D6:1.5 D6:.5",
        "D6:.5 C#6:.5 B5:.5 A5:.5 | A5:.75 G5:.25 F#5:.5 D6:.5 | D6:.5 C#6:.5 B5:.5 A5:.5 | A5:.75 G5:.25 F#5:.5 F#5:.5",
        "F#5:.5 F#5:.5 F#5:.5 F#5:.25 G5:.25 | A5:1.5 G5:.25 F#5:.25 | E5:.5 E5:.5 E5:.5 E5:.25 F#5:.25 | G5:1.5 F#5:.25 E5:.25",
        "D5:.5 D6 B5:.5 | A5:.75 G5:.25 F#5:.5 G5:.5 | F#5 E5 | D5:2",
    )),
    "deck_the_halls": ("F", MAJOR, 4, (
        "C6:1.5 Bb5:.5 A5 G5 | F5 G5 A5 F5 | G5:.5 A5:.5 Bb5:.5 G5:.5 A5:1.5 G5:.5 | F5 E5 F5:2",
        "C6:1.5 Bb5:.5 A5 G5 | F5 G5 A5 F5 | G5:.5 A5:.5 Bb5:.5 G5:.5 A5:1.5 G5:.5 | F5 E5 F5:2",
        "G5:1.5 A5:.5 Bb5 G5 | A5:1.5 Bb5:.5 C6 G5 | A5:.5 B5:.5 C6 D6:.5 E6:.5 F6 | E6 D6 C6:2",
        "C6:1.5 Bb5:.5 A5 G5 | F5 G5 A5 F5 | D6:.5 D6:.5 D6:.5 D6:.5 C6:1.5 Bb5:.5 | A5 G5 F5:2",
    )),
    "god_rest_ye": ("E", MINOR, 4, (
        "E5 | E5 B5 B5 A5 | G5 F#5 E5 D5 | E5 F#5 G5 A5 | B5:3",
        "E5 | E5 B5 B5 A5 | G5 F#5 E5 D5 | E5 F#5 G5 A5 | B5:3",
        "B5 | C6 A5 B5 C6 | D6 E6 B5 A5 | G5 E5 F#5 G5 | A5:2 G5 A5 | B5:2 C6 B5 | B5 A5 G5 F#5",
        "E5:2 G5:.5 F#5:.5 E5 | A5:2 G5 A5 | B5 C6 D6 E6 | B5 A5 G5 F#5 | E5:3",
    )),
    "good_king_wenceslas": ("G", MAJOR, 4, (
        "G5 G5 G5 A5 | G5 G5 D5:2 | E5 D5 E5 F#5 | G5:2 G5:2",
        "G5 G5 G5 A5 | G5 G5 D5:2 | E5 D5 E5 F#5 | G5:2 G5:2",
        "D6 C6 B5 A5 | B5 A5 G5:2 | E5 D5 E5 F#5 | G5:2 G5:2",
        "D5 D5 E5 F#5 | G5 G5 A5:2 | D6 C6 B5 A5 | G5:2 C6:2 | G5:4",
    )),
    "hark_the_herald": ("F", MAJOR, 4, (
        "C5 F5 F5:1.5 E5:.5 | F5 A5 A5 G5 | C6 C6 C6:1.5 Bb5:.5 | A5 G5 A5:2",
        "C5 F5 F5:1.5 E5:.5 | F5 A5 A5 G5 | C6 G5 G5:1.5 E5:.5 | E5 D5 C5:2",
        "C6 C6 C6 F5 | Bb5 A5 A5 G5 | C6 C6 C6 F5 | Bb5 A5 A5 G5 | D6 D6 D6 C6 | Bb5 A5 Bb5:2",
        "G5 A5:.5 Bb5:.5 C6:1.5 F5:.5 | F5 G5 A5:2 | D6:1.5 D6:.5 D6 C6 | Bb5 A5 Bb5:2 | G5 A5:.5 Bb5:.5 C6:1.5 F5:.5 | F5 G5 F5:2",
    )),
    "o_come_all_ye_faithful": ("G", MAJOR, 4, (
        "G5 | G5:2 D5 G5 | A5:2 D5:2 | B5 A5 B5 C6 | B5:2 A5 G5 | G5:2 F#5 E5 | F#5 G5 A5 B5 | F#5:2 E5:1.5 D5:.5 | D5:4",
        "D6:2 C6 B5 | C6:2 B5:2 | A5 B5 G5 A5 | F#5:1.5 E5:.5 D5 G5 | G5 F#5 G5 A5 | G5:2 D5 B5 | B5 A5 B5 C6 | B5:2 A5 B5",
        "C6 B5 A5 G5 | F#5:2 G5 C6 | B5:2 A5:1.5 G5:.5 | G5:3",
    )),
    "silent_night": ("C", MAJOR, 3, (
        "G5:.75 A5:.25 G5:.5 E5:1.5 | G5:.75 A5:.25 G5:.5 E5:1.5 | D6 D6:.5 B5:1.5 | C6 C6:.5 G5:1.5",
        "A5 A5:.5 C6:.75 B5:.25 A5:.5 | G5:.75 A5:.25 G5:.5 E5:1.5 | A5 A5:.5 C6:.75 B5:.25 A5:.5 | G5:.75 A5:.25 G5:.5 E5:1.5",
        "D6 D6:.5 F6:.75 D6:.25 B5:.5 | C6:1.5 E6:1.5 | C6:.75 G5:.25 E5:.5 G5:.75 F5:.25 D5:.5 | C5:3",
    )),
    "i_heard_the_bells": ("Eb", MAJOR, 4, (
        "Eb5 | G5:1.5 F5:.5 G5 G5 | Ab5:1.5 G5:.5 Ab5 A5 | Bb5 Eb6 D6 C6 | C6:1.5 Bb5:.5 Bb5 Bb5",
        "Bb5:1.5 Ab5:.5 G5 Ab5 | G5:1.5 F5:.5 Eb5 F5 | G5 Ab5 Bb5 C6 | D5:1.5 F5:.5 Eb5",
    )),
    "angels_we_have_heard": ("F", MAJOR, 4, (
        "A5 A5 A5 C6 | C6:1.5 Bb5:.5 A5:2 | A5 G5 A5 C6 | A5:1.5 G5:.5 F5:2",
        "A5 A5 A5 C6 | C6:1.5 Bb5:.5 A5:2 | A5 G5 A5 C6 | A5:1.5 G5:.5 F5:2",
        "C6:2 D6:.5 C6:.5 Bb5:.5 A5:.5 | Bb5:2 C6:.5 Bb5:.5 A5:.5 G5:.5 | A5:2 Bb5:.5 A5:.5 G5:.5 F5:.5 | G5:1.5 C5:.5 C5:2",
        "F5 G5 A5 Bb5 | A5:2 G5:2",
        "C6:2 D6:.5 C6:.5 Bb5:.5 A5:.5 | Bb5:2 C6:.5 Bb5:.5 A5:.5 G5:.5 | A5:2 Bb5:.5 A5:.5 G5:.5 F5:.5 | G5:1.5 C5:.5 C5:2",
        "F5 G5 A5 Bb5 | A5:2 G5:2 | F5:4",
    )),
    "in_dulci_jubilo": ("F", MAJOR, 3, (
        "F5:.5 | F5 F5:.5 A5 Bb5:.5 | C6 D6:.5 C6 F5:.5 | F5 F5:.5 A5 Bb5:.5 | C6 D6:.5 C6:1.5",
        "C6 D6:.5 C6 Bb5:.5 | A5:1.5 F5 F5:.5 | G5 G5:.5 A5 G5:.5 | F5 G5:.5 A5 A5:.5",
        "C6 D6:.5 C6 Bb5:.5 | A5:1.5 F5 F5:.5 | G5 G5:.5 A5 G5:.5 | F5 G5:.5 A5:1.5",
        "D5 D5:.5 E5 E5:.5 | F5:1.5 C6:1.5 | A5 A5:.5 G5 G5:.5 | F5:3",
    )),
    "sugar_plum_fairy": ("E", MINOR, 2, (
        "G5:.25 E5:.25 | G5 F#5 | D#5 E5 | D5:.5 D5:.5 D5 | C#5:.5 C#5:.5 C#5 | C5:.5 C5:.5 C5 | B4:.5 E5:.5 C5:.5 E5:.5 | B4:2",
        "G5:.25 E5:.25 | G5 F#5 | D#5 E5 | D5:.5 D5:.5 D5 | C#5:.5 C#5:.5 C#5 | C5:.5 C5:.5 C5 | B4:.5 E5:.5 C5:.5 E5:.5 | B4:2",
    )),
    "westminster_quarters": ("E", MAJOR, 5, (
        "G#4 F#4 E4 B3:2",
        "E4 G#4 F#4 B3:2 | E4 F#4 G#4 E4:2",
        "G#4 E4 F#4 B3:2 | B3 F#4 G#4 E4:2 | G#4 F#4 E4 B3:2",
        "E4 G#4 F#4 B3:2 | E4 F#4 G#4 E4:2 | G#4 E4 F#4 B3:2 | B3 F#4 G#4 E4:2",
    )),
}  # fmt: skip

# A training never hears these, in no key; what it makes of them says how it hears a melody that it does not know.
UNSEEN = (
    "ding_dong_merrily",
    "god_rest_ye",
    "hark_the_herald",
    "i_heard_the_bells",
    "angels_we_have_heard",
    "in_dulci_jubilo",
    "sugar_plum_fairy",
)
KNOWN = tuple(name for name in TUNES if name not in UNSEEN)


def stretches(midi: tuple[int, ...], notes: int) -> set[tuple[int, ...]]:
    """The intervals of every so many notes in a row, in semitones: what two melodies have in common in whatever key."""
    steps = [after - before for before, after in itertools.pairwise(midi)]
    return {tuple(steps[first : first + notes - 1]) for first in range(len(midi) - notes + 1)}


@functools.cache
def tune(name: str) -> Score:
    """A melody by its name. Raises KeyError for one that is not in TUNES."""
    tonic, scale, _, _ = TUNES[name]
    midi, beats = zip(*itertools.chain(*lines_of(name)), strict=True)
    return Score(name, midi, beats, pitch_class(tonic), scale)


def lines_of(name: str) -> list[list[tuple[int, float]]]:
    """The lines of a melody as notes: MIDI number and beats."""
    return [[parsed(token) for token in line.replace("|", " ").split()] for line in TUNES[name][3]]


def parsed(token: str) -> tuple[int, float]:
    """`F#5:.5` to MIDI number and beats."""
    note, _, beats = token.partition(":")
    return 12 * (int(note[-1]) + 1) + pitch_class(note[:-1], wrapped=False), float(beats or 1)


def pitch_class(name: str, *, wrapped: bool = True) -> int:
    """Semitones above C of a note's name; Cb is -1 unless it is wrapped into the octave."""
    semitones = LETTERS[name[0]] + sum(ACCIDENTALS[sign] for sign in name[1:])
    return semitones % 12 if wrapped else semitones

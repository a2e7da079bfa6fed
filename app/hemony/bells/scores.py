"""Pieces by name: the festive melodies, a composed one, and Hot Chilli Bells 100."""

import numpy as np

from hemony.bells import composer
from hemony.bells.tunes import KNOWN, MAJOR, TUNES, Score, lines_of, tune
from hemony.datasets.seeding import derived_seed

HOT_CHILLI_BELLS_100 = "hot_chilli_bells_100"
COMPOSED = "composed"
NAMES = (HOT_CHILLI_BELLS_100, COMPOSED, *TUNES)
NOTES = 100
MIDDLE_MIDI = 77  # of every line of it
FINALE = "jingle_bells"  # whose last line ends every Hot Chilli Bells


def score(name: str, seed: int) -> Score:
    """A piece by its name; the seed counts where a piece is drawn. Raises KeyError for a name that is not in NAMES."""
    draw = np.random.default_rng(derived_seed(seed, "score"))
    if name == HOT_CHILLI_BELLS_100:
        return hot_chilli_bells_100(draw)
    return composer.compose(draw) if name == COMPOSED else tune(name)


def hot_chilli_bells_100(draw: np.random.Generator) -> Score:
    """Exactly 100 notes: lines of the known melodies in major, all in C, in a drawn order, and the last line of Jingle Bells."""
    lines = [line for name in KNOWN if TUNES[name][1] == MAJOR for line in lines_in_c(name)]
    finale = lines_in_c(FINALE)[-1]
    chosen = adding_up(NOTES - len(finale), [lines[place] for place in draw.permutation(len(lines))])
    midi, beats = zip(*(note for line in (*chosen, finale) for note in line), strict=True)
    return Score(HOT_CHILLI_BELLS_100, midi, beats, 0)


def lines_in_c(name: str) -> list[list[tuple[int, float]]]:
    """The lines of a melody as notes (MIDI, beats), moved to the C at which it lies nearest to the middle of the piece."""
    given = tune(name)
    middle = sum(given.midi) / len(given.midi)
    up = min(range(-given.tonic - 24, 25, 12), key=lambda move: abs(middle + move - MIDDLE_MIDI))
    return [[(midi + up, beats) for midi, beats in line] for line in lines_of(name)]


def adding_up(total: int, lines: list[list[tuple[int, float]]]) -> list[list[tuple[int, float]]]:
    """The first lines in the order given whose notes are `total` together, none twice."""
    if total == 0:
        return []
    for place, line in enumerate(lines):
        if len(line) <= total:
            rest = adding_up(total - len(line), lines[place + 1 :])
            if len(line) + sum(map(len, rest)) == total:
                return [line, *rest]
    return []

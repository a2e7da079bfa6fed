"""The grid of semitones on which a recording lies, from the pitches of its notes alone."""

import numpy as np

from hemony.bells.notes import Values

SEARCH_CENTS = 0.5  # between the places that are tried first
SEARCH_WIDTH_CENTS = 4.0  # of the bells that are laid over the notes to find the place
REFINE_WIDTH_CENTS = 6.0  # and to refine it
ROUNDS = 5


def grid_cents(midi: Values) -> float:
    """How far the semitones of notes (N,), MIDI numbers with fractions, lie above those of the keyboard: -50 to 50 cents.

    The mode of the notes' places between two semitones, by a kernel density on a circle of 100 cents: notes that are far off count for
    nothing, where a mean would be drawn by them. Then the mean of the notes near it, weighted by how near they are. 0 for no notes.
    """
    if not len(midi):
        return 0.0
    places = 100 * (np.asarray(midi, dtype=np.float64) % 1)
    tried = np.arange(0, 100, SEARCH_CENTS)
    centre = float(tried[closeness(places, tried[:, None], SEARCH_WIDTH_CENTS).sum(axis=1).argmax()])
    for _ in range(ROUNDS):
        weights = closeness(places, np.array(centre), REFINE_WIDTH_CENTS)
        centre += float((weights * wrapped_cents(places - centre)).sum() / weights.sum())
    return float(wrapped_cents(np.array(centre)))


def closeness(places: Values, centre: Values, width_cents: float) -> Values:
    """1 at the centre, falling as a Gaussian bell on the circle of 100 cents."""
    near: Values = np.exp(-0.5 * (wrapped_cents(places - centre) / width_cents) ** 2)
    return near


def wrapped_cents(cents: Values) -> Values:
    """The same place between two semitones, from -50 up to 50 cents."""
    wrapped: Values = (cents + 50) % 100 - 50
    return wrapped

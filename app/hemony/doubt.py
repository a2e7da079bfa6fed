"""Which pitch each note of a melody has, where the ear alone cannot say: what it heard in each, and how well that suits the others.

The ear names a few pitches a note, each with its share; the sense of melody, how much more probable each of them is in this melody than a
pitch that was misheard. Both are likelihoods, and their product decides (Bayes), in which the
melody's counts SUITS: what it says of several notes is not independent. A note is tried with each pitch while those beside it stay as
they are: one of BESIDE doubted notes at a time, and what is decided of them is the company of the next ones and of a second round.
"""

import numpy as np
import numpy.typing as npt
import torch

from hemony.bells.grid import grid_cents
from hemony.bells.notes import Values
from hemony.models.melody import MelodyNetwork

ALTERNATIVES = 4  # pitches a note
SURE = 0.9  # share of a pitch from which its note is not doubted
LEAST_SHARE = 0.03  # of a pitch that is tried
SUITS = 0.5  # of what the sense of melody says beside what the ear says; chosen by composed tunes
ROUNDS = 2
BESIDE = 3  # of so many doubted notes one is tried at a time
NOTES_ASKED, COMPANY = 100, 24  # that are asked in one line, and those on either side
FEWEST = 8  # notes that make a melody

Places = npt.NDArray[np.int64]


def chosen(network: MelodyNetwork, might_be: Values, shares: Values, step_s: Values) -> tuple[Values, Values]:
    """Pitches (N,) and how probable they are (N,), of those that notes might have (N, ALTERNATIVES), MIDI, with their shares, most first.

    `step_s` (N,): time to the next note.
    """
    count = len(might_be)
    pick, probability = np.zeros(count, np.int64), shares[:, 0].copy()
    doubted = np.flatnonzero((shares[:, 0] < SURE) & (shares[:, 1] >= LEAST_SHARE))
    if count < FEWEST or not len(doubted):
        return might_be[:, 0], probability
    semitones = might_be - grid_cents(might_be[:, 0]) / 100
    for turn in range(ROUNDS * BESIDE):
        for first in range(0, count, NOTES_ASKED):
            asked = doubted[turn % BESIDE :: BESIDE]
            asked = asked[(asked >= first) & (asked < first + NOTES_ASKED)]
            if not len(asked):
                continue
            begin, end = max(0, first - COMPANY), first + NOTES_ASKED + COMPANY
            tried = np.where(shares[asked] >= LEAST_SHARE, np.arange(ALTERNATIVES), pick[asked, None])
            suits = suiting(network, semitones[begin:end], pick[begin:end], step_s[begin:end], asked - begin, tried)
            odds = np.where(shares[asked] >= LEAST_SHARE, np.log(shares[asked] + 1e-12) + SUITS * suits, -np.inf)
            pick[asked] = odds.argmax(axis=1)
            probability[asked] = 1 / np.exp(odds - odds.max(axis=1, keepdims=True)).sum(axis=1)
    return might_be[np.arange(count), pick], probability


def suiting(network: MelodyNetwork, semitones: Values, pick: Places, step_s: Values, asked: Places, tried: Places) -> Values:
    """How well the alternatives `tried` (M, ALTERNATIVES) of the notes `asked` (M,) suit the others as they are picked."""
    picks = np.tile(pick, (ALTERNATIVES, 1))
    picks[:, asked] = tried.T
    lines = torch.from_numpy(semitones[np.arange(len(pick)), picks]).float()
    found: Values = network.suiting(lines, torch.from_numpy(step_s).float().expand_as(lines)).double().numpy()[:, asked].T
    return found

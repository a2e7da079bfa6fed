"""What is decided of a note between the ear and the melody."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hemony import doubt
from hemony.doubt import FEWEST, SUITS, chosen

PLACE, WRONG, RIGHT = 12, 66.0, 72.0


class Likes:
    """Stands for a network: the pitch that note PLACE of a melody should have suits it, as `favour` says; all others are alike."""

    def __init__(self, favour: float) -> None:
        self.favour = favour

    def suiting(self, semitones: Tensor, step_s: Tensor) -> Tensor:
        assert semitones.shape == step_s.shape
        return torch.where(semitones.round() == RIGHT, self.favour, 0.0)


def heard(count: int, first: float, second: float) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Notes that the ear is sure of, but for one that it names WRONG."""
    might_be = np.tile([60.0, 61.0, 62.0, 63.0], (count, 1))
    shares = np.tile([0.97, 0.01, 0.01, 0.01], (count, 1))
    might_be[PLACE, :2], shares[PLACE] = (WRONG, RIGHT), (first, second, 0.01, 0.01)
    return might_be, shares


@pytest.mark.parametrize("count", [20, 350])
def test_a_pitch_that_suits_the_melody_is_preferred_as_bayes_has_it(count: int) -> None:
    might_be, shares = heard(count, 0.7, 0.25)
    odds = 0.25 / 0.7
    for favour in (0.0, 1.0, 4.0):
        midi, probability = chosen(Likes(favour), might_be, shares, np.full(count, 0.3))  # type: ignore[arg-type]
        there = odds * np.exp(SUITS * favour)
        assert midi[PLACE] == (RIGHT if there > 1 else WRONG)
        assert probability[PLACE] == pytest.approx(max(there, 1) / (1 + there))
        others = np.arange(count) != PLACE
        assert (midi[others] == 60).all()
        assert (probability[others] == 0.97).all()


def test_who_is_sure_is_not_asked_and_what_is_hardly_heard_is_not_tried() -> None:
    for first, second in ((0.95, 0.04), (0.7, doubt.LEAST_SHARE / 2)):
        might_be, shares = heard(20, first, second)
        midi, _ = chosen(Likes(30.0), might_be, shares, np.full(20, 0.3))  # type: ignore[arg-type]
        assert midi[PLACE] == WRONG


def test_a_few_notes_are_no_melody() -> None:
    might_be, shares = heard(20, 0.7, 0.25)
    few = slice(PLACE, PLACE + FEWEST - 1)
    midi, _ = chosen(Likes(30.0), might_be[few], shares[few], np.full(FEWEST - 1, 0.3))  # type: ignore[arg-type]
    assert midi[0] == WRONG
    nothing, _ = chosen(Likes(30.0), might_be[:0], shares[:0], np.zeros(0))  # type: ignore[arg-type]
    assert nothing.shape == (0,)


def test_notes_side_by_side_are_tried_one_at_a_time() -> None:
    """Each of two doubted notes suits the other, at WRONG or at RIGHT: the ear, which leans to RIGHT in one of them, decides both."""

    class Company:
        def suiting(self, semitones: Tensor, step_s: Tensor) -> Tensor:
            after = torch.roll(semitones, -1, dims=1)
            before = torch.roll(semitones, 1, dims=1)
            near = torch.minimum((semitones - after).abs(), (semitones - before).abs())
            return torch.where(near < 0.5, 6.0, 0.0)

    might_be, shares = heard(20, 0.6, 0.35)
    might_be[PLACE + 1, :2], shares[PLACE + 1] = (RIGHT, WRONG), (0.75, 0.2, 0.03, 0.02)
    midi, _ = chosen(Company(), might_be, shares, np.full(20, 0.3))  # type: ignore[arg-type]
    assert midi[PLACE] == RIGHT

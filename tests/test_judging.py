"""Judging what was heard of a melody, on notes written by hand."""

import dataclasses

import numpy as np
import pytest

from hemony.bells.judging import bootstrap, figures, judge
from hemony.bells.notes import Notes


def notes(rows: list[tuple[float, int, float]], tuning_cents: float = 0.0, confidence: float = 1.0) -> Notes:
    onset_s, midi, cents = (
        (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    )
    count = len(rows)
    return Notes(onset_s, midi.astype(np.int64), cents, np.full(count, confidence), np.full(count, -20.0), tuning_cents)


TRUTH = notes([(0.0, 72, 3.0), (0.5, 74, -60.0), (1.0, 76, 30.0), (1.5, 77, 0.0), (2.0, 79, -100.0)], tuning_cents=10.0)


def test_the_truth_itself_is_heard_perfectly() -> None:
    result = figures([judge(TRUTH, TRUTH)])
    assert result["notes"] == 5
    assert result["off_notes"] == 2
    for name in ("onset_f1", "intended_clear", "intended_off", "pitch_class", "octave", "flag_f1"):
        assert result[name] == 1, name
    for name in ("deviation_median_cents", "deviation_p95_cents", "gross_share", "tuning_median_cents", "ece"):
        assert result[name] == 0, name
    assert result["tuning_oracle_median_cents"] == pytest.approx(1.5)  # the mean of 3 and 0: what the notes in tune say


def test_a_missed_note_a_spurious_one_and_a_late_one() -> None:
    heard = notes([(0.02, 72, 3.0), (0.56, 74, -60.0), (1.0, 76, 30.0), (1.5, 77, 0.0), (1.75, 80, 40.0)], tuning_cents=10.0)
    result = figures([judge(TRUTH, heard)])
    assert result["onset_f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 2))  # 0.56 is 60 ms late
    assert result["intended_clear"] == 1
    assert result["intended_off"] == 0
    assert result["flag_f1"] == pytest.approx(2 * 1 / (3 + 3))  # 76 was called rightly, 74 and 80 at places where there is nothing


def test_a_wrong_name_an_octave_and_a_wrong_pitch() -> None:
    heard = notes([(0.0, 84, 3.0), (0.5, 73, 40.0), (1.0, 76, 30.0), (1.5, 77, 25.0), (2.0, 79, -100.0)], tuning_cents=10.0)
    result = figures([judge(TRUTH, heard)])
    assert result["intended_clear"] == pytest.approx(2 / 3)  # 84 is an octave too high
    assert result["intended_off"] == pytest.approx(1 / 2)
    assert result["pitch_class"] == pytest.approx(4 / 5)
    assert result["octave"] == pytest.approx(3 / 4)
    assert result["gross_share"] == pytest.approx(1 / 3)  # 77 is 25 cents from the truth


def test_one_offset_in_a_recording_is_no_error_of_the_deviations() -> None:
    shifted = dataclasses.replace(TRUTH, deviation_cents=TRUTH.deviation_cents + 4, tuning_cents=TRUTH.tuning_cents - 4)
    result = figures([judge(TRUTH, shifted)])
    assert result["deviation_p95_cents"] == pytest.approx(0, abs=1e-9)
    assert result["tuning_median_cents"] == pytest.approx(4)


@pytest.mark.parametrize("turn", [-1, 1])
def test_a_semitone_more_and_a_tuning_of_100_cents_less_are_the_same_answer(turn: int) -> None:
    near_the_edge = dataclasses.replace(TRUTH, tuning_cents=-49.0 * turn)
    heard = dataclasses.replace(TRUTH, intended_midi=TRUTH.intended_midi - turn, tuning_cents=100.0 * turn - 49.0 * turn - 2 * turn)
    result = figures([judge(near_the_edge, heard)])
    assert result["intended_clear"] == result["intended_off"] == 1
    assert result["tuning_median_cents"] == pytest.approx(2)


def test_a_semitone_more_with_the_same_tuning_is_wrong() -> None:
    heard = dataclasses.replace(TRUTH, intended_midi=TRUTH.intended_midi + 1)
    assert figures([judge(TRUTH, heard)])["intended_clear"] == 0


def test_confidence_is_compared_with_how_often_it_is_right() -> None:
    heard = notes([(0.0, 72, 3.0), (0.5, 73, 40.0), (1.0, 76, 30.0), (1.5, 78, -100.0), (2.0, 79, -100.0)], 10.0, confidence=0.8)
    assert figures([judge(TRUTH, heard)])["ece"] == pytest.approx(0.2)  # 3 of 5 are right


def test_nothing_heard_and_nothing_there() -> None:
    nothing = notes([])
    result = figures([judge(TRUTH, nothing)])
    assert result["onset_f1"] == result["intended_clear"] == result["flag_f1"] == 0
    assert np.isnan(result["deviation_median_cents"])
    assert np.isnan(result["ece"])
    assert figures([judge(nothing, TRUTH)])["onset_f1"] == 0
    assert np.isnan(figures([judge(nothing, nothing)])["onset_f1"])


def test_the_bootstrap_draws_tunes_not_recordings() -> None:
    wrong = dataclasses.replace(TRUTH, intended_midi=TRUTH.intended_midi + 2)

    def clear(recordings: object) -> float:
        return figures(recordings)["intended_clear"]  # type: ignore[arg-type]

    alike = [judge(TRUTH, heard, "one tune") for heard in (TRUTH, wrong) for _ in range(10)]
    assert bootstrap(alike, clear) == (0.5, 0.5)
    different = [judge(TRUTH, heard, str(place)) for place, heard in enumerate([TRUTH, wrong] * 10)]
    low, high = bootstrap(different, clear)
    assert 0.2 < low < 0.4
    assert 0.6 < high < 0.8

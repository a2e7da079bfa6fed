"""The sense of melody: what must not matter to it, what must, and what it is trained on."""

import numpy as np
import pytest
import torch

from hemony.bells.grid import grid_cents, wrapped_cents
from hemony.bells.tunes import KNOWN, UNSEEN, stretches, tune
from hemony.config import MelodyConfig
from hemony.datasets.bell_melodies import UNKNOWN, Melodies, answered, mistuned_cents
from hemony.models.melody import build
from hemony.models.sense import ANSWERS, FURTHEST, LOOK_AHEAD, MISHEARD, MelodySense, settled


def sense() -> MelodySense:
    torch.manual_seed(0)
    return MelodySense(width=32, layers=2, heads=4, dropout=0.0).eval()


def some_line(count: int = 30) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    semitones = 60 + torch.randint(25, (2, count), generator=draw) + torch.randint(-3, 4, (2, count), generator=draw) / 8
    return semitones, 0.1 + torch.rand((2, count), generator=draw), torch.ones(2, count, dtype=torch.bool)


@pytest.mark.parametrize("move", [-12, -1, 5, 24])
def test_a_tune_is_heard_alike_in_every_key(move: int) -> None:
    semitones, step_s, there = some_line()
    network = sense()
    assert torch.allclose(network(semitones, step_s, there), network(semitones + move, step_s, there), rtol=0, atol=1e-5)


def test_a_tune_is_heard_alike_at_every_tempo() -> None:
    semitones, step_s, there = some_line()
    network = sense()
    assert torch.allclose(network(semitones, step_s, there), network(semitones, step_s * 2.5, there), rtol=0, atol=1e-4)


def test_padding_says_nothing() -> None:
    semitones, step_s, there = some_line()
    network = sense()
    there[:, 20:] = False
    for streaming in (False, True):
        alone = network(semitones[:, :20], step_s[:, :20], there[:, :20], streaming)
        semitones[:, 20:], step_s[:, 20:] = 3.0, 9.0
        assert torch.allclose(network(semitones, step_s, there, streaming)[:, :20], alone, rtol=0, atol=1e-5)


def test_a_stream_waits_for_one_note_and_no_more() -> None:
    semitones, step_s, there = some_line()
    network = sense()
    before = network(semitones, step_s, there, streaming=True)
    changed = semitones.clone()
    changed[:, 20:] += 1.3
    after = network(changed, step_s, there, streaming=True)
    assert torch.equal(before[:, : 20 - LOOK_AHEAD], after[:, : 20 - LOOK_AHEAD])
    assert not torch.equal(before[:, 20 - LOOK_AHEAD], after[:, 20 - LOOK_AHEAD])
    later = step_s.clone()
    later[:, 20 - LOOK_AHEAD :] *= 3  # when the notes after the next one come
    assert torch.equal(network(semitones, later, there, streaming=True)[:, : 20 - LOOK_AHEAD], before[:, : 20 - LOOK_AHEAD])
    whole = network(changed, step_s, there) - network(semitones, step_s, there)
    assert whole[:, 0].abs().max() > 0


def test_what_is_certain_moves_to_its_answer_and_is_not_asked_again() -> None:
    semitones = torch.tensor([[60.4, 64.9, 67.1, 72.4]])
    logits = torch.zeros(1, 4, ANSWERS + 1)
    logits[0, 0, FURTHEST + 1] = logits[0, 1, FURTHEST] = 20.0  # an answer each; nothing is known of the third
    logits[0, 3, MISHEARD] = 20.0  # a certain answer, but not where the note belongs
    moved, certain = settled(semitones, logits)
    assert certain.tolist() == [[True, True, False, False]]
    assert torch.equal(moved, torch.tensor([[61.0, 65.0, semitones[0, 2], semitones[0, 3]]]))


def test_a_second_hearing_changes_uncertain_answers_alone() -> None:
    torch.manual_seed(0)
    network = build(MelodyConfig(ear_width=8, sense_width=16, sense_layers=1)).eval()
    semitones, step_s, there = some_line()
    with torch.no_grad():
        network.sense.head.weight.mul_(20)  # so that some answers are certain
        first = network.sense(semitones, step_s, there)
    certain = settled(semitones, first)[1]
    assert certain.any()
    assert not certain.all()
    meant = network.meant(semitones, step_s)
    first = first[..., :ANSWERS]
    assert torch.equal(meant[certain], first[certain])
    assert (meant[~certain] != first[~certain]).any(dim=1).all()
    streamed = network.sense(semitones, step_s, there, streaming=True)
    assert torch.equal(network.meant(semitones, step_s, streaming=True), streamed[..., :ANSWERS])


def test_every_parameter_has_a_gradient() -> None:
    network = sense().train()
    semitones, step_s, there = some_line()
    network(semitones, step_s, there).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("tuning_cents", [-50.0, -33.0, 0.0, 20.5, 49.0])
def test_the_grid_is_found_among_notes_that_are_off(tuning_cents: float) -> None:
    draw = np.random.default_rng(0)
    midi = draw.integers(60, 90, 100).astype(float)
    cents = np.where(draw.random(100) < 0.2, draw.uniform(50, 100, 100), draw.normal(0, 5, 100))
    error = wrapped_cents(np.array(grid_cents(midi + (cents + tuning_cents) / 100) - tuning_cents))
    assert abs(error) < 2.0  # the mean of all would be 15 cents too high
    assert -50 <= grid_cents(midi + (cents + tuning_cents) / 100) < 50


def test_answers_lead_from_the_nearest_semitone_to_what_was_meant() -> None:
    meant = np.array([60.0, 62, 64, 65, 67, 69, 71, 72, 60, 62])
    cents = np.array([3.0, -70, 0, 100, -100, 45, 2, -3, 0, 340])
    semitones, answers = answered(meant + cents / 100 + 0.3, meant)
    steps = np.where(answers == UNKNOWN, np.nan, answers - FURTHEST)
    assert steps[:9].tolist() == [0, 1, 0, -1, 1, 0, 0, 0, 0]
    assert np.isnan(steps[9])  # further off than there are answers
    turn = round(float(np.median(np.round(semitones) - meant)))
    assert np.abs(np.round(semitones[:9]) + steps[:9] - turn - meant[:9]).max() == 0


def test_the_edge_between_two_semitones_changes_no_answer() -> None:
    meant = np.arange(60.0, 80.0)
    for tuning in (0.495, 0.5, 0.505, -0.495):
        _, answers = answered(meant + tuning, meant)
        assert (answers == FURTHEST).all(), tuning


def test_training_lines_are_what_they_claim_to_be() -> None:
    lines = Melodies(0).lines(64, 80, np.random.default_rng(0))
    assert lines.semitones.shape == lines.answers.shape == (64, 80)
    asked = lines.answers != UNKNOWN
    assert not (asked & ~lines.there).any()
    assert lines.answers[asked].min() >= 0
    assert lines.answers[asked].max() == MISHEARD
    misheard = lines.answers == MISHEARD
    assert 0.04 < misheard.sum() / asked.sum() < 0.08
    away = [
        semitones[wrong] - semitones[there & ~wrong].median()
        for semitones, wrong, there in zip(lines.semitones, misheard, lines.there, strict=True)
    ]
    assert 3 < torch.cat(away).std() < 9  # anywhere in the compass of the melody
    asked &= ~misheard
    as_they_sound = (lines.answers[asked] == FURTHEST).float().mean()
    assert 0.7 < as_they_sound < 0.9  # the others were meant to be another semitone than the nearest
    assert (asked | misheard).sum() / lines.there.sum() > 0.96
    assert (lines.step_s[lines.there] > 0.01).all()


def test_mistuning_has_both_signs_and_many_sizes() -> None:
    draw = np.random.default_rng(1)
    cents = np.concatenate([mistuned_cents(np.arange(60.0, 90.0), draw) for _ in range(300)])
    assert abs(cents.mean()) < 2
    assert 0.1 < (np.abs(cents) > 50).mean() < 0.3
    assert 0.55 < (np.abs(cents) < 10).mean() < 0.85


def test_no_unseen_tune_is_among_what_is_trained_on() -> None:
    melodies, draw = Melodies(2), np.random.default_rng(2)
    assert {score.name for score in melodies.known} == set(KNOWN)
    pieces = [melodies.score(draw) for _ in range(400)] + melodies.composed
    unseen = set().union(*(stretches(tune(name).midi, 12) for name in UNSEEN))
    for piece in pieces:
        assert not stretches(piece.midi, 12) & unseen, piece.name


def test_a_note_too_many_lies_between_others_and_has_no_answer() -> None:
    lines = Melodies(4).lines(200, 60, np.random.default_rng(4))
    unanswered = (lines.answers == UNKNOWN) & lines.there
    assert 0.005 < unanswered.sum() / lines.there.sum() < 0.04
    assert (lines.step_s[lines.there] > 0).all()

"""The ear: when bells are struck, at which pitch; and from its answers to notes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from hemony import hearing
from hemony.config import BellMelodiesConfig, MelodyConfig
from hemony.datasets.bell_batches import BellBatches
from hemony.datasets.bell_excerpts import excerpts
from hemony.datasets.bell_melodies import Melodies
from hemony.hearing import LEAST_SCORE, NOTES_WITH_CHORDS, apart, peaks, strike_score, without_chords
from hemony.models.ear import (
    CANDIDATE,
    FRAME,
    HIGHEST_MIDI,
    HOP,
    KINDS,
    LOWEST_MIDI,
    PITCHES,
    SAMPLE_RATE_HZ,
    STEPS_A_SEMITONE,
    Ear,
    likeliest,
    loudness,
    pitch_targets,
    snapshots,
)  # fmt: skip
from hemony.models.melody import build
from hemony.tasks.correction import FALSE_PEAKS_SHARE, MOMENTS, ear_losses, false_peaks, quiet_moments


@pytest.fixture(scope="module")
def melodies() -> Melodies:
    return Melodies(0)


@pytest.fixture(scope="module")
def ear() -> Ear:
    torch.manual_seed(0)
    return Ear(16, 0.0).eval()


def test_a_strike_note_is_read_as_it_was_written() -> None:
    midi = torch.tensor([55.0, 60.13, 72.87, 100.5, float("nan")], dtype=torch.float64)
    shares = pitch_targets(midi)
    assert torch.allclose(shares.sum(dim=1), torch.ones(5))
    assert shares[4, PITCHES] == 1
    heard, share = likeliest((shares[:4] + 1e-9).log(), 1)
    assert heard[:, 0].numpy() == pytest.approx(midi[:4].numpy(), abs=1e-3)
    assert share[:, 0].numpy() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("midi", [float(LOWEST_MIDI), 70.125, 72.3, float(HIGHEST_MIDI) - 0.01])
def test_of_what_a_note_may_be_the_likeliest_is_named_first_and_each_once(midi: float) -> None:
    other = 80.5  # a place of its own, which most others share with a neighbour
    shares = 0.5 * pitch_targets(torch.tensor([midi])) + 0.4 * pitch_targets(torch.tensor([other]))
    shares[:, PITCHES] = 0.1  # that there is none takes no part
    found, share = likeliest(shares.clamp(min=1e-9).log(), 3)
    assert found[0, :2].numpy() == pytest.approx([midi, other], abs=1e-2)
    assert share[0].numpy() == pytest.approx([5 / 9, 4 / 9, 0], abs=1e-3)


def test_a_bell_a_semitone_higher_looks_the_same_a_semitone_further_up(ear: Ear) -> None:
    seconds = torch.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ

    def places(midi: float) -> torch.Tensor:
        hz = 440 * 2 ** ((midi - 69) / 12)
        wave = sum(torch.sin(2 * torch.pi * hz * ratio * seconds) for ratio in (0.5, 1.0, 1.2, 2.0)) * (seconds > 0.3)
        spectra = snapshots(wave[None], torch.zeros(1, dtype=torch.int64), torch.tensor([7200]), ear.pitch.hann, ear.pitch.filters)
        return spectra[0, 4].topk(3).indices.sort().values

    assert (places(84) - places(83)).tolist() == [STEPS_A_SEMITONE] * 3


def test_the_onset_network_hears_no_more_than_is_promised(ear: Ear) -> None:
    """What comes more than 4 frames and half a FRAME after a frame changes nothing of it: a stream does not wait longer."""
    draw = torch.Generator().manual_seed(0)
    wave = torch.randn(1, 3 * SAMPLE_RATE_HZ, generator=draw)
    changed = wave.clone()
    frame = 150
    changed[:, (frame + 4) * HOP + FRAME // 2 :] = 0
    with torch.inference_mode():
        before, after = (ear.onset(*loudness(ear.onset.powers(some), torch.tensor(1.0)))[0] for some in (wave, changed))
    assert torch.allclose(before[: frame + 1], after[: frame + 1], atol=1e-5)
    assert not torch.allclose(before[frame + 20 :], after[frame + 20 :], atol=1e-3)


def test_early_views_alone_count_in_a_stream(ear: Ear) -> None:
    draw = torch.Generator().manual_seed(0)
    wave = torch.randn(1, SAMPLE_RATE_HZ, generator=draw)
    owner, onset = torch.zeros(1, dtype=torch.int64), torch.tensor([6000])
    later = wave.clone()
    later[:, 6000 + 96 + 2048 :] = 0
    with torch.inference_mode():
        assert torch.allclose(ear.pitches(wave, owner, onset, True)[0], ear.pitches(later, owner, onset, True)[0], atol=1e-5)
        assert not torch.allclose(ear.pitches(wave, owner, onset)[0], ear.pitches(later, owner, onset)[0], atol=1e-5)


def test_every_parameter_learns(melodies: Melodies) -> None:
    network = build(MelodyConfig(ear_width=16, sense_width=16, sense_layers=1, sense_heads=2))
    found = excerpts(melodies, 3, np.random.default_rng(1))
    losses = ear_losses(network.ear, found, torch.Generator().manual_seed(0))
    (losses.onset + losses.pitch + losses.kind + losses.chords).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.ear.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_whether_bells_are_struck_together_is_asked_of_all_and_which_is_the_only_one_where_none_are(melodies: Melodies) -> None:
    ear, found = Ear(16, 0.0), excerpts(melodies, 4, np.random.default_rng(1))

    def heads(chords: bool) -> torch.Tensor:
        ear.zero_grad()
        told = replace(found, chords=torch.full((4,), chords))
        losses = ear_losses(ear, told, torch.Generator().manual_seed(0), onsets=False)
        assert losses.onset == 0
        (losses.pitch + losses.chords).backward()  # type: ignore[no-untyped-call]
        return ear.pitch.head.weight.grad.abs().sum(dim=(1, 2))  # type: ignore[union-attr]

    assert (heads(chords=False) > 0).all()
    with_chords = heads(chords=True)
    assert with_chords[0] > 0
    assert with_chords[1] == 0


def test_chords_are_heard_where_they_are_played() -> None:
    strikes = torch.arange(1, 400, 2)  # of moments; nothing was struck at the others
    logits = torch.full((400,), 9.0)
    logits[strikes] = -4.0
    logits[301::2] = 1.0
    alone = without_chords(logits, strikes)
    assert alone.shape == (400,)
    assert alone[: 300 - 2 * NOTES_WITH_CHORDS].all()
    assert not alone[300 + NOTES_WITH_CHORDS :].any()
    few = torch.tensor([3, 9])
    assert without_chords(torch.full((12,), -4.0), few).all()
    assert not without_chords(torch.full((12,), -4.0), few[:0]).any()


def test_excerpts_hold_what_they_claim(melodies: Melodies) -> None:
    found = excerpts(melodies, 12, np.random.default_rng(3))
    assert found.waves.shape == (12, 8 * SAMPLE_RATE_HZ)
    assert found.waves.abs().amax(dim=1).max() <= 1
    assert torch.isfinite(found.waves).all()
    assert (found.kind[found.owner] >= 0).all()
    assert ((found.midi > LOWEST_MIDI) & (found.midi < LOWEST_MIDI + PITCHES / STEPS_A_SEMITONE)).all()
    assert set(found.kind.tolist()) <= {-1, *range(len(KINDS))}
    assert set(found.chords.tolist()) == {False, True}
    assert not found.chords[found.kind < 0].any()
    power = found.waves.square()
    rises = [
        float(power[owner, onset : onset + 1200].mean() / power[owner, max(0, onset - 1200) : onset].mean().clamp(min=1e-9))
        for owner, onset in zip(found.owner.tolist(), found.onset.tolist(), strict=True)
    ]
    assert np.median(rises) > 1.2  # it is louder after a strike than before


def test_quiet_moments_are_away_from_every_onset(melodies: Melodies) -> None:
    found = excerpts(melodies, 6, np.random.default_rng(5))
    owner, onset = quiet_moments(found, torch.Generator().manual_seed(0))
    assert len(owner)
    for place, moment in zip(owner.tolist(), onset.tolist(), strict=True):
        apart = (found.onset[found.owner == place] - moment).abs()
        assert not len(apart) or apart.min() >= 0.06 * SAMPLE_RATE_HZ


def test_what_may_be_taken_for_an_onset_is_told_from_those_there_are(melodies: Melodies) -> None:
    found = excerpts(melodies, 6, np.random.default_rng(5))
    logits = torch.full((6, found.waves.shape[1] // HOP + 1), -9.0)
    assert not len(false_peaks(found, logits, torch.Generator())[0])
    logits[found.owner, (found.onset / HOP).round().long()] = 3.0
    owner, onset = quiet_moments(found, torch.Generator().manual_seed(0))
    logits[owner, onset // HOP] = 1.0
    false_owner, false_onset = false_peaks(found, logits, torch.Generator().manual_seed(0))
    assert len(false_owner)
    named = set(zip(owner.tolist(), (onset // HOP * HOP).tolist(), strict=True))
    assert set(zip(false_owner.tolist(), false_onset.tolist(), strict=True)) <= named
    logits[:, ::2] = 1.0
    assert len(false_peaks(found, logits, torch.Generator().manual_seed(0))[0]) == MOMENTS * FALSE_PEAKS_SHARE


def test_a_recording_without_a_note_and_without_what_might_be_one_teaches_as_well(melodies: Melodies) -> None:
    ear, found = Ear(16, 0.0), excerpts(melodies, 1, np.random.default_rng(1))
    none = torch.zeros(0, dtype=torch.int64)
    silent = replace(found, owner=none, onset=none, midi=none.double(), kind=torch.tensor([-1]), chords=torch.tensor([False]))
    with torch.no_grad():
        ear.onset.head.bias.fill_(-99.0)
    losses = ear_losses(ear, silent, torch.Generator().manual_seed(0))
    assert torch.isfinite(torch.stack((losses.onset, losses.pitch, losses.kind, losses.chords))).all()
    assert losses.pitch > 0


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    data = BellMelodiesConfig(workers=0, lines=3, recordings_every=2)
    whole = BellBatches(data, 2, 1, seed=3)
    batches = list(itertools.islice(whole, 3))
    resumed = BellBatches(data, 2, 1, seed=3)
    resumed.load_state_dict({"step": 2})
    excerpts, lines, step = next(iter(resumed))
    assert step == batches[2][2] == 2
    assert excerpts is not None
    assert batches[2][0] is not None
    assert batches[0][0] is not None
    assert torch.equal(excerpts.waves, batches[2][0].waves)
    assert not torch.equal(excerpts.waves, batches[0][0].waves)
    assert torch.equal(lines.semitones, batches[2][1].semitones)
    assert batches[1][0] is None
    assert all(len(lines.there) == 3 for _, lines, _ in batches)
    assert len(whole) == BellBatches.epoch_batches


def test_what_is_unsure_is_heard_from_three_moments(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 2 * SAMPLE_RATE_HZ).astype(np.float32)
    onset = np.array([100, 9000, len(wave) - 50])  # and none is looked for where nothing was recorded
    once = hearing.pitches_from(ear, wave, onset)
    beside = [hearing.pitches_from(ear, wave, (onset + lean).clip(0, len(wave) - 1)) for lean in hearing.LEANS]
    for mean, *parts in zip(hearing.pitches_at(ear, wave, onset), once, *beside, strict=True):
        assert torch.allclose(mean, torch.stack(parts).mean(dim=0), atol=1e-5)  # an untrained ear is sure of nothing
    monkeypatch.setattr(hearing, "SURE", 0.0)
    assert all(torch.equal(here, there) for here, there in zip(hearing.pitches_at(ear, wave, onset), once, strict=True))


def test_candidates_lie_between_frames() -> None:
    probability = np.zeros(60)
    probability[10:13] = 0.6, 0.9, 0.7  # a peak a little after frame 11
    probability[30] = 0.7
    probability[45] = CANDIDATE / 2
    onset, found = peaks(probability)
    assert len(onset) == 2
    assert 11 * HOP < onset[0] < 11.5 * HOP
    assert onset[1] == 30 * HOP
    assert found.tolist() == [0.9, 0.7]
    assert len(peaks(np.zeros(0))[0]) == 0


def test_of_onsets_that_are_near_each_other_the_surest_is_kept() -> None:
    onset = np.array([0, 1000, 2500, 9000, 12_000])
    score = np.array([1.0, 3.0, 2.0, LEAST_SCORE - 1, 0.0])
    assert apart(onset, score).tolist() == [1, 4]
    assert apart(onset[:0], score[:0]).tolist() == []


def test_what_has_a_pitch_is_a_strike() -> None:
    pitch = torch.full((2, PITCHES + 1), -5.0)
    pitch[0, 40], pitch[1, PITCHES] = 10.0, 10.0
    score = strike_score(pitch, torch.tensor([0.5, 0.5]))
    assert score[0] > 10
    assert score[1] < -5
    assert strike_score(pitch, torch.tensor([0.9, 0.1]))[0] > score[0]

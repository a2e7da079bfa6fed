"""The partials of notes that ring into each other, and strike pitches to a fraction of a cent."""

import csv
import math

import numpy as np
import pytest
import soundfile
import torch

from hemony.bells import alike, partials, pieces, tunes
from hemony.bells.notes import Notes, Values
from hemony.bells.partials import Partials
from hemony.bells.synth import TABLES, BellKind, Modes, draw_modes, sound
from hemony.bells.tuning import cents_between, shifted
from tests.conftest import DATA, needs

RATE_HZ = 44_100


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rung(modes: Modes, begins_s: list[float], seconds: float, rate_hz: int = RATE_HZ) -> Values:
    """Strokes (B, M), each from its beginning on."""
    wave = np.zeros(round(seconds * rate_hz), dtype=np.float32)
    for stroke, begin_s in zip(sound(modes, rate_hz, len(wave)).numpy(), begins_s, strict=True):
        start = round(begin_s * rate_hz)
        wave[start:] += 0.2 * stroke[: len(wave) - start]
    return wave


def bell(*modes: tuple[float, float, float]) -> Modes:
    """One bell of (Hz, amplitude, T60 in s)."""
    frequency_hz, amplitude, t60_s = (torch.tensor([[mode[k] for mode in modes]], dtype=torch.float64) for k in range(3))
    return Modes(frequency_hz, amplitude, t60_s, torch.full_like(frequency_hz, 0.4), frequency_hz[:, 0])


def single(kind: BellKind, midi: float, seed: int = 0, doublets: bool = False) -> Modes:
    modes = draw_modes(kind, torch.tensor([midi]), generator(seed))
    if not doublets:  # the louder half alone, at the centre of the pair
        first, second = modes.frequency_hz.chunk(2, dim=1)
        loud, soft = modes.amplitude.chunk(2, dim=1)
        centre = (first * loud + second * soft) / (loud + soft)
        modes = Modes(centre, loud + soft, modes.t60_s.chunk(2, dim=1)[0], modes.phase.chunk(2, dim=1)[0], modes.strike_hz)
    return modes


def off_cents(found: Partials, truth: Notes) -> Values:
    """Beside their median."""
    off = cents_between(truth.strike_hz, found.strike_hz)
    return np.abs(off - np.median(off))


def piece(kind: BellKind, seed: int, shortest_s: float, longest_s: float, **playing: float) -> tuple[Values, Notes, Partials]:
    """What is measured of the first line of a known tune whose pitches and onsets are roughly known."""
    score = pieces.fitting(tunes.tune(tunes.KNOWN[seed]), kind)
    score = tunes.Score(score.name, score.midi[:16], score.beats[:16], score.tonic, score.scale)
    begins_s = pieces.even_onsets_s(score, shortest_s, longest_s)
    wave, truth = pieces.play(score, begins_s, pieces.Mistuning(), pieces.Playing(kind=kind, **playing), generator(seed))
    draw = np.random.default_rng(seed)
    rough_hz = shifted(truth.strike_hz, draw.uniform(-35, 35, len(truth)))
    onset_s = truth.onset_s + draw.uniform(-0.01, 0.01, len(truth))
    return wave.numpy(), truth, partials.measure(wave.numpy(), RATE_HZ, onset_s, rough_hz, kind)


@pytest.mark.parametrize("kind", BellKind)
def test_all_of_a_single_clean_bell_is_found_exactly(kind: BellKind) -> None:
    table = TABLES[kind]
    modes = single(kind, 0.7 * table.lowest_midi + 0.3 * table.highest_midi)
    truth_hz = float(modes.strike_hz)
    found = partials.measure(rung(modes, [0.3], 3.0), RATE_HZ, np.array([0.3]), np.array([shifted(truth_hz, 30.0)]), kind)
    assert abs(cents_between(truth_hz, found.strike_hz[0])) < 0.01
    frequency_hz, amplitude, t60_s, phase = (
        values[0].numpy() for values in (modes.frequency_hz, modes.amplitude, modes.t60_s, modes.phase)
    )
    level_db = 10 * math.log10((0.2 * amplitude @ (0.2 * amplitude)) / 2)
    assert found.level_db[0] == pytest.approx(level_db, abs=0.1)
    loud = amplitude > 0.1 * amplitude.max()
    assert np.abs(cents_between(frequency_hz, found.frequency_hz[0]))[loud].max() < 0.1
    assert found.amplitude[0, loud] == pytest.approx(0.2 * amplitude[loud], rel=0.02)
    assert found.t60_s[0, loud] == pytest.approx(t60_s[loud], rel=0.05)
    turned = np.angle(np.exp(1j * (found.phase[0] - phase)))
    assert np.abs(turned[loud]).max() < 0.05


def test_the_estimate_moves_with_the_recording() -> None:
    modes = single(BellKind.carillon, 80.0, 3, doublets=True)
    at = []
    for cents in (0.0, 100.0):
        moved = Modes(shifted(modes.frequency_hz, cents), modes.amplitude, modes.t60_s, modes.phase, modes.strike_hz)
        rough_hz = np.array([shifted(float(modes.strike_hz), cents - 20)])
        at.append(partials.measure(rung(moved, [0.3], 3.0), RATE_HZ, np.array([0.3]), rough_hz, BellKind.carillon).strike_hz[0])
    assert cents_between(at[0], at[1]) == pytest.approx(100, abs=0.05)


def test_a_doublet_counts_as_its_weighted_mean() -> None:
    wave = rung(bell((880.0, 1.0, 4.0), (883.0, 0.5, 4.4)), [0.3], 3.0)
    found = partials.measure(wave, RATE_HZ, np.array([0.3]), np.array([885.0]), BellKind.handbell)
    assert cents_between(881.0, found.strike_hz[0]) == pytest.approx(0, abs=0.1)  # either mode is 2 or 4 cents away
    assert found.amplitude[0, 0] == pytest.approx(0.2 * 1.5, rel=0.05)


def test_a_bell_struck_again_at_another_pitch_while_it_rings() -> None:
    first = single(BellKind.handbell, 76.0)
    second_hz = shifted(first.frequency_hz, -12.0)
    both = Modes(
        torch.cat((first.frequency_hz, second_hz)),
        first.amplitude.repeat(2, 1) * torch.tensor([[1.0], [0.5]]),
        first.t60_s.repeat(2, 1),
        torch.cat((first.phase, first.phase + 2)),
        first.strike_hz.repeat(2),
    )
    begins_s = [0.3, 0.65]
    truth_hz = shifted(float(first.strike_hz), np.array([0.0, -12.0]))
    rough_hz = shifted(truth_hz, np.array([-30.0, 30.0]))
    found = partials.measure(rung(both, begins_s, 3.0), RATE_HZ, np.array(begins_s), rough_hz, BellKind.handbell)
    assert np.abs(cents_between(truth_hz, found.strike_hz)).max() < 0.1


@pytest.mark.parametrize("kind", BellKind)
def test_notes_that_ring_into_each_other(kind: BellKind) -> None:
    _, truth, found = piece(kind, 0, 0.35, 0.6)
    off = off_cents(found, truth)
    assert np.median(off) <= 0.4
    assert np.quantile(off, 0.9) <= 1.8
    assert np.median(np.abs(found.level_db - truth.level_db)) < 0.5


@pytest.mark.parametrize("kind", [BellKind.handbell, BellKind.glockenspiel])
def test_short_notes_in_a_noisy_room(kind: BellKind) -> None:
    pieces_heard = (piece(kind, number, 0.15, 0.3, snr_db=10.0, room_t60_s=1.5) for number in range(4))
    off = np.concatenate([off_cents(found, truth) for _, truth, found in pieces_heard])
    assert np.median(off) <= 0.9
    assert np.quantile(off, 0.9) <= 3


@pytest.mark.parametrize("kind", list(BellKind))
def test_the_end_of_the_recording_is_not_taken_for_the_end_of_the_bell(kind: BellKind) -> None:
    """A stream always ends now, while bells ring."""
    modes = single(kind, 84.0)
    wave = rung(modes, [0.3], 0.45)
    found = partials.measure(wave, RATE_HZ, np.array([0.3]), shifted(modes.strike_hz.numpy(), 20.0), kind)
    assert abs(float(cents_between(modes.strike_hz.numpy(), found.strike_hz)[0])) < 0.3


def test_no_notes() -> None:
    found = partials.measure(np.zeros(1000, dtype=np.float32), RATE_HZ, np.zeros(0), np.zeros(0), BellKind.carillon)
    assert found.frequency_hz.shape == (0, 12)
    assert found.strike_hz.shape == found.level_db.shape == (0,)


def test_silence_has_no_partials_and_keeps_the_rough_pitch() -> None:
    found = partials.measure(np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ, np.array([0.2]), np.array([700.0]), BellKind.carillon)
    assert np.isnan(found.frequency_hz).all()
    assert found.strike_hz[0] == pytest.approx(700.0, rel=0.025)


@pytest.mark.parametrize("rate_hz", [8_000, 96_000])
def test_partials_above_half_the_sample_rate_are_not_found(rate_hz: int) -> None:
    modes = single(BellKind.handbell, 84.0)
    strike_hz = float(modes.strike_hz)
    found = partials.measure(
        rung(modes, [0.3], 2.5, rate_hz), rate_hz, np.array([0.3]), np.array([shifted(strike_hz, -20.0)]), BellKind.handbell
    )
    above = modes.frequency_hz[0].numpy() > rate_hz / 2
    assert above.any() == (rate_hz == 8_000)
    assert np.isnan(found.frequency_hz[0, above]).all()
    assert abs(cents_between(strike_hz, found.strike_hz[0])) < 0.05


@needs("westerkerk")
def test_real_bells() -> None:
    rows = list(csv.DictReader((DATA / "westerkerk" / "reference.csv").read_text().splitlines()))
    off = []
    for row in rows:
        stereo, rate_hz = soundfile.read(DATA / "westerkerk" / row["name"], dtype="float32", always_2d=True)
        wave, strike_hz = stereo.mean(axis=1), float(row["strike_hz"])
        onset_s = np.argmax(np.abs(wave) > 0.1 * np.abs(wave).max()) / rate_hz
        rough_hz = np.array([shifted(strike_hz, 35.0 * math.sin(len(off)))])
        found = partials.measure(wave, rate_hz, np.array([onset_s]), rough_hz, BellKind.carillon)
        off.append(abs(cents_between(strike_hz, found.strike_hz[0])))
    assert len(off) == 21
    assert max(off) <= 1.5
    assert np.median(off) <= 0.3


def test_strokes_of_two_bells_are_told_apart_and_those_of_one_share_what_is_hard_to_measure() -> None:
    table = TABLES[BellKind.carillon]
    draw = np.random.default_rng(0)
    which = np.arange(20) % 2
    ratios = draw.normal(0, 1, (2, len(table.partials))) * np.array([partial.spread_cents for partial in table.partials])
    cents = ratios[which] + draw.normal(0, 0.1, (20, len(table.partials)))
    cents[0, 0] += 9.0  # one mode of two, at one stroke
    rough_hz = shifted(440.0, draw.normal(0, 5, 20))
    frequency_hz = shifted(rough_hz[:, None] * np.array([partial.ratio for partial in table.partials]), cents)
    error_hz = np.full_like(cents, 0.05)
    partials_of = alike.measured(frequency_hz, error_hz, rough_hz, table)
    assert alike.bells(partials_of, rough_hz).tolist() == which.tolist()
    own_hz = np.median(frequency_hz[:, [0, 1, 4]] * np.array([2.0, 1.0, 0.5]), axis=1)
    exact_hz = np.median(shifted(rough_hz[:, None], ratios[which][:, [0, 1, 4]]), axis=1)
    together_hz = alike.strike_together(own_hz, frequency_hz, error_hz, rough_hz, table)
    assert np.abs(cents_between(exact_hz, together_hz)).max() < 0.2


@pytest.mark.parametrize("exponent", [10, -16])
def test_a_recording_of_any_level_is_heard_alike(exponent: int) -> None:
    wave = rung(single(BellKind.handbell, 76.3), [0.1], 1.5)
    found, other = (
        partials.measure(some, RATE_HZ, np.array([0.1]), np.array([shifted(440.0, 730.0)]), BellKind.handbell)
        for some in (wave, np.ldexp(wave, exponent))
    )
    assert np.array_equal(found.strike_hz, other.strike_hz)
    assert np.array_equal(np.ldexp(found.amplitude, exponent), other.amplitude, equal_nan=True)
    assert other.level_db - found.level_db == pytest.approx(20 * math.log10(2) * exponent, abs=1e-6)

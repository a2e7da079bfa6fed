"""Notes moved to where they belong, and nothing else: strikes with known partials before and after."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from hemony.bells import retune as module
from hemony.bells.notes import Values
from hemony.bells.retune import Wave, bells, cores, retune
from hemony.bells.strikes import transients
from hemony.bells.synth import TABLES, BellKind, Modes, draw_modes, sound
from hemony.bells.tuning import shifted
from hemony.datasets.seeding import generator

RATE_HZ = 22_050
LENGTH_S = 4.0
LEVEL = 0.1


def drawn(kind: BellKind, midi: Sequence[float], seed: int = 0) -> Modes:
    """Strikes on bells with these strike notes."""
    return draw_modes(kind, torch.tensor(midi, dtype=torch.float64), generator(seed, "test"))


def moved(modes: Modes, cents: Sequence[float]) -> Modes:
    factor = shifted(torch.ones(len(cents), dtype=torch.float64), torch.tensor(cents, dtype=torch.float64))
    return replace(modes, frequency_hz=modes.frequency_hz * factor[:, None], strike_hz=modes.strike_hz * factor)


def rendered(modes: Modes, onset_s: Sequence[float], rate_hz: int = RATE_HZ) -> Wave:
    """All strikes with their noise, each from its onset on (samples,)."""
    wave = np.zeros(round(LENGTH_S * rate_hz), dtype=np.float32)
    noise = transients(len(onset_s), round(0.1 * rate_hz), rate_hz, generator(9, "test")).numpy()
    for note, tone in enumerate(sound(modes, rate_hz, len(wave)).numpy()):
        first = round(onset_s[note] * rate_hz)
        wave[first:] += LEVEL * tone[: len(wave) - first]
        wave[first : first + noise.shape[1]] += 0.2 * LEVEL * noise[note]
    return wave


def strikes_hz(modes: Modes) -> Values:
    values: Values = modes.strike_hz.numpy()
    return values


def decibels(wave: Wave, beside: Wave) -> float:
    return float(10 * np.log10((wave.astype(np.float64) ** 2).sum() / (beside.astype(np.float64) ** 2).sum()))


MIDDLE_MIDI = {BellKind.carillon: 76, BellKind.handbell: 75, BellKind.tubular_bell: 69, BellKind.glockenspiel: 88}


@pytest.mark.parametrize("kind", list(BellKind))
def test_a_bell_that_is_sharp_becomes_the_bell_that_is_not(kind: BellKind) -> None:
    right = drawn(kind, [MIDDLE_MIDI[kind]])
    sharp = moved(right, [70])
    wave, wanted = rendered(sharp, [0.5]), rendered(right, [0.5])
    assert decibels(wave - wanted, wanted) > -10, "70 cents are to be heard"
    output = retune(wave, RATE_HZ, np.array([0.5]), strikes_hz(sharp), np.array([-70.0]), kind)
    assert output.dtype == np.float32
    assert output.shape == wave.shape
    assert decibels(output - wanted, wanted) < -35
    first = round(0.5 * RATE_HZ)
    assert np.array_equal(output[:first], wave[:first])
    change = np.abs(output - wave)
    assert change[first] < 1e-4 * change.max(), "the change begins at nothing, without a click"


def test_nothing_is_touched_where_nothing_is_to_be_moved() -> None:
    modes = drawn(BellKind.carillon, [74, 76])
    wave = rendered(modes, [0.3, 0.8])
    assert np.array_equal(retune(wave, RATE_HZ, np.array([0.3, 0.8]), strikes_hz(modes), np.zeros(2), BellKind.carillon), wave)
    none = np.zeros(0)
    assert np.array_equal(retune(wave, RATE_HZ, none, none, none, BellKind.carillon), wave)


def test_silence_stays_silence() -> None:
    silence = np.zeros(RATE_HZ, dtype=np.float32)
    assert not retune(silence, RATE_HZ, np.array([0.2]), np.array([600.0]), np.array([50.0]), BellKind.handbell).any()


def test_a_short_recording_with_a_note_after_its_end() -> None:
    right = drawn(BellKind.handbell, [84])
    sharp = moved(right, [60])
    part = slice(0, round(0.6 * RATE_HZ))
    wave, wanted = (rendered(modes, [0.1])[part] for modes in (sharp, right))
    both_hz = np.repeat(strikes_hz(sharp), 2)
    output = retune(wave, RATE_HZ, np.array([0.1, 0.7]), both_hz, np.array([-60.0, -60.0]), BellKind.handbell)
    assert decibels(output - wanted, wanted) < -30


def test_a_note_between_others_is_moved_alone() -> None:
    kind, onset_s = BellKind.carillon, [0.2, 0.6, 1.0]
    right = drawn(kind, [72, 76, 79], seed=2)  # a chord, whose partials nearly coincide here and there
    wrong = moved(right, [0, -80, 0])
    wave, wanted = rendered(wrong, onset_s), rendered(right, onset_s)
    output = retune(wave, RATE_HZ, np.array(onset_s), strikes_hz(wrong), np.array([0, 80.0, 0]), kind)
    alone = replace(wrong, amplitude=wrong.amplitude * torch.tensor([[0.0], [1.0], [0.0]]))
    assert decibels(output - wanted, rendered(alone, onset_s)) < -25
    first = round(0.6 * RATE_HZ)
    assert np.array_equal(output[:first], wave[:first])
    assert not np.array_equal(output[first:], wave[first:])


def test_neighbours_partials_stay() -> None:
    """The change has next to nothing near the partials of a bell that is not moved, but where a partial that is moved lies near."""
    kind, onset_s = BellKind.handbell, [0.2, 0.7]
    modes = moved(drawn(kind, [70, 77], seed=1), [0, 60])
    wave = rendered(modes, onset_s)
    output = retune(wave, RATE_HZ, np.array(onset_s), strikes_hz(modes), np.array([0, -60.0]), kind)
    part = slice(round(0.75 * RATE_HZ), None)
    window = np.hanning(len(wave[part]))
    change, whole = (np.abs(np.fft.rfft(values[part] * window)) ** 2 for values in (output - wave, wave))
    hz = np.fft.rfftfreq(len(window), 1 / RATE_HZ)
    stays, goes = (modes.frequency_hz[note][modes.amplitude[note] > 0].numpy() for note in (0, 1))
    places = np.abs(hz[:, None] / stays - 1).min(axis=1) < 20 / 1731
    places &= np.abs(hz[:, None] - goes).min(axis=1) > 60
    assert whole[places].sum() > 1e-2 * whole.sum()
    assert 10 * np.log10(change[places].sum() / whole[places].sum()) < -50
    assert change[~places].sum() > 0.1 * whole[~places].sum()


def test_a_bell_struck_again_at_another_pitch_keeps_it() -> None:
    kind, onset_s = BellKind.carillon, [0.2, 0.9, 1.6]
    bell = drawn(kind, [81], seed=5)
    right = Modes(*(values.repeat(3, *[1] * (values.ndim - 1)) for values in vars(bell).values()))
    wrong = moved(right, [3, 75, -4])
    wanted = moved(right, [3, 0, -4])
    wave = rendered(wrong, onset_s)
    output = retune(wave, RATE_HZ, np.array(onset_s), strikes_hz(wrong), np.array([0, -75.0, 0]), kind)
    assert decibels(output - rendered(wanted, onset_s), rendered(wanted, onset_s)) < -25


def test_a_long_recording_is_mended_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.stretches(50.0) == [(0.0, 50.0)]
    assert [round(high_s - low_s) for low_s, high_s in module.stretches(180.0)] == [60, 60, 60]
    right = drawn(BellKind.handbell, [72, 74, 76])
    sharp, onset_s = moved(right, [60, 0, 70]), [0.3, 1.1, 2.0]
    wave, wanted = rendered(sharp, onset_s), rendered(right, onset_s)
    monkeypatch.setattr(module, "STRETCH_S", 1.2)
    monkeypatch.setattr(module, "AFTER_S", 1.5)
    assert len(module.stretches(len(wave) / RATE_HZ)) > 1
    output = retune(wave, RATE_HZ, np.array(onset_s), strikes_hz(sharp), np.array([-60.0, 0.0, -70.0]), BellKind.handbell)
    assert decibels(wave - wanted, wanted) > -10
    assert decibels(output - wanted, wanted) < -30


def test_channels_are_moved_each_in_its_own_place() -> None:
    kind, onset_s = BellKind.carillon, [0.2, 0.6]
    right = drawn(kind, [74, 81], seed=2)
    wrong = moved(right, [55, 0])

    def panned(modes: Modes) -> Wave:
        one, other = (
            rendered(replace(modes, amplitude=modes.amplitude * torch.tensor(keep)), onset_s)
            for keep in ([[1.0], [0]], [[0.0], [1]])
        )
        return np.stack((one + 0.2 * other, -0.5 * one + other), axis=1)

    wave = panned(wrong)
    output = retune(wave, RATE_HZ, np.array(onset_s), strikes_hz(wrong), np.array([-55.0, 0]), kind)
    assert output.shape == wave.shape
    for channel in (0, 1):
        assert decibels(output[:, channel] - panned(right)[:, channel], panned(right)[:, channel]) < -25


def test_channels_of_opposite_sign_do_not_cancel() -> None:
    right = drawn(BellKind.handbell, [72])
    sharp = moved(right, [40])
    wave = rendered(sharp, [0.2])
    output = retune(
        np.stack((wave, -wave), axis=1), RATE_HZ, np.array([0.2]), strikes_hz(sharp), np.array([-40.0]), BellKind.handbell
    )
    assert decibels(output[:, 0] - rendered(right, [0.2]), wave) < -30
    assert np.allclose(output[:, 0], -output[:, 1], atol=1e-5)


def test_what_would_pass_half_the_sample_rate_is_dropped() -> None:
    kind, rate_hz = BellKind.glockenspiel, 16_000
    low = drawn(kind, [94.0])
    second_hz = float(low.frequency_hz[0, 1])
    low = moved(low, [float(1200 * np.log2(7_800 / second_hz))])  # its second partial is at 7.8 kHz, and 80 cents up beyond 8
    assert float(low.frequency_hz[0, 2]) > rate_hz / 2
    right = moved(low, [80.0])
    wave, wanted = rendered(low, [0.2], rate_hz), rendered(right, [0.2], rate_hz)
    output = retune(wave, rate_hz, np.array([0.2]), strikes_hz(low), np.array([80.0]), kind)
    part = slice(round(0.3 * rate_hz), round(0.8 * rate_hz))
    high = np.fft.rfftfreq(part.stop - part.start, 1 / rate_hz) > 7_000

    def above(values: Wave) -> float:
        return float((np.abs(np.fft.rfft(values[part] * np.hanning(part.stop - part.start))) ** 2)[high].sum())

    assert above(output) < 1e-2 * above(wave)
    assert decibels(output - wanted, wanted) < -25
    assert TABLES[kind].partials[1].ratio > 2


def test_bells_and_ranges() -> None:
    assert bells(np.array([500.0, 400, 502, 401, 450])).tolist() == [2, 0, 2, 0, 1]
    assert cores(np.array([300.0, 100, 150, 219, 221])) == [(100.0, 219.0), (221.0, 300.0)]
    assert cores(np.zeros(0)) == []

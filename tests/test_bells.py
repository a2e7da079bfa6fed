"""Pitch conversions, and bells whose sound and pitch are exactly what was asked for."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from hemony.bells import strikes, synth, tuning
from hemony.bells.synth import BellKind, Modes
from hemony.datasets import bell_types


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------------------- tuning


@pytest.mark.parametrize(("midi", "frequency_hz"), [(69.0, 440.0), (57.0, 220.0), (60.0, 261.6255653), (108.0, 4186.009045)])
def test_midi_and_hz(midi: float, frequency_hz: float) -> None:
    assert tuning.midi_to_hz(midi) == pytest.approx(frequency_hz, rel=1e-9)
    assert tuning.hz_to_midi(frequency_hz) == pytest.approx(midi, abs=1e-6)
    assert tuning.midi_to_hz(midi, 432.0) == pytest.approx(frequency_hz * 432 / 440, rel=1e-9)


def test_cents_are_the_same_for_floats_arrays_and_tensors() -> None:
    low, high = np.array([100.0, 440.0]), np.array([200.0, 466.1637615])
    assert np.allclose(tuning.cents_between(low, high), [1200, 100], atol=1e-5)
    assert torch.allclose(
        tuning.cents_between(torch.from_numpy(low), torch.from_numpy(high)), torch.tensor([1200.0, 100.0], dtype=torch.float64)
    )
    assert tuning.cents_between(440.0, 220.0) == pytest.approx(-1200)
    assert tuning.shifted(440.0, 702.0) == pytest.approx(660.0, rel=1e-4)
    assert tuning.cents_between(440.0, tuning.shifted(440.0, 37.5)) == pytest.approx(37.5)


# -------------------------------------------------------------------------------------------------------------- synth


@pytest.mark.parametrize("samples", [1, 100, 8_000, 12_345])
def test_the_product_of_matrices_is_the_sum_of_decaying_sinusoids(samples: int) -> None:
    modes = synth.draw_modes(BellKind.carillon, torch.tensor([60.0, 71.3, 95.0]), generator())
    found = synth.sound(modes, 16_000, samples)
    seconds = torch.arange(samples, dtype=torch.float64) / 16_000
    angle = 2 * math.pi * modes.frequency_hz[..., None] * seconds + modes.phase[..., None]
    decay = 10 ** (-3 * seconds / modes.t60_s[..., None])
    heard = modes.amplitude * (modes.frequency_hz < 8_000)
    expected = (heard[..., None] * decay * angle.sin()).sum(dim=1)
    assert found.shape == (3, samples)
    assert (found - expected).abs().max() < 1e-5 * heard.sum(dim=1).max()


@pytest.mark.parametrize("kind", BellKind)
def test_the_strike_note_is_what_was_drawn(kind: BellKind) -> None:
    table = synth.TABLES[kind]
    midi = torch.linspace(table.lowest_midi, table.highest_midi, 500)
    modes = synth.draw_modes(kind, midi, generator())
    partials = len(table.partials)
    weights = modes.amplitude.view(-1, 2, partials)
    centres = (modes.frequency_hz.view(-1, 2, partials) * weights).sum(dim=1) / weights.sum(dim=1)  # amplitude-weighted means
    anchors = torch.stack([centres[:, index] * factor for index, factor in table.anchors])
    assert torch.allclose(modes.strike_hz, anchors.median(dim=0).values, rtol=1e-12)
    off = tuning.cents_between(tuning.midi_to_hz(midi.double()), modes.strike_hz)
    assert off.abs().median() < 12
    exact = synth.draw_modes(kind, midi, generator(), spread=0.0)
    asked = tuning.cents_between(tuning.midi_to_hz(midi.double()), exact.strike_hz)
    nominal = table.partials[table.anchors[0][0]].ratio * table.anchors[0][1] if len(table.anchors) == 1 else 1.0
    assert torch.allclose(asked, torch.full_like(asked, 1200 * math.log2(nominal)), atol=1e-6)


def test_doublets_come_as_often_and_as_far_apart_as_on_real_bells() -> None:
    table = synth.TABLES[BellKind.carillon]
    modes = synth.draw_modes(BellKind.carillon, torch.full((4000,), table.lowest_midi), generator())
    first, second = modes.frequency_hz.chunk(2, dim=1)
    doubled = modes.amplitude.chunk(2, dim=1)[1] > 0
    for share, partial in zip(doubled.double().mean(dim=0), table.partials, strict=True):
        assert abs(share - partial.doublet_share) < 0.04
    apart = (second - first)[doubled]
    assert 1.0 <= apart.min() < 1.05
    assert 2.45 < apart.max() <= 2.5


def test_the_sound_is_differentiable_in_pitch() -> None:
    """The Taylor remainder f(x + h) - f(x) - f'(x) h falls as h squared."""
    modes = synth.draw_modes(BellKind.handbell, torch.tensor([70.0]), generator())
    target = torch.randn(1, 400, dtype=torch.float64, generator=generator(1))

    def loss(frequency_hz: torch.Tensor) -> torch.Tensor:
        moved = Modes(frequency_hz, modes.amplitude, modes.t60_s, modes.phase, modes.strike_hz)
        return (synth.sound(moved, 8_000, 400, dtype=torch.float64) * target).sum()

    frequency = modes.frequency_hz.clone().requires_grad_()
    value = loss(frequency)
    (gradient,) = torch.autograd.grad(value, frequency)
    step = torch.randn(frequency.shape, dtype=torch.float64, generator=generator(2))
    remainders = [
        float(abs(loss(frequency + h * step) - value - h * (gradient * step).sum()).detach()) for h in (0.4, 0.2, 0.1, 0.05)
    ]
    slopes = [math.log2(a / b) for a, b in pairwise(remainders)]
    assert all(abs(slope - 2) < 0.2 for slope in slopes), slopes


@pytest.mark.parametrize("kind", BellKind)
def test_a_bell_that_was_struck_before_the_clip_is_still_heard_with_two_partials(
    kind: BellKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate_hz, seen = 44_100, list[Modes]()

    def watched(modes: Modes, sample_rate_hz: int, samples: int) -> torch.Tensor:
        seen.append(modes)
        return synth.sound(modes, sample_rate_hz, samples)

    monkeypatch.setattr(strikes, "sound", watched)
    for fill in (torch.zeros, torch.ones):  # none is ringing, all are
        monkeypatch.setattr(strikes, "chance", lambda count, *_, fill=fill: fill(count, dtype=torch.bool))
        strikes.single_strikes(kind, 200, 1_000, rate_hz, bell_types.TRAINED, generator())
    struck, rung = (modes.amplitude * (modes.frequency_hz < rate_hz / 2) for modes in seen)
    partials = struck.shape[1] // 2
    fallen_db = 20 * (rung / struck.clamp(min=1e-30)).clamp(min=1e-12).log10()
    second = (struck[:, :partials] + struck[:, partials:]).topk(2).indices[:, 1:]
    fallen_db = fallen_db.gather(1, second)
    assert fallen_db.max() <= 0
    assert fallen_db.min() >= -strikes.RUNG_DB - 1
    assert fallen_db.min() < -3

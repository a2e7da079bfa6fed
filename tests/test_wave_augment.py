"""Each augmentation of sound does what it says, to each clip by a draw of its own."""

import math

import pytest
import torch

from hemony.datasets import wave_augment
from hemony.datasets.seeding import generator

RATE_HZ = 8_000


def tone(hz: float, count: int = 8, samples: int = 8_000) -> torch.Tensor:
    return torch.sin(2 * math.pi * hz * torch.arange(samples) / RATE_HZ).repeat(count, 1)


def peak_hz(wave: torch.Tensor) -> float:
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave)), n=8 * len(wave)).abs()
    return float(spectrum.argmax()) * RATE_HZ / (8 * len(wave))


def test_gain_is_within_its_range_and_differs() -> None:
    levels_db = 20 * wave_augment.change_gain(torch.ones(500, 1), 12.0, generator(0, "x")).log10()
    assert levels_db.abs().max() <= 12.0
    assert levels_db.max() > 11.5
    assert levels_db.min() < -11.5


def test_speed_moves_pitch_and_keeps_the_middle() -> None:
    played = wave_augment.change_speed(tone(500), 0.2, generator(0, "x"))
    found = sorted(peak_hz(wave[2_000:6_000]) / 500 for wave in played)
    assert found[0] > 0.79
    assert found[-1] < 1.21
    assert found[-1] - found[0] > 0.1
    click = torch.zeros(4, 801)
    click[:, 400] = 1
    assert wave_augment.change_speed(click, 0.3, generator(0, "x")).argmax(dim=1).tolist() == [400] * 4


def test_no_change_of_speed_is_no_change() -> None:
    waves = torch.randn(3, 1_000)
    assert torch.allclose(wave_augment.change_speed(waves, 0.0, generator(0, "x")), waves, atol=1e-4)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for(snr_db: float) -> None:
    waves = tone(700)
    waves[:, 800:] = 0  # a short word in a long window: its own level counts, not the mean with the silence around it
    noise = wave_augment.coloured_noise(8, 8_000, generator(0, "noise"))
    added = wave_augment.add_noise(waves, noise, snr_db, snr_db, generator(0, "x")) - waves
    ratio_db = 10 * (0.5 / added.square().mean(dim=1)).log10()
    assert torch.allclose(ratio_db, torch.full((8,), snr_db), atol=0.1)


def test_noise_comes_from_white_to_brown() -> None:
    noise = wave_augment.coloured_noise(400, 8_000, generator(0, "noise"))
    assert torch.allclose(noise.square().mean(dim=1), torch.ones(400), atol=1e-3)
    power = torch.fft.rfft(noise).abs().square()
    octaves = (power[:, 100:200].mean(dim=1) / power[:, 1600:3200].mean(dim=1)).log2() / 4  # slope: powers of two an octave
    assert octaves.min() > -0.1
    assert octaves.min() < 0.15
    assert 1.8 < octaves.max() < 2.1


def test_a_room_decays_as_drawn_and_keeps_the_power() -> None:
    responses = wave_augment.room_responses(64, 4_000, RATE_HZ, (0.05, 0.5), generator(0, "room"))
    assert (responses[:, 0] >= 1).all()
    early, late = responses[:, 24:400].square().mean(dim=1), responses[:, 2_000:2_400].square().mean(dim=1)
    fall_db = 10 * (early / late).log10()
    assert fall_db.min() > 60 * 0.2 / 0.5 - 6  # the slowest: 60 dB in 0.5 s
    waves = torch.randn(64, 8_000)
    wet = wave_augment.reverberate(waves, responses)
    assert wet.shape == waves.shape
    assert torch.allclose(wet.square().mean(dim=1), waves.square().mean(dim=1), rtol=1e-3)
    silence = torch.zeros(64, 8_000)
    assert torch.equal(wave_augment.reverberate(silence, responses), silence)


def test_reverberation_is_a_convolution() -> None:
    waves, responses = torch.randn(2, 300), torch.randn(2, 50)
    wet = wave_augment.reverberate(waves, responses)
    for wave, response, found in zip(waves, responses, wet, strict=True):
        direct = torch.nn.functional.conv1d(torch.nn.functional.pad(wave, (49, 0))[None, None], response.flip(0)[None, None])[0, 0]
        assert torch.allclose(found / found.norm(), direct / direct.norm(), atol=1e-5)

"""The front end against torchaudio's and against a reference in float64 that shares nothing with it."""

import math

import numpy as np
import pytest
import torch
import torchaudio

from hemony.models import mel
from hemony.models.mel import LogMel

CASES = [(8_000, 256, 80, 40), (16_000, 400, 160, 64), (16_000, 1024, 320, 96), (22_050, 2048, 882, 128)]
CLIP_S = 0.7


def signals(rate_hz: int) -> dict[str, torch.Tensor]:
    samples = round(CLIP_S * rate_hz)
    seconds = torch.arange(samples) / rate_hz
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(0)) * 0.3
    buzz = sum(torch.sin(2 * math.pi * 120 * k * seconds) / k for k in range(1, 20))  # a voice without formants
    return {
        "noise": noise,
        "buzz": 0.2 * buzz * (1 + torch.sin(2 * math.pi * 4 * seconds)),
        "tone": 0.99 * torch.sin(2 * math.pi * 997 * seconds),
        "silence": torch.zeros(samples),
    }


def reference(wave: torch.Tensor, rate_hz: int, window: int, hop: int, mels: int) -> np.ndarray:
    """Mel power (mels, frames) in float64, by NumPy's FFT and triangles from their definition."""
    size = 1 << (window - 1).bit_length()
    half = window // 2
    padded = np.concatenate((np.zeros(half), wave.double().numpy(), np.zeros(window + hop)))
    hann = np.sin(np.pi * np.arange(window) / window) ** 2
    frames = np.stack([padded[start : start + window] * hann for start in range(0, len(wave) + 1, hop)])
    power = np.abs(np.fft.rfft(frames, size)) ** 2
    points = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + rate_hz / 2 / 700), mels + 2)
    corners = 700 * (10 ** (points / 2595) - 1)
    bins = np.arange(size // 2 + 1) * rate_hz / size
    triangles = [np.interp(bins, corners[index : index + 3], [0, 1, 0], left=0, right=0) for index in range(mels)]
    return np.stack(triangles) @ power.T


@pytest.mark.parametrize("name", ["noise", "buzz", "tone", "silence"])
@pytest.mark.parametrize(("rate_hz", "window", "hop", "mels"), CASES)
def test_the_front_end_is_that_of_the_float64_reference(name: str, rate_hz: int, window: int, hop: int, mels: int) -> None:
    wave = signals(rate_hz)[name]
    front = LogMel(rate_hz, window, hop, mels)
    expected = reference(wave, rate_hz, window, hop, mels)
    found = front.mel(wave[None])[0].double().numpy()
    assert found.shape == expected.shape == (mels, front.frames(len(wave)))
    assert np.abs(found - expected).max() <= 2e-6 * expected.max()
    logs = front(wave[None])[0].double().numpy()
    assert np.abs(logs - np.log(expected + 1e-6)).max() <= 1e-3


@pytest.mark.parametrize(("rate_hz", "window", "hop", "mels"), CASES)
def test_the_front_end_is_that_of_torchaudio(rate_hz: int, window: int, hop: int, mels: int) -> None:
    theirs = torchaudio.transforms.MelSpectrogram(
        rate_hz, 1 << (window - 1).bit_length(), window, hop, f_min=20.0, n_mels=mels, pad_mode="constant"
    )
    for wave in signals(rate_hz).values():
        expected = theirs(wave[None])
        assert (LogMel(rate_hz, window, hop, mels).mel(wave[None]) - expected).abs().max() <= 1e-5 * expected.max()


def test_it_stays_in_float32_under_mixed_precision() -> None:
    wave = signals(8_000)["noise"][None]
    front = LogMel(8_000, 256, 80, 40)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = front(wave)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, front(wave))


def test_a_warp_moves_a_tone_along_the_frequency_axis() -> None:
    seconds = torch.arange(8_000) / 8_000
    tone = torch.sin(2 * math.pi * 1_000 * seconds)
    front = LogMel(8_000, 256, 80, 40)
    moved = front.mel(tone.repeat(3, 1), torch.tensor([1.0, 1.1, 0.8]))
    for warp, found in zip((1.0, 1.1, 0.8), moved, strict=True):
        there = front.mel(torch.sin(2 * math.pi * 1_000 * warp * seconds)[None])[0]
        assert found.mean(dim=1).argmax() == there.mean(dim=1).argmax()
    assert torch.allclose(moved[0], front.mel(tone[None])[0])


def test_a_large_batch_is_heard_as_its_clips_one_by_one() -> None:
    front = LogMel(8_000, 256, 80, 40)
    waves = torch.randn(60, 4_000, generator=torch.Generator().manual_seed(0))
    assert 60 * front.frames(4_000) > mel.FRAMES_AT_ONCE
    warps = torch.linspace(0.8, 1.2, 60)
    assert torch.allclose(front(waves), torch.cat([front(wave[None]) for wave in waves]), atol=1e-5)
    alone = torch.cat([front(wave[None], warp[None]) for wave, warp in zip(waves, warps, strict=True)])
    assert torch.allclose(front(waves, warps), alone, atol=1e-5)


def test_a_gradient_reaches_the_waveform() -> None:
    wave = signals(8_000)["noise"][None, :1000].clone().requires_grad_()
    LogMel(8_000, 256, 80, 40)(wave).sum().backward()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()
    assert wave.grad.abs().min() > 0


def test_triangles_meet_at_their_corners() -> None:
    bins_hz = torch.linspace(0, 8_000, 2049, dtype=torch.float64)
    filters = mel.triangles(bins_hz, mel.mel_edges_hz(20, 20.0, 8_000.0))
    inside = filters.sum(dim=1)[60:1500]  # between the first and the last peak two neighbours add up to one
    assert torch.allclose(inside, torch.ones_like(inside), atol=1e-5)

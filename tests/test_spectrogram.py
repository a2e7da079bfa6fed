"""The spectrogram network: any length in, a gradient everywhere, and a normalisation that is the recursion it unrolls."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hemony import bundle, models
from hemony.config import Compression, SpectrogramConfig
from hemony.datasets.collection import PARTS
from hemony.inference import predict_logits
from hemony.models.spectrogram import PCEN, AttentivePooling, SpectrogramAugment, SpectrogramCNN, SpectrogramEnsemble
from hemony.plain import plain
from hemony.preprocessing import AudioView

CASES = [
    (SpectrogramConfig(width=0.25), 8_000),
    (SpectrogramConfig(width=0.25, compression=Compression.pcen), 8_000),
    (SpectrogramConfig(width=0.25, mels=64, window_s=0.025), 16_000),
    (SpectrogramConfig(width=0.25, mels=128, window_s=0.0929, hop_s=0.04, low_hz=60), 22_050),
]
ENSEMBLE = (SpectrogramConfig(width=0.25, members=2), 8_000)


@pytest.mark.parametrize(("config", "rate_hz"), CASES)
def test_shape_finite_and_a_gradient_for_every_parameter_and_for_the_sound(config: SpectrogramConfig, rate_hz: int) -> None:
    torch.manual_seed(0)
    network = models.build(config, AudioView(rate_hz, rate_hz), 5)
    assert isinstance(network, SpectrogramCNN)
    waves = (torch.randn(4, rate_hz) * 0.1).requires_grad_()
    logits = network(waves)
    assert logits.shape == (4, 5)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if "norm1" not in name and "conv1" not in name and "conv2" not in name and "norm2.bias" not in name:
            assert parameter.grad.abs().max() > 0, name
    assert waves.grad is not None
    assert waves.grad.abs().max() > 0


def test_an_ensemble_answers_with_the_mean_of_its_members_and_each_learns_from_its_own_share() -> None:
    torch.manual_seed(0)
    network = models.build(SpectrogramConfig(width=0.25, members=3), AudioView(8_000, 8_000), 5)
    assert isinstance(network, SpectrogramEnsemble)
    waves = torch.randn(7, 8_000) * 0.1
    network.train()
    assert network(waves).shape == (7, 5)
    network(waves)[:3].sum().backward()  # the first of seven clips that are parted as 3, 2 and 2
    first, *others = network.members
    assert all(parameter.grad is not None for parameter in first.parameters())
    assert all(parameter.grad is None or not parameter.grad.any() for member in others for parameter in member.parameters())
    assert network(waves[:2]).shape == (2, 5)  # fewer clips than members
    network.eval()
    alone = torch.stack([member(waves) for member in network.members])
    assert alone.std(dim=0).min() > 0
    assert torch.allclose(network(waves), alone.mean(dim=0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0, 7.3])
def test_it_takes_clips_of_any_length(seconds: float) -> None:
    network = models.build(CASES[0][0], AudioView(8_000, 8_000), 5).eval()
    assert network(torch.randn(2, round(seconds * 8_000))).isfinite().all()


@pytest.mark.parametrize(("config", "rate_hz"), [*CASES, ENSEMBLE])
def test_a_bundle_answers_as_before(config: SpectrogramConfig, rate_hz: int, tmp_path: Path) -> None:
    view = AudioView(rate_hz, rate_hz // 2)
    recogniser = models.Recogniser(models.build(config, view, 7), view)
    splits = dict.fromkeys(PARTS, np.zeros(0, dtype=np.uint64))
    bundle.save(bundle.Bundle(recogniser, list("abcdefg"), plain(config), view, 1.0, {}, {}, splits, {}, {}, {}), tmp_path, "")
    clips = torch.randint(-30_000, 30_000, (3, rate_hz // 2), dtype=torch.int16)
    loaded = bundle.load(tmp_path)
    assert loaded.preprocessing == view
    cpu = torch.device("cpu")
    assert torch.equal(predict_logits(loaded.recogniser, [clips], cpu, False), predict_logits(recogniser, [clips], cpu, False))


def test_relative_log_hears_the_same_loud_or_soft_and_silence_as_silence() -> None:
    torch.manual_seed(0)
    network = models.build(SpectrogramConfig(width=0.25), AudioView(8_000, 8_000), 5).eval()
    assert isinstance(network, SpectrogramCNN)
    waves = torch.randn(3, 8_000) * torch.linspace(0, 0.2, 8_000)
    assert torch.allclose(network(waves), network(waves * 0.05), atol=1e-4)
    absolute = models.build(SpectrogramConfig(width=0.25, compression=Compression.log), AudioView(8_000, 8_000), 5).eval()
    absolute.load_state_dict(network.state_dict())
    assert not torch.allclose(absolute(waves), absolute(waves * 0.05), atol=1e-2)
    loudest = network.compressed(network.front.mel(waves)).amax(dim=(1, 2))
    assert torch.allclose(loudest, torch.zeros(3), atol=1e-5)
    assert network(torch.zeros(1, 8_000)).isfinite().all()
    softer = network.compressed(network.front.mel(waves * 1e-6))
    assert softer.max() < -3  # a millionth of full scale is not brought up


def test_attention_is_the_mean_until_it_has_learned_and_leaves_out_frames_after() -> None:
    torch.manual_seed(0)
    pooling = AttentivePooling(4)
    maps = torch.randn(2, 4, 9)
    torch.nn.init.zeros_(pooling.score.weight)
    assert torch.allclose(pooling(maps), torch.cat((maps.mean(dim=2), maps.amax(dim=2)), dim=1), atol=1e-6)
    torch.nn.init.eye_(pooling.score.weight)
    pooling.score.weight.data *= 1e3  # each channel looks where it is largest
    assert torch.allclose(pooling(maps)[:, :4], maps.amax(dim=2), atol=1e-4)


def test_pcen_is_the_recursion_of_wang_and_others() -> None:
    mel = torch.rand(2, 6, 400, dtype=torch.float64).float() ** 4 * 10
    layer = PCEN(6, 0.01)
    smoothing = 1 - math.exp(-0.01 / 0.4)
    smooth = torch.empty_like(mel)
    smooth[..., 0] = mel[..., 0]
    for frame in range(1, 400):
        smooth[..., frame] = (1 - smoothing) * smooth[..., frame - 1] + smoothing * mel[..., frame]
    expected = (mel / (smooth + 1e-6) ** 0.8 + 2) ** 0.5 - 2**0.5
    assert torch.allclose(layer(mel), expected, rtol=0, atol=2e-3 * float(expected.max()))


def test_augmentation_keeps_within_its_bounds_and_is_a_function_of_the_seed() -> None:
    spectra = torch.ones(200, 40, 100)
    augment = SpectrogramAugment(0.2, 0.1, 6.0, 10, 0.15)

    def drawn() -> tuple[torch.Tensor, ...]:
        torch.manual_seed(3)
        warps = augment.warps(spectra)
        assert warps is not None
        return warps, augment.recorded(spectra), augment.masked(spectra)

    (warps, heard, masked), again = drawn(), drawn()
    for first, second in zip((warps, heard, masked), again, strict=True):
        assert torch.equal(first, second)
    assert warps.min() >= 0.8
    assert warps.max() <= 1.2
    silent_frames = (masked == 0).all(dim=1).sum(dim=1)
    silent_bands = (masked == 0).all(dim=2).sum(dim=1)
    assert silent_frames.max() == 10
    assert silent_bands.max() == 6
    assert silent_frames.float().mean() > 3
    level_db = 10 * heard[:, :, 50].log10()
    assert 4 < level_db.abs().max() <= 9.0  # three curves of up to half of 6 dB
    nothing = SpectrogramAugment(0.0, 0.0, 0.0, 0, 0.0)
    assert nothing.warps(spectra) is None
    assert torch.equal(nothing.recorded(spectra), spectra)
    assert torch.equal(nothing.masked(spectra), spectra)


def test_tempo_moves_an_event_about_the_middle_and_keeps_its_band() -> None:
    spectra = torch.zeros(64, 40, 101)
    spectra[:, 17, 70] = 1.0
    torch.manual_seed(0)
    moved = SpectrogramAugment(0.0, 0.3, 0.0, 0, 0.0).recorded(spectra)
    places = moved[:, 17].argmax(dim=1)
    assert moved.sum(dim=1).argmax(dim=1).equal(places)
    assert moved[:, :17].abs().max() == 0
    assert places.min() >= 50 + 20 / 1.3 - 1
    assert places.max() <= 50 + 20 / 0.7 + 1
    assert places.float().std() > 2

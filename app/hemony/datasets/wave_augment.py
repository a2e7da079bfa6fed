"""Augmentation of a batch of waveforms on its device, each draw from the generator that it is given.

Waves are float (B, T), full scale 1. Each function changes every clip by a draw of its own.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from hemony.config import AudioAugmentConfig
from hemony.datasets.mixing import mixup
from hemony.datasets.resident import Moment
from hemony.datasets.seeding import uniform
from hemony.media import FULL_SCALE

CLIPS_AT_ONCE = 32  # so that what lies between input and output stays in the cache


class WaveAugment:
    """All that the config asks for of the waveform: shift, speed, room, noise, gain, mixup, in this order.

    What is done to the spectrogram (formants, tempo, equaliser, masks) is the network's part, see `models.spectrogram.SpectrogramAugment`.
    """

    def __init__(self, config: AudioAugmentConfig, classes: int, sample_rate_hz: int) -> None:
        self.config = config
        self.classes = classes
        self.sample_rate_hz = sample_rate_hz

    def __call__(self, samples: Tensor, targets: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """Samples (B, T) of int16 or of its scale to float32 of its scale; labels (B,) or, after mixup, shares (B, K)."""
        config, draw = self.config, moment.draw
        waves = shift(samples.float() / FULL_SCALE, round((config.shift_s or 0.0) * self.sample_rate_hz), draw)
        if config.speed_share:
            waves = change_speed(waves, config.speed_share, draw)
        rate_hz, longest_s = self.sample_rate_hz, config.room_most_t60_s
        snr_db = (config.noise_least_snr_db, config.noise_most_snr_db)
        # the second half of a decay is 30 dB down and costs as much as the first
        waves = to_some(
            waves, config.room_share or 0.0, lambda some: in_rooms(some, rate_hz, (0.05, longest_s), longest_s / 2, draw), draw
        )
        waves = to_some(waves, config.noise_share or 0.0, lambda some: in_noise(some, snr_db, draw), draw)
        if config.gain_db:
            waves = change_gain(waves, config.gain_db, draw)
        if config.mixup_alpha:
            waves, targets = mixup(waves, functional.one_hot(targets, self.classes).float(), config.mixup_alpha, draw)
        return waves * FULL_SCALE, targets


def to_some(waves: Tensor, share: float, change: Callable[[Tensor], Tensor], draw: Generator) -> Tensor:
    """`change` done to about a `share` of the clips."""
    if not share:
        return waves
    chosen = torch.rand(len(waves), generator=draw, device=draw.device) < share
    changed = waves.clone()
    if chosen.any():
        changed[chosen] = change(waves[chosen])
    return changed


def few_at_once(change: Callable[[Tensor, Tensor], Tensor], waves: Tensor, by: Tensor) -> Tensor:
    """`change` done to the clips with what is drawn for each (B, 1); on a CPU to a few at a time, which takes a fifth of the time."""
    if waves.device.type != "cpu":
        return change(waves, by)
    return torch.cat(
        [change(*part) for part in zip(torch.split(waves, CLIPS_AT_ONCE), torch.split(by, CLIPS_AT_ONCE), strict=True)]
    )


def shift(waves: Tensor, most: int, draw: Generator) -> Tensor:
    """Each clip earlier or later by up to `most` samples; silence moves in."""
    if not most:
        return waves
    moves = torch.randint(-most, most + 1, (len(waves), 1), generator=draw, device=draw.device)
    return few_at_once(later, waves, moves)


def later(waves: Tensor, moves: Tensor) -> Tensor:
    """Each clip later by its number of samples (B, 1), which may be negative; silence moves in."""
    samples = waves.shape[1]
    places = torch.arange(samples, device=waves.device) - moves
    return waves.gather(1, places.clamp(0, samples - 1)) * ((places >= 0) & (places < samples))


def change_gain(waves: Tensor, gain_db: float, draw: Generator) -> Tensor:
    """Each clip louder or softer by up to `gain_db`."""
    return waves * 10 ** (uniform((len(waves), 1), -gain_db, gain_db, draw) / 20)


def change_speed(waves: Tensor, speed_share: float, draw: Generator) -> Tensor:
    """Each clip played 1 ± `speed_share` times as fast, pitch and all, about its middle; silence where it has ended."""
    return few_at_once(faster, waves, uniform((len(waves), 1), 1 - speed_share, 1 + speed_share, draw))


def faster(waves: Tensor, speeds: Tensor) -> Tensor:
    """Each clip played so many times as fast (B, 1) about its middle.

    Read between samples by a cubic (Catmull-Rom): good to -60 dB below a third of the sample rate.
    """
    samples = waves.shape[1]
    middle = (samples - 1) / 2
    places = middle + (torch.arange(samples, device=waves.device) - middle) * speeds  # (B, T)
    low = places.floor()
    share = places - low
    index = low.long() + 1  # in the padded wave
    padded = functional.pad(waves, (1, 2))
    inside = (index >= 1) & (index <= samples)
    before, here, after, beyond = (padded.gather(1, (index + step).clamp(0, samples + 2)) for step in (-1, 0, 1, 2))
    slope_here, slope_after = (after - before) / 2, (beyond - here) / 2
    cubic = 2 * (here - after) + slope_here + slope_after
    square = 3 * (after - here) - 2 * slope_here - slope_after
    return (((cubic * share + square) * share + slope_here) * share + here) * inside


def coloured_noise(count: int, samples: int, draw: Generator, steepest: float = 2.0) -> Tensor:
    """Noise (count, samples) of power 1 whose spectrum falls as 1 / f^a, a drawn from 0 (white) to `steepest` (brown)."""
    white = torch.randn((count, samples), generator=draw, device=draw.device)
    spectrum = torch.fft.rfft(white)
    places = torch.arange(spectrum.shape[1], device=draw.device).clamp(min=1)
    slopes = uniform((count, 1), 0.0, steepest, draw) / 2
    noise: Tensor = torch.fft.irfft(spectrum * places**-slopes, n=samples)
    return noise / noise.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-9)


def add_noise(waves: Tensor, noise: Tensor, least_snr_db: float, most_snr_db: float, draw: Generator) -> Tensor:
    """`noise` (B, T) added to each clip at a drawn ratio of its loudest tenth of a second's power to the noise's."""
    snr_db = uniform((len(waves), 1), least_snr_db, most_snr_db, draw)
    parts = functional.avg_pool1d(waves.square()[:, None], max(1, waves.shape[1] // 10), ceil_mode=True)
    level = parts.amax(dim=2).sqrt()  # (B, 1)
    own = noise.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-9)
    return waves + noise / own * level * 10 ** (-snr_db / 20)


def room_responses(count: int, samples: int, sample_rate_hz: int, t60_s: tuple[float, float], draw: Generator) -> Tensor:
    """Synthetic impulse responses (count, samples): the direct sound, then noise that decays by 60 dB in a drawn time.

    Polack's model (1988): diffuse sound is Gaussian noise under an exponential. The ratio of direct to diffuse energy is drawn too.
    """
    decay_s = uniform((count, 1), *t60_s, draw)
    seconds = torch.arange(samples, device=draw.device) / sample_rate_hz
    diffuse = torch.randn((count, samples), generator=draw, device=draw.device) * (-3 * math.log(10) * seconds / decay_s).exp()
    diffuse[:, : round(0.003 * sample_rate_hz)] = 0  # the first reflection has a metre to go
    diffuse /= diffuse.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-9)
    ratio = 10 ** (-uniform((count, 1), 0.0, 15.0, draw) / 20)
    diffuse = diffuse * ratio
    diffuse[:, 0] += 1
    return diffuse


def reverberate(waves: Tensor, responses: Tensor) -> Tensor:
    """Each clip (B, T) convolved with its response (B, R), the first T samples, at the clip's own power."""
    wet = convolved(waves, responses)
    power, own = (values.square().mean(dim=1, keepdim=True).sqrt() for values in (wet, waves))
    return wet * own / power.clamp(min=1e-9)


def convolved(waves: Tensor, responses: Tensor) -> Tensor:
    """Each clip (B, T) convolved with its response (B, R): the first T samples."""
    size = waves.shape[1] + responses.shape[1]
    wet: Tensor = torch.fft.irfft(torch.fft.rfft(waves, n=size) * torch.fft.rfft(responses, n=size), n=size)
    return wet[:, : waves.shape[1]]


def in_rooms(waves: Tensor, sample_rate_hz: int, t60_s: tuple[float, float], response_s: float, draw: Generator) -> Tensor:
    """Each clip in a room of its own, with a reverberation time between the two and a response of `response_s`."""
    return reverberate(waves, room_responses(len(waves), round(response_s * sample_rate_hz), sample_rate_hz, t60_s, draw))


def in_noise(waves: Tensor, snr_db: tuple[float, float], draw: Generator) -> Tensor:
    """Each clip in noise of a drawn colour, at a ratio between the two."""
    return add_noise(waves, coloured_noise(len(waves), waves.shape[1], draw), *snr_db, draw)

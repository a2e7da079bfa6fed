"""Whole sounds: strikes of bells with their transient, and sounds that are no bells, in batches.

Everything random comes from the generator that is given, on its device; a `Range` says from where, so that a test set can be drawn from
where a training never was.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from hemony.bells.synth import TABLES, BellKind, Modes, draw_modes, sound
from hemony.bells.tuning import midi_to_hz
from hemony.datasets.seeding import uniform
from hemony.datasets.wave_augment import later

SEMITONES = 12
LONGEST_RUNG_S = 2.0  # before a clip begins, and
RUNG_DB = 20.0  # at most so far down is the partial that was second at the strike


@dataclass(frozen=True)
class Range:
    """Where the parameters of a set of sounds are drawn from."""

    pitch_classes: tuple[float, float]  # semitones above C, from and to, of the strike or fundamental note, modulo the octave
    spread: tuple[float, float]  # of the partials' ratios, in units of that between real bells
    decay: tuple[tuple[float, float], ...]  # factor of the decay times, from one interval or another
    transient_db: tuple[float, float]  # level of the strike's noise beside the bell
    level_spread_db: float  # standard deviation of the partials' levels beyond that between bells: hammers, microphones, towers


def chance(count: int, probability: float, draw: Generator) -> Tensor:
    """(count,) bool."""
    return torch.rand(count, generator=draw, device=draw.device) < probability


def within(intervals: tuple[tuple[float, float], ...], count: int, draw: Generator) -> Tensor:
    """(count,) from one of the intervals each, all of them as likely."""
    which = torch.randint(len(intervals), (count,), generator=draw, device=draw.device)
    low, high = torch.tensor(intervals, device=draw.device)[which].unbind(dim=1)
    return torch.lerp(low, high, uniform((count,), 0.0, 1.0, draw))


def notes(count: int, low_midi: float, high_midi: float, ranges: Range, draw: Generator) -> Tensor:
    """MIDI numbers (count,) between two notes whose pitch class lies in the range."""
    low, high = ranges.pitch_classes
    classes = uniform((count,), low, high, draw) % SEMITONES
    octaves = torch.floor((uniform((count,), low_midi, high_midi, draw) - classes) / SEMITONES + 0.5)
    midi = classes + SEMITONES * octaves
    midi = torch.where(midi < low_midi, midi + SEMITONES, midi)
    return torch.where(midi > high_midi, midi - SEMITONES, midi)


def strikes(kind: BellKind, count: int, samples: int, sample_rate_hz: int, ranges: Range, draw: Generator) -> Tensor:
    """Strikes of a kind of bell (count, samples), peak 1; a third of the clips hold a second strike of another bell of the kind."""
    waves = single_strikes(kind, count, samples, sample_rate_hz, ranges, draw)
    second = single_strikes(kind, count, samples, sample_rate_hz, ranges, draw)
    delay = uniform((count,), 0.1, 0.8, draw) * samples
    level = 10 ** (-uniform((count, 1), 0.0, 12.0, draw) / 20) * chance(count, 0.33, draw)[:, None]
    return at_peak(waves + later(second, delay.long()[:, None]) * level)


def single_strikes(kind: BellKind, count: int, samples: int, sample_rate_hz: int, ranges: Range, draw: Generator) -> Tensor:
    """One strike each (count, samples), beginning in the first quarter; a third has been ringing before the clip begins.

    That is for up to LONGEST_RUNG_S, and only until the second partial is RUNG_DB down: a bell of which nothing but one partial is left
    does not say what kind it is.
    """
    table = TABLES[kind]
    midi = notes(count, table.lowest_midi, table.highest_midi, ranges, draw)
    spread = float(uniform((1,), *ranges.spread, draw))
    modes = draw_modes(kind, midi, draw, spread)
    decay = within(ranges.decay, count, draw)[:, None]
    brightness_db = uniform((count, 1), -6.0, 6.0, draw)  # an octave: hammers and microphones differ
    ringing = chance(count, 0.33, draw)[:, None]
    octaves = (modes.frequency_hz / modes.strike_hz[:, None]).clamp(min=0.1).log2()
    jitter_db = torch.randn((count, len(table.partials)), generator=draw, device=draw.device).repeat(1, 2) * ranges.level_spread_db
    amplitude = modes.amplitude * 10 ** ((brightness_db * octaves + jitter_db) / 20)
    t60_s = modes.t60_s * decay
    partials = (amplitude * (modes.frequency_hz < sample_rate_hz / 2)).reshape(count, 2, -1).sum(dim=1)  # of a pair of modes each
    second = partials.topk(2).indices[:, 1:]
    since_s = uniform((count, 1), 0.0, 1.0, draw) * (t60_s.gather(1, second) * RUNG_DB / 60).clamp(max=LONGEST_RUNG_S) * ringing
    modes = replace(modes, amplitude=amplitude * 10 ** (-3 * since_s / t60_s), t60_s=t60_s)
    waves = at_peak(sound(modes, sample_rate_hz, samples))
    strike = transients(count, samples, sample_rate_hz, draw) * 10 ** (uniform((count, 1), *ranges.transient_db, draw) / 20)
    delay = uniform((count,), 0.0, 0.25, draw) * samples * ~ringing[:, 0]
    return later(waves + strike * ~ringing, delay.long()[:, None])


def transients(count: int, samples: int, sample_rate_hz: int, draw: Generator) -> Tensor:
    """The noise of a strike (count, samples): 10 to 30 ms, peak 1, its colour drawn."""
    seconds = torch.arange(samples, device=draw.device) / sample_rate_hz
    noise = torch.randn((count, samples), generator=draw, device=draw.device)
    dull = (noise + noise.roll(1, 1) + noise.roll(2, 1) + noise.roll(3, 1)) / 4
    noise = noise.lerp(dull, uniform((count, 1), 0.0, 1.0, draw))
    return at_peak(noise * (-6.9 * seconds / uniform((count, 1), 0.01, 0.03, draw)).exp())


def others(count: int, samples: int, sample_rate_hz: int, ranges: Range, draw: Generator) -> Tensor:
    """Sounds that are no bells (count, samples), peak 1: harmonic tones, speech-like, drum-like, noise, and next to nothing."""
    makers = (harmonic_tones, speech_like, drum_like, noises)
    which = torch.randint(len(makers), (count,), generator=draw, device=draw.device)
    waves = torch.empty((count, samples), device=draw.device)
    for number, make in enumerate(makers):
        chosen = which == number
        if chosen.any():
            waves[chosen] = make(int(chosen.sum()), samples, sample_rate_hz, ranges, draw)
    return at_peak(waves)


def harmonic_tones(count: int, samples: int, sample_rate_hz: int, ranges: Range, draw: Generator) -> Tensor:
    """Strings, winds, organs, plucked and struck strings: whole multiples of a fundamental, with vibrato, swelling or dying away."""
    partials = 24
    midi = notes(count, 36, 96, ranges, draw)
    numbers = torch.arange(1, partials + 1, device=draw.device)
    stretch = 1 + uniform((count, 1), 0.0, 4e-4, draw) * numbers**2 * chance(count, 0.3, draw)[:, None]  # stiff strings
    slope_db = uniform((count, 1), 3.0, 15.0, draw)  # an octave
    even = 1 - 0.9 * chance(count, 0.2, draw)[:, None] * (numbers % 2 == 0)  # closed pipes
    level_db = -slope_db * numbers.log2() + torch.randn((count, partials), generator=draw, device=draw.device) * 4
    dying = chance(count, 0.5, draw)
    t60_s = torch.where(dying, uniform((count,), 0.2, 6.0, draw), 1e3)[:, None] / numbers**0.5
    modes = modes_of(midi_to_hz(midi)[:, None] * numbers * stretch, 10 ** (level_db / 20) * even, t60_s, draw)
    waves = sound(modes, sample_rate_hz, samples)
    depth = uniform((count, 1), 0.0, 0.004, draw) * chance(count, 0.5, draw)[:, None]
    waves = wavering(waves, uniform((count, 1), 4.0, 7.0, draw), depth, sample_rate_hz)
    return enveloped(waves, ~dying, sample_rate_hz, draw)


def speech_like(count: int, samples: int, sample_rate_hz: int, ranges: Range, draw: Generator) -> Tensor:
    """Syllables: a buzz through three formants that jump from one to the next, with hisses between."""
    syllables, partials = 5, 32
    length = samples // syllables
    tract = uniform((count, 1), 0.85, 1.2, draw)
    f0 = uniform((count, 1), 80.0, 300.0, draw)
    numbers = torch.arange(1, partials + 1, device=draw.device)
    pieces = []
    for _ in range(syllables):
        fundamental = f0 * uniform((count, 1), 0.85, 1.2, draw)
        frequencies = fundamental * numbers
        gain = torch.zeros_like(frequencies)
        for low, high, width in ((250, 850, 80), (850, 2400, 110), (2300, 3200, 160)):
            centre = uniform((count, 1), low, high, draw) * tract
            gain = gain + 1 / (1 + ((frequencies - centre) / width) ** 2)
        modes = modes_of(frequencies, gain / numbers**0.5, torch.full_like(frequencies, 1e3), draw)
        voiced = sound(modes, sample_rate_hz, length)
        hiss = torch.randn((count, length), generator=draw, device=draw.device)
        hiss = hiss - hiss.roll(1, 1)
        share = chance(count, 0.25, draw)[:, None] * 1.0
        loud = uniform((count, 1), 0.0, 1.0, draw) ** 0.5
        shape = torch.hann_window(length, device=draw.device) ** 0.5
        pieces.append((at_peak(voiced) * (1 - share) + at_peak(hiss) * share * 0.4) * shape * loud)
    waves = torch.cat(pieces, dim=1)
    waves = torch.nn.functional.pad(waves, (0, samples - waves.shape[1]))
    return wavering(waves, uniform((count, 1), 0.5, 3.0, draw), uniform((count, 1), 0.0, 0.02, draw), sample_rate_hz)


def drum_like(count: int, samples: int, sample_rate_hz: int, ranges: Range, draw: Generator) -> Tensor:
    """Membranes (modes of a circular one, Rossing 2000), rattles and clicks: up to four strokes a clip."""
    ratios = torch.tensor([1.0, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501], device=draw.device)
    total = torch.zeros((count, samples), device=draw.device)
    seconds = torch.arange(samples, device=draw.device) / sample_rate_hz
    for stroke in range(4):
        f0 = uniform((count, 1), 40.0, 500.0, draw)
        level_db = -uniform((count, len(ratios)), 0.0, 25.0, draw)
        t60_s = uniform((count, 1), 0.05, 0.8, draw) / ratios**0.7
        skin = at_peak(sound(modes_of(f0 * ratios, 10 ** (level_db / 20), t60_s, draw), sample_rate_hz, samples))
        rattle = torch.randn((count, samples), generator=draw, device=draw.device)
        rattle = rattle - uniform((count, 1), 0.0, 0.9, draw) * rattle.roll(1, 1)
        rattle = at_peak(rattle * (-6.9 * seconds / uniform((count, 1), 0.01, 0.5, draw)).exp())
        share = uniform((count, 1), 0.0, 1.0, draw)
        wave = skin * share + rattle * (1 - share)
        there = (torch.ones(count, dtype=torch.bool, device=draw.device) if stroke == 0 else chance(count, 0.5, draw))[:, None]
        delay = uniform((count,), 0.0, 0.9, draw) * samples
        total = total + later(wave, delay.long()[:, None]) * there
    return total


def noises(count: int, samples: int, sample_rate_hz: int, ranges: Range, draw: Generator) -> Tensor:
    """Noise of every colour, steady, swelling or in gusts; hum of the mains; now and then next to nothing."""
    spectrum = torch.fft.rfft(torch.randn((count, samples), generator=draw, device=draw.device))
    places = torch.arange(spectrum.shape[1], device=draw.device).clamp(min=1)
    coloured = torch.fft.irfft(spectrum * places ** -uniform((count, 1), -0.5, 1.2, draw), n=samples)
    gusts = 1 + uniform((count, 1), 0.0, 1.0, draw) * sines(count, samples, sample_rate_hz, 0.2, 8.0, draw)
    hum = at_peak(sum((sines(count, samples, sample_rate_hz, 50.0 * k, 60.0 * k, draw) / k for k in (1, 2, 3)), torch.zeros(())))
    return at_peak(coloured) * gusts + hum * chance(count, 0.2, draw)[:, None]


def sines(count: int, samples: int, sample_rate_hz: int, low_hz: float, high_hz: float, draw: Generator) -> Tensor:
    """One sine each (count, samples)."""
    seconds = torch.arange(samples, device=draw.device) / sample_rate_hz
    frequency_hz, phase = uniform((count, 1), low_hz, high_hz, draw), uniform((count, 1), 0.0, 2 * math.pi, draw)
    return torch.sin(2 * math.pi * frequency_hz * seconds + phase)


def modes_of(frequency_hz: Tensor, amplitude: Tensor, t60_s: Tensor, draw: Generator) -> Modes:
    """Modes (B, M) with drawn phases."""
    phase = uniform(tuple(frequency_hz.shape), 0.0, 2 * math.pi, draw).double()
    frequency_hz = frequency_hz.double()
    return Modes(frequency_hz, amplitude.double(), t60_s.double().expand_as(frequency_hz), phase, frequency_hz[:, 0])


def wavering(waves: Tensor, rate_hz: Tensor, depth: Tensor, sample_rate_hz: int) -> Tensor:
    """Pitch swinging by a share of `depth` (B, 1), `rate_hz` (B, 1) times a second: the clip read at a varying speed, linearly."""
    samples = waves.shape[1]
    places = torch.arange(samples, device=waves.device)
    turn = 2 * math.pi * rate_hz / sample_rate_hz
    moved = (places + depth / turn * (1 - torch.cos(turn * places))).clamp(0, samples - 1)
    low = moved.long().clamp(max=samples - 2)
    return waves.gather(1, low).lerp(waves.gather(1, low + 1), moved - low)


def enveloped(waves: Tensor, sustained: Tensor, sample_rate_hz: int, draw: Generator) -> Tensor:
    """A soft beginning for all, and for the `sustained` (B,) ones a beginning and an end somewhere in the clip."""
    count, samples = waves.shape
    places = torch.arange(samples, device=waves.device) / samples
    attack = uniform((count, 1), 0.001, 0.1, draw)
    start = uniform((count, 1), 0.0, 0.4, draw) * sustained[:, None]
    end = torch.where(sustained[:, None], start + uniform((count, 1), 0.3, 1.0, draw), 2.0)
    return waves * ((places - start) / attack).clamp(0, 1) * ((end - places) / attack).clamp(0, 1)


def at_peak(waves: Tensor) -> Tensor:
    """Each clip with its largest value at 1."""
    return waves / waves.abs().amax(dim=1, keepdim=True).clamp(min=1e-6)

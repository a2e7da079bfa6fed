"""The ear: when bells are struck, and at which pitch, in a recording of any length.

Two networks on one recording. The first hears a spectrogram frame by frame and says where notes begin. The second looks at each of
those moments: spectra from before and after it on a logarithmic frequency axis, moved by the ratios of bells' partials so that at each
place stand the partials of the bell whose strike note that place is. It is convolutional along that axis, so that what it has learnt
of one pitch it knows of all. It names the highest voice: a chord's bells below it are heard as what they are. Where there are no chords,
the highest that is to be heard may be the note before, still ringing: so it names the only bell struck as well, and says whether there are.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony.bells.synth import BellKind
from hemony.bells.tuning import hz_to_midi, midi_to_hz
from hemony.models.precision import at_least_float32

SAMPLE_RATE_HZ = 24_000
HOP = 240  # samples from frame to frame: 10 ms
FRAME = 2048  # samples that a frame hears, around its middle
LOOKS = ((512, 48), (FRAME, 192))  # window in samples and bands from LOWEST_HZ to HIGHEST_HZ: for strikes, and for partials
BANDS = sum(bands for _, bands in LOOKS)
RISES = (2, 5)  # frames over which a rise is told, in each look
LULL = (5, 17)  # frames before one, whose loudest it has to exceed to be news
MAP_FRAMES = 3  # that the convolutions along frequency and time reach to either side
DOUBLINGS = 6  # of the distance over which the convolutions along time look back
PAST_FRAMES = 1 + 2 * (2**DOUBLINGS - 1)  # that they reach
MAPS, GROUP = 8, 16  # of the convolutions along frequency and time, and bands of which they keep the strongest and the mean
CANDIDATE = 0.02  # probability of an onset from which it is worth asking for its pitch
LOWEST_HZ, HIGHEST_HZ = 60.0, 11_500.0
FLOOR = 1e-8  # power beside the loudest of the recording

STEPS_A_SEMITONE = 4
LOWEST_MIDI, HIGHEST_MIDI = 50, 111  # strike notes that are known
PITCHES = (HIGHEST_MIDI - LOWEST_MIDI) * STEPS_A_SEMITONE + 1
NEAR, CLOSE = 2, 3  # places that are one pitch, and in which there is no other
RATIOS = (
    0.5,
    0.634,
    1.0,
    1.195,
    1.235,
    1.505,
    2.0,
    2.5,
    2.72,
    2.976,
    3.96,
    4.1,
    4.93,
    5.35,
    6.7,
    8.8,
)  # of partials to the strike note
VIEWS = (
    (-2112, 2048),
    (-4160, 4096),
    (96, 2048),
    (240, 4096),
    (240, 8192),
)  # samples from the onset to a window's begin, and its length
EARLY = 3  # views that end soon enough after the onset for a stream; the others are left out there
FFT_SIZE = 8192
DEEPEST_DB = 90.0  # below the loudest place of a note's spectra
KINDS = tuple(BellKind)


class Pitches(NamedTuple):
    """What is heard at N moments: logits."""

    highest: Tensor  # (N, PITCHES + 1): the strike note, the last for none, of the highest bell that is struck
    only: Tensor  # (N, PITCHES + 1): the same where no two bells are struck together
    kind: Tensor  # (N, kinds): the kind of bell
    chords: Tensor  # (N,): that in this recording bells are struck together


class Ear(nn.Module):
    """Recordings at SAMPLE_RATE_HZ, float (B, samples); see `onsets` and `pitches`."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.onset = OnsetNetwork(width)
        self.pitch = PitchNetwork(width, dropout)

    def onsets(self, waves: Tensor) -> Tensor:
        """Logits (B, frames) that a note begins at sample HOP * frame."""
        logits: Tensor = self.onset(*loudness(self.onset.powers(waves)))
        return logits

    def pitches(self, waves: Tensor, owner: Tensor, onset: Tensor, early: bool | Tensor = False) -> Pitches:
        """For N onsets, samples (N,) of recordings `owner` (N,). `early`, also one each (N,): with what is heard within a tenth of a second
        alone."""
        heard: Pitches = self.pitch(snapshots(waves, owner, onset, self.pitch.hann, self.pitch.filters), early)
        return heard


class OnsetNetwork(nn.Module):
    """What `loudness` gives to logits (B, frames), with 4 frames of look-ahead beyond half a FRAME.

    Small convolutions along frequency and time find partials that begin, wherever they are; then convolutions along time find strikes.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        for number, (window, bands) in enumerate(LOOKS):
            bins_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, window // 2 + 1, dtype=torch.float64)
            edges_midi = torch.linspace(hz_to_midi(LOWEST_HZ), hz_to_midi(HIGHEST_HZ), bands + 2, dtype=torch.float64)
            self.register_buffer(f"hann{number}", torch.hann_window(window) * (2 / window), persistent=False)
            self.register_buffer(f"filters{number}", wide_triangles(bins_hz, midi_to_hz(edges_midi)), persistent=False)
        strikes, partials = (bands for _, bands in LOOKS)
        self.begin = nn.Conv2d(3, MAPS, (3, 3), padding=1)
        self.go_on = nn.Conv2d(MAPS, MAPS, (3, 5), padding=(1, 2))
        self.enter = nn.Conv1d(2 * strikes + 2 * MAPS * (partials // GROUP), width, 3, padding=1)
        self.past = nn.ModuleList(PastConvolution(width, 2**power) for power in range(DOUBLINGS))
        self.head = nn.Conv1d(width, 1, 1)

    def powers(self, waves: Tensor) -> Tensor:
        """Power in each band (B, BANDS, frames) of the frames around samples 0, HOP, 2 HOP, ... of recordings."""
        return self.band_powers(functional.pad(waves, (FRAME // 2, FRAME // 2)))

    def band_powers(self, waves: Tensor) -> Tensor:
        """The same of frames that begin at samples 0, HOP, 2 HOP, ..., as many as lie whole in the waves."""
        heard = []
        with torch.autocast(waves.device.type, enabled=False):
            for number, (window, _) in enumerate(LOOKS):
                aside = (FRAME - window) // 2  # the windows of a frame have one middle
                inside = at_least_float32(waves[:, aside : waves.shape[1] - aside]).unfold(-1, window, HOP)
                spectra = torch.fft.rfft(inside * self.get_buffer(f"hann{number}"))
                power = spectra.real.square() + spectra.imag.square()
                heard.append((power @ self.get_buffer(f"filters{number}")).transpose(1, 2))
        return torch.cat(heard, dim=1)

    def forward(self, strikes: Tensor, partials: Tensor) -> Tensor:
        return self.decide(self.beginnings(strikes, partials))

    def beginnings(self, strikes: Tensor, partials: Tensor) -> Tensor:
        """What begins in each frame (B, features, frames), by what lies up to MAP_FRAMES frames around it."""
        maps = partials.contiguous(memory_format=torch.channels_last)
        maps = functional.gelu(self.go_on(functional.gelu(self.begin(maps))))
        grouped = maps.reshape(len(maps), MAPS, -1, GROUP, maps.shape[3])  # (B, MAPS, groups, GROUP, frames)
        found = torch.cat((grouped.amax(dim=3), grouped.mean(dim=3)), dim=1).flatten(1, 2)
        return torch.cat((found, strikes), dim=1)

    def decide(self, beginnings: Tensor) -> Tensor:
        """Logits (B, frames), by the frame after each and PAST_FRAMES before it."""
        hidden = functional.gelu(self.enter(beginnings))
        for layer in self.past:
            hidden = hidden + functional.gelu(layer(hidden))
        logits: Tensor = at_least_float32(self.head(hidden)[:, 0])
        return logits


class PastConvolution(nn.Conv1d):
    """Of each frame and two before it, `apart` frames apart."""

    def __init__(self, width: int, apart: int) -> None:
        super().__init__(width, width, 3, dilation=apart)
        self.apart = apart

    def forward(self, hidden: Tensor) -> Tensor:
        heard: Tensor = super().forward(functional.pad(hidden, (2 * self.apart, 0)))
        return heard


def loudness(power: Tensor, reference: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Band powers (B, BANDS, frames) to what the network hears: strikes (B, 2 * bands, frames) and partials (B, 3, bands, frames).

    That is their level beside `reference`, the loudest of the recording if it is not given; how it rises; and for partials how far it
    is above all that was there a moment before.
    """
    if reference is None:
        reference = power.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    level = (power / reference + FLOOR).log10()
    strikes, partials = torch.split(level, [bands for _, bands in LOOKS], dim=1)
    rises = [
        (part - part[:, :, earlier(part, frames)]).clamp(-2, 2) for part, frames in zip((strikes, partials), RISES, strict=True)
    ]
    latest, earliest = LULL
    before = torch.cat((partials[:, :, :1].expand(-1, -1, earliest), partials), dim=2)
    lull = functional.max_pool1d(before, earliest - latest + 1, 1)[:, :, : partials.shape[2]]
    news = (partials - lull).clamp(-2, 2)
    return torch.cat((strikes / 4 + 1, rises[0]), dim=1), torch.stack((partials / 4 + 1, rises[1], news), dim=1)


def earlier(level: Tensor, frames: int) -> Tensor:
    """Places of the frames of a level (..., T) so many frames before each, the first one where there is none."""
    return (torch.arange(level.shape[-1], device=level.device) - frames).clamp(min=0)


def wide_triangles(bins_hz: Tensor, edges_hz: Tensor) -> Tensor:
    """Triangular filters float32 (bins, bands) between edges (bands + 2,), each at least two bins of the transform wide to either side."""
    apart_hz = bins_hz[1] - bins_hz[0]
    centres = edges_hz[1:-1]
    lower = torch.minimum(edges_hz[:-2], centres - apart_hz)
    upper = torch.maximum(edges_hz[2:], centres + apart_hz)
    rising = (bins_hz[:, None] - lower) / (centres - lower)
    falling = (upper - bins_hz[:, None]) / (upper - centres)
    return torch.minimum(rising, falling).clamp(min=0).float()


class PitchNetwork(nn.Module):
    """Spectra (N, views, places) to what is heard in them."""

    hann: Tensor
    filters: Tensor

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        lowest, highest = places_of(LOWEST_MIDI, min(RATIOS)), places_of(HIGHEST_MIDI, max(RATIOS))
        steps = torch.arange(lowest - 1, highest + 2, dtype=torch.float64)
        bins_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SIZE // 2 + 1, dtype=torch.float64)
        filters = wide_triangles(bins_hz, midi_to_hz(steps / STEPS_A_SEMITONE))
        heard = midi_to_hz(steps[1:-1] / STEPS_A_SEMITONE) < 0.98 * SAMPLE_RATE_HZ / 2
        self.register_buffer("filters", filters * heard, persistent=False)
        self.register_buffer("hann", torch.hann_window(FFT_SIZE), persistent=False)
        self.offsets = [places_of(LOWEST_MIDI, ratio) - lowest for ratio in RATIOS]
        self.enter = nn.Conv1d(len(VIEWS) * len(RATIOS) + 1, width, 3, padding=1)
        self.blocks = nn.ModuleList(PitchBlock(width, dilation, dropout) for dilation in (1, 2, 12, 48, 4))
        self.norm = nn.GroupNorm(1, width)
        self.head = nn.Conv1d(width, 2, 1)  # the highest bell, and the only one
        self.whole = nn.Linear(2 * width, 2 + len(KINDS))  # none in either case, and the kinds
        self.chords = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, spectra: Tensor, early: bool | Tensor) -> Pitches:
        if not isinstance(early, Tensor):
            early = torch.full((len(spectra),), early, device=spectra.device)
        shut = early[:, None, None] & (torch.arange(len(VIEWS), device=spectra.device) >= EARLY)[None, :, None]
        spectra = torch.where(shut, 0.0, spectra)
        moved = torch.cat([spectra[:, :, offset : offset + PITCHES] for offset in self.offsets], dim=1)
        flag = early[:, None, None].to(moved.dtype).expand(-1, 1, PITCHES)
        hidden = self.enter(torch.cat((moved, flag), dim=1))
        for block in self.blocks:
            hidden = block(hidden)
        hidden = functional.gelu(self.norm(hidden))
        logits = at_least_float32(self.head(hidden))
        where = logits[:, :1].softmax(dim=2).to(hidden.dtype)
        seen = torch.cat(((hidden * where).sum(dim=2), hidden.amax(dim=2)), dim=1)
        whole = at_least_float32(self.whole(seen))
        chords = at_least_float32(self.chords(torch.cat((seen, hidden.mean(dim=2)), dim=1)))
        highest, only = torch.cat((logits, whole[:, :2, None]), dim=2).unbind(dim=1)
        return Pitches(highest, only, whole[:, 2:], chords[:, 0])


class PitchBlock(nn.Module):
    """Two convolutions along the frequency axis, added to what was there."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.second = nn.Conv1d(width, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        inner = functional.gelu(self.first(functional.gelu(self.norm(hidden))))
        outer: Tensor = hidden + self.dropout(self.second(inner))
        return outer


def places_of(midi: float, ratio: float) -> int:
    """The place on the logarithmic frequency axis of a partial of a strike note."""
    return round((midi + 12 * math.log2(ratio)) * STEPS_A_SEMITONE)


def snapshots(waves: Tensor, owner: Tensor, onset: Tensor, hann: Tensor, filters: Tensor) -> Tensor:
    """Spectra (N, views, places) around N onsets: logarithms beside the loudest place of each note, in 0 to 1."""
    before = -min(start for start, _ in VIEWS)
    after = max(start + length for start, length in VIEWS)
    padded = functional.pad(waves, (before, after))
    views = []
    with torch.autocast(waves.device.type, enabled=False):
        for start, length in VIEWS:
            places = (onset + before + start)[:, None] + torch.arange(length, device=waves.device)
            window = hann[:: FFT_SIZE // length] * (2.0 / length)
            spectra = torch.fft.rfft(padded[owner[:, None], places] * window, n=FFT_SIZE)
            views.append((spectra.real.square() + spectra.imag.square()) @ filters)
        power = torch.stack(views, dim=1)
        loudest = power[:, :EARLY].amax(dim=(1, 2), keepdim=True).clamp(min=1e-16)
        levels: Tensor = 1 + (10 / DEEPEST_DB) * (power / loudest + 10 ** (-DEEPEST_DB / 10)).log10()
        return levels


def pitch_targets(midi: Tensor) -> Tensor:
    """Strike notes (N,), NaN for none, to shares (N, PITCHES + 1): of the two places nearest to each, by how near they are."""
    none = midi.isnan()
    place = ((midi.nan_to_num(LOWEST_MIDI) - LOWEST_MIDI) * STEPS_A_SEMITONE).clamp(0, PITCHES - 1.001)
    low = place.long()
    shares = torch.zeros(len(midi), PITCHES + 1, device=midi.device)
    part = (place - low).float()[:, None]
    shares.scatter_(1, low[:, None], 1 - part).scatter_add_(1, low[:, None] + 1, part)
    shares[none] = 0
    shares[none, PITCHES] = 1
    return shares


def likeliest(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Strike notes (N, count) MIDI with fractions, and their shares (N, count), where there is a note: the most probable one, then others.

    Each is the mean of the places within NEAR of one, which together are most probable of what is left; those before it have taken what
    lies within CLOSE.
    """
    shares = functional.pad(logits[:, :PITCHES].softmax(dim=1), (CLOSE, CLOSE))
    around = torch.arange(-CLOSE, CLOSE + 1, device=logits.device)
    midi, found = [], []
    for _ in range(count):
        together = (2 * NEAR + 1) * functional.avg_pool1d(shares[:, None], 2 * NEAR + 1, 1, padding=NEAR)[:, 0]
        together = together + 1e-3 * shares  # of equals the one in the middle
        places = together.argmax(dim=1, keepdim=True).clamp(CLOSE, CLOSE + PITCHES - 1) + around
        near = shares.gather(1, places) * (around.abs() <= NEAR)
        total = near.sum(dim=1)
        mean = (near * (places - CLOSE)).sum(dim=1) / total.clamp(min=1e-12)
        midi.append(LOWEST_MIDI + mean / STEPS_A_SEMITONE)
        found.append(total)
        shares = shares.scatter(1, places, 0.0)
    return torch.stack(midi, dim=1), torch.stack(found, dim=1)

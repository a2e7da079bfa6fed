"""The sense of melody: what the notes of a piece were meant to be, from what they sound like and from one another.

A transformer over notes that never sees a pitch by itself, only intervals: between any two notes their distance in semitones and in places has
a key and a value of its own (Shaw et al. 2018; Huang et al. 2018, "Music Transformer", equation 3). So a tune is heard alike in every key,
what a note is off from the grid of semitones is a feature of it, and an answer is a step from the semitone that is nearest, or that the note
was misheard: that another pitch was played there.

A melody may be heard a second time: the notes whose answers are certain are then where they were meant to be, and the others are judged in
better company.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony.models.precision import at_least_float32

FURTHEST = 2  # semitones from the nearest one to what was meant, up or down
ANSWERS = 2 * FURTHEST + 1
MISHEARD = ANSWERS  # the answer beside them: this pitch says nothing, it might be any in the compass of the melody
WIDEST = 25  # semitones between two notes; wider intervals are heard as this
REACH = 48  # places between two notes; further ones are heard as this far
NEIGHBOURS = 6  # notes on either side whose intervals a note knows from the beginning: what makes a motif
HARMONICS = 4  # of the place between two semitones, as sines and cosines
FEATURES = 7 + 2 * HARMONICS
LOOK_AHEAD = 1  # notes that may be waited for in a stream
CERTAIN = 0.97  # probability from which an answer is not asked for again


class MelodySense(nn.Module):
    """Pitches and intervals of time of notes to logits (B, N, ANSWERS + 1): how many semitones above the nearest one each was meant to be,
    and that it was MISHEARD."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(FEATURES, width), nn.GELU(), nn.Linear(width, width))
        self.motifs = nn.Parameter(torch.randn(2 * NEIGHBOURS, 2 * WIDEST + 2, width) * 0.02)  # by neighbour and interval
        self.blocks = nn.ModuleList(SenseBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, ANSWERS + 1)

    def forward(
        self, semitones: Tensor, step_s: Tensor, there: Tensor, streaming: bool = False, certain: Tensor | None = None
    ) -> Tensor:
        """`semitones` (B, N): MIDI numbers on the recording's own grid, with fractions. `step_s` (B, N): time to the next note.

        `there` (B, N), bool: which notes exist; the others are padding. `streaming`: each note is judged by those before it and LOOK_AHEAD
        after it alone. `certain` (B, N), bool: which notes are known to be meant as they are, if any; see `settled`.
        """
        count = semitones.shape[1]
        nearest = semitones.round()
        ahead = 0 if streaming else NEIGHBOURS  # the next note is waited for below
        known = torch.zeros_like(there) if certain is None else certain
        notes = self.enter(features(semitones, step_s, there, streaming, known)) + self.motif(nearest.long(), there, ahead)
        intervals = (nearest[:, None, :] - nearest[:, :, None]).long().clamp(
            -WIDEST, WIDEST
        ) + WIDEST  # (B, N, N), from row to column
        places = torch.arange(count, device=semitones.device)
        distances = places[None, :] - places[:, None]
        heard = there[:, None, :].expand(-1, count, -1)
        heard_now = heard & (distances <= 0) if streaming else heard
        if streaming:
            heard = heard & (distances <= LOOK_AHEAD)
        distances = distances.clamp(-REACH, REACH) + REACH
        for place, block in enumerate(
            self.blocks
        ):  # only the first may wait for a note: what waits for what waits would wait longer
            notes = block(notes, intervals, distances, heard if place == 0 else heard_now)
        logits: Tensor = self.head(self.norm(notes))
        return logits

    def motif(self, nearest: Tensor, there: Tensor, ahead: int) -> Tensor:
        """What the intervals to the neighbours say (B, N, width): up to NEIGHBOURS back and `ahead` of each note (B, N)."""
        count = nearest.shape[1]
        pitches = functional.pad(nearest, (NEIGHBOURS, NEIGHBOURS))
        exist = functional.pad(there, (NEIGHBOURS, NEIGHBOURS))
        total = torch.zeros((), device=nearest.device)
        steps = [step for step in range(-NEIGHBOURS, NEIGHBOURS + 1) if step]
        for table, step in zip(self.motifs, steps, strict=True):
            if step > ahead:
                break
            window = slice(NEIGHBOURS + step, NEIGHBOURS + step + count)
            interval = (pitches[:, window] - nearest).clamp(-WIDEST, WIDEST) + WIDEST
            interval = interval.masked_fill(~exist[:, window], 2 * WIDEST + 1)  # no such note
            total = total + functional.embedding(interval, table)
        return total


def settled(semitones: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Notes (B, N) as they are heard again after first answers (B, N, ANSWERS + 1), and of which the answer is certain: those are moved to it."""
    share, answer = at_least_float32(logits.detach()).softmax(dim=-1).max(dim=-1)
    certain = (share >= CERTAIN) & (answer != MISHEARD)
    return torch.where(certain, semitones.round() + answer - FURTHEST, semitones), certain


def features(semitones: Tensor, step_s: Tensor, there: Tensor, streaming: bool, certain: Tensor) -> Tensor:
    """What is known of each note by itself and beside its neighbours (B, N, FEATURES); no pitch, only what stays when all are moved.

    Steps in time are logarithms beside their mean: that of the piece, or in a stream of what has been heard, where what comes next is 0.
    """
    off = semitones - semitones.round()
    log_step = step_s.clamp(min=1e-3).log() * there
    before = functional.pad(log_step[:, :-1], (1, 0))
    rise = (semitones[:, 1:] - semitones[:, :-1]).clamp(-12, 12) / 12 * there[:, 1:]
    if streaming:
        mean = before.cumsum(dim=1) / torch.arange(off.shape[1], device=off.device).clamp(min=1)
        to_next, rise_to_next = torch.zeros_like(off), torch.zeros_like(off)
    else:
        mean = log_step.sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
        to_next, rise_to_next = (log_step - mean).clamp(-3, 3), functional.pad(rise, (0, 1))
    since_last = (before - mean).clamp(-3, 3)
    since_last[:, 0] = 0
    turns = 2 * math.pi * off[..., None] * torch.arange(1, HARMONICS + 1, device=off.device)
    plain = (off * 2, off.abs() * 2, to_next, since_last, functional.pad(rise, (1, 0)), rise_to_next, certain.to(off.dtype))
    return torch.cat((torch.stack(plain, dim=-1), turns.sin(), turns.cos()), dim=-1)


class SenseBlock(nn.Module):
    """Attention and a small network, each on what was normalised, each added to what was there."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm0 = nn.LayerNorm(width)
        self.attention = IntervalAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, notes: Tensor, intervals: Tensor, distances: Tensor, heard: Tensor) -> Tensor:
        notes = notes + self.dropout(self.attention(self.norm0(notes), intervals, distances, heard))
        notes = notes + self.dropout(self.inner(self.norm1(notes)))
        return notes


class IntervalAttention(nn.Module):
    """Attention in which the interval and the distance between two notes take part as keys and as values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)
        self.interval_tables = nn.Parameter(torch.randn(2, heads, 2 * WIDEST + 1, width // heads) * 0.02)  # keys, values
        self.distance_tables = nn.Parameter(torch.randn(2, heads, 2 * REACH + 1, width // heads) * 0.02)

    def forward(self, notes: Tensor, intervals: Tensor, distances: Tensor, heard: Tensor) -> Tensor:
        """Notes (B, N, width), intervals (B, N, N), distances (N, N) and who is heard by whom (B, N, N) to (B, N, width)."""
        batch, count, width = notes.shape
        query, key, value = self.project(notes).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, N, width / H)
        by_interval = intervals[:, None].expand(-1, self.heads, -1, -1)
        by_distance = distances[None, None].expand(batch, self.heads, -1, -1)
        scores = query @ key.transpose(-1, -2)
        scores = scores + (query @ self.interval_tables[0].transpose(-1, -2)).gather(3, by_interval)
        scores = scores + (query @ self.distance_tables[0].transpose(-1, -2)).gather(3, by_distance)
        scores = (scores / math.sqrt(key.shape[-1])).masked_fill(~heard[:, None], -1e4)
        shares = at_least_float32(scores).softmax(dim=-1)
        mixed = shares.to(value.dtype) @ value
        for table, index in ((self.interval_tables[1], by_interval), (self.distance_tables[1], by_distance)):
            sums = shares.new_zeros(*shares.shape[:3], table.shape[1]).scatter_add(3, index, shares)  # attention to each interval
            mixed = mixed + sums.to(value.dtype) @ table
        answer: Tensor = self.leave(mixed.transpose(1, 2).reshape(batch, count, width))
        return answer

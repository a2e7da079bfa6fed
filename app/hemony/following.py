"""A melody on bells while it is being played: each strike as soon as it is heard, each note as soon as it is decided what it was meant to be.

A strike is known about a tenth of a second after it was made; what it means when the next note has begun, or when none has for a while.
Memory stays the same however long it goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hemony.bells.grid import grid_cents
from hemony.bells.partials import measure
from hemony.bells.tuning import hz_to_midi, midi_to_hz, note_name
from hemony.hardware import one_blas_thread
from hemony.hearing import APART_S, CHORDS, LEAST_SCORE, strike_score
from hemony.melody_bundle import MelodyBundle
from hemony.models.ear import (
    BANDS,
    CANDIDATE,
    EARLY,
    FRAME,
    HOP,
    KINDS,
    LULL,
    MAP_FRAMES,
    PAST_FRAMES,
    SAMPLE_RATE_HZ,
    VIEWS,
    likeliest,
    loudness,
)
from hemony.models.sense import FURTHEST, LOOK_AHEAD

CUT_OFF_S = 0.06  # before the end: what seems to begin there is the end itself
LARGEST = SAMPLE_RATE_HZ // 2  # samples that are taken at a time
KEPT_S = 6.0  # of the sound
KEPT_NOTES = 80  # for the sense of melody
FADING = 0.95  # of what strikes said of the bells, a strike
COMPANY, BEFORE_S = 4, 0.3  # notes before those that are measured, and what is heard before them
WAIT_S = 1.5  # for another note, until the last one is decided without it
NEEDED = max(start + length for start, length in VIEWS[:EARLY])  # samples after an onset, for its pitch
SOFTEST = 1e-6  # power of a frame's loudest band, below which there is nothing


@dataclass
class Strike:
    """A note that has been heard."""

    onset: int  # samples from the beginning
    midi: float  # with a fraction
    probability: float


class Follower:
    """Feed it samples at SAMPLE_RATE_HZ; it yields a row for each strike and for each decision."""

    def __init__(self, bundle: MelodyBundle) -> None:
        self.network, self.temperature = bundle.network, bundle.temperature
        self.wave = np.zeros(FRAME // 2, np.float32)  # from sample `first` on; before the beginning there is silence
        self.first = -(FRAME // 2)
        self.powers = torch.zeros(1, BANDS, 0)  # of the frames up to `frames`
        self.frames = 0
        self.beginnings = torch.zeros(1, self.network.ear.onset.enter.in_channels, 0)  # of the frames up to `ready`
        self.ready = 0
        self.searched = 0  # frames that are known to be an onset or none
        self.loudest = SOFTEST
        self.pending: list[tuple[int, float]] = []  # samples at which a note may have begun, and how probably
        self.kinds = torch.zeros(len(KINDS))
        self.chords = self.told = 0.0  # probability of chords, and 1 for each strike that told it, those before the last fading
        self.strikes: list[Strike] = []
        self.decided = 0  # of self.strikes
        self.end: int | None = None  # samples, where it is known

    def feed(self, samples: npt.NDArray[np.float32]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(samples), LARGEST):
            yield from self.take(samples[start : start + LARGEST])

    def take(self, samples: npt.NDArray[np.float32]) -> Iterator[dict[str, Any]]:
        self.wave = np.concatenate((self.wave, samples))
        self.listen()
        yield from self.pitches()
        now = self.first + len(self.wave)
        if self.strikes and now - self.strikes[-1].onset > WAIT_S * SAMPLE_RATE_HZ:
            yield from self.decide(len(self.strikes))
        spare = len(self.wave) - round(KEPT_S * SAMPLE_RATE_HZ)
        if spare > 0:
            self.wave, self.first = self.wave[spare:], self.first + spare

    def finish(self) -> Iterator[dict[str, Any]]:
        """What the end of the sound cuts off."""
        self.end = self.first + len(self.wave) - round(CUT_OFF_S * SAMPLE_RATE_HZ)
        yield from self.feed(np.zeros(NEEDED + FRAME, np.float32))
        yield from self.decide(len(self.strikes))

    def listen(self) -> None:
        """Find where notes may begin among the frames that have become known."""
        known = (self.first + len(self.wave) - FRAME // 2) // HOP + 1  # frames that lie whole in what was heard
        fresh = known - self.frames
        if fresh <= 0:
            return
        start = self.frames * HOP - FRAME // 2 - self.first
        wave = torch.from_numpy(self.wave[start : start + (fresh - 1) * HOP + FRAME])[None]
        onset = self.network.ear.onset
        with torch.inference_mode():
            self.powers = torch.cat((self.powers, onset.band_powers(wave)), dim=2)
            self.loudest = max(self.loudest, float(self.powers.max()))
            begin, ready = known - self.powers.shape[2], max(0, known - MAP_FRAMES)
            fresh_beginnings = onset.beginnings(*loudness(self.powers, torch.tensor(self.loudest)))[
                :, :, self.ready - begin : ready - begin
            ]
            self.beginnings = torch.cat((self.beginnings, fresh_beginnings), dim=2)[
                :, :, -(PAST_FRAMES + fresh_beginnings.shape[2] + 4) :
            ]
            self.powers = self.powers[:, :, -(MAP_FRAMES + MAP_FRAMES + LULL[1]) :]
            self.frames, self.ready = known, ready
            if ready - 2 <= self.searched:
                return
            probability = onset.decide(self.beginnings)[0].sigmoid().numpy()
        begin = ready - len(probability)
        for frame in range(self.searched, ready - 2):
            here = probability[frame - begin]
            before, after = (probability[frame + step - begin] if frame + step >= 0 else 0.0 for step in (-1, 1))
            if here >= max(CANDIDATE, before, after):
                self.pending.append((frame * HOP, float(here)))
        self.searched = ready - 2

    def pitches(self) -> Iterator[dict[str, Any]]:
        """The pitch of the onsets after which enough has been heard, and what the note before each meant."""
        while self.pending and self.pending[0][0] + NEEDED <= self.first + len(self.wave):
            onset, probability = self.pending.pop(0)
            if self.strikes and onset - self.strikes[-1].onset < APART_S * SAMPLE_RATE_HZ:
                continue
            if self.end is not None and onset > self.end:
                continue
            where = torch.tensor([onset - self.first])
            with torch.inference_mode():
                heard = self.network.ear.pitches(torch.from_numpy(self.wave)[None], torch.zeros_like(where), where, early=True)
            faded = FADING * self.chords + float(heard.chords.sigmoid()), FADING * self.told + 1
            logits = heard.only if faded[0] < CHORDS * faded[1] else heard.highest
            if float(strike_score(logits, torch.tensor([probability]))) < LEAST_SCORE:
                continue
            self.chords, self.told = faded
            self.kinds = self.kinds * FADING + heard.kind[0].log_softmax(dim=0)
            midi, share = likeliest(logits, 1)
            self.strikes.append(Strike(onset, float(midi), float(share)))
            strike_hz = midi_to_hz(self.strikes[-1].midi)
            yield {"event": "strike", "onset_s": round(onset / SAMPLE_RATE_HZ, 4), "strike_hz": round(strike_hz, 3)}
            yield from self.decide(len(self.strikes) - LOOK_AHEAD)
            if len(self.strikes) > 2 * KEPT_NOTES:
                spare = len(self.strikes) - KEPT_NOTES
                self.strikes, self.decided = self.strikes[spare:], self.decided - spare

    def decide(self, end: int) -> Iterator[dict[str, Any]]:
        """Rows of the notes up to `end` that are not decided yet."""
        if end <= self.decided:
            return
        level_db = self.refine()
        heard = self.strikes[-KEPT_NOTES:]
        midi = np.array([strike.midi for strike in heard])
        tuning_cents = grid_cents(midi)
        semitones = midi - tuning_cents / 100
        onset_s = np.array([strike.onset for strike in heard]) / SAMPLE_RATE_HZ
        step_s = np.append(np.diff(onset_s), 0.5)
        logits = self.network.meant(
            torch.from_numpy(semitones)[None].float(), torch.from_numpy(step_s)[None].float(), streaming=True
        )[0]
        shares = (logits.double() / self.temperature).softmax(dim=1).numpy()
        before = len(self.strikes) - len(heard)
        for place in range(self.decided - before, end - before):
            intended = int(round(semitones[place]) + shares[place].argmax() - FURTHEST)
            yield {
                "event": "note",
                "onset_s": round(float(onset_s[place]), 4),
                "note": note_name(intended),
                "intended_midi": intended,
                "deviation_cents": round(100 * float(semitones[place] - intended), 2),
                "confidence": round(float(shares[place].max()) * heard[place].probability, 4),
                "level_db": round(level_db[before + place], 2) if before + place in level_db else None,
                "tuning_cents": round(tuning_cents, 2),
            }
        self.decided = end

    def refine(self) -> dict[int, float]:
        """Measure the strikes that are not decided yet, with some before them that still ring; the levels of those measured, by place."""
        heard = range(max(0, min(self.decided, len(self.strikes) - 1) - COMPANY), len(self.strikes))
        places = [place for place in heard if self.strikes[place].onset >= max(self.first, 0)]
        if not places:
            return {}
        start = max(self.strikes[places[0]].onset - round(BEFORE_S * SAMPLE_RATE_HZ), self.first, 0)
        onset_s = np.array([self.strikes[place].onset - start for place in places]) / SAMPLE_RATE_HZ
        rough_hz = midi_to_hz(np.array([self.strikes[place].midi for place in places]))
        with one_blas_thread():
            partials = measure(self.wave[start - self.first :], SAMPLE_RATE_HZ, onset_s, rough_hz, KINDS[int(self.kinds.argmax())])
        for place, midi in zip(places, hz_to_midi(partials.strike_hz), strict=True):
            if place >= self.decided:
                self.strikes[place].midi = float(midi)
        return dict(zip(places, partials.level_db.tolist(), strict=True))

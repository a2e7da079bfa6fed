"""Recordings by which hearing is judged: fixed, of tunes, bells and errors that no training meets.

| condition | between notes | noise | room | chords | tuning |
|---|---|---|---|---|---|
| clean | 0.35 to 0.6 s | none | none | none | within 10 cents of A440 |
| hard | 0.15 to 0.3 s | 10 dB below the melody | 1.5 s | none | anywhere |
| harmonised | 0.35 to 0.6 s | none | none | one or two bells below every second note | anywhere |

Deviations are those of Hot Chilli Bells 100: `pieces.Mistuning`. Every tune is played on each kind of bell, some times over, with another
key, other bells and other errors each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hemony.bells import composer
from hemony.bells.notes import Notes
from hemony.bells.pieces import Mistuning, Playing, even_onsets_s, fitting, play
from hemony.bells.synth import BellKind
from hemony.bells.tunes import KNOWN, UNSEEN, Score, tune
from hemony.datasets.seeding import derived_seed, uniform


@dataclass(frozen=True)
class Condition:
    """How a piece is played and recorded."""

    spacing_s: tuple[float, float]
    tuning_cents: float  # to either side
    snr_db: float | None = None
    room_t60_s: float = 0.0
    chord_every: int = 0


CONDITIONS = {
    "clean": Condition((0.35, 0.6), 10.0),
    "hard": Condition((0.15, 0.3), 49.9, snr_db=10.0, room_t60_s=1.5),
    "harmonised": Condition((0.35, 0.6), 49.9, chord_every=2),
}
COMPOSED_TUNES = 8
TUNES = {  # that a training may hear of, that it may not, and those by which it may be chosen
    "unseen": UNSEEN,
    "known": KNOWN,
    "composed": tuple(f"composed {number}" for number in range(COMPOSED_TUNES)),
}


@dataclass(frozen=True)
class Recording:
    """What is to be heard of a piece, and what is true of it."""

    wave: npt.NDArray[np.float32]
    truth: Notes


@dataclass(frozen=True)
class Case:
    """Which recording."""

    condition: str
    tune: str
    kind: BellKind
    repeat: int

    def recording(self, sample_rate_hz: int) -> Recording:
        """Always the same one."""
        given = CONDITIONS[self.condition]
        draw = torch.Generator().manual_seed(derived_seed(self.repeat, f"{self.condition}/{self.tune}/{self.kind.value}"))
        score = score_of(self.tune).transposed(int(torch.randint(-6, 6, (1,), generator=draw)))
        score = fitting(score, self.kind)
        playing = Playing(
            kind=self.kind,
            sample_rate_hz=sample_rate_hz,
            tuning_cents=float(uniform((1,), -given.tuning_cents, given.tuning_cents, draw)),
            chord_every=given.chord_every,
            room_t60_s=given.room_t60_s,
            snr_db=given.snr_db,
        )
        wave, truth = play(score, even_onsets_s(score, *given.spacing_s), Mistuning(), playing, draw)
        return Recording(wave.numpy(), truth)


def cases(condition: str, tunes: Sequence[str], repeats: int, kinds: Sequence[BellKind] = tuple(BellKind)) -> list[Case]:
    """Each tune on each kind of bell, `repeats` times."""
    return [Case(condition, name, kind, repeat) for name in tunes for kind in kinds for repeat in range(repeats)]


def score_of(name: str) -> Score:
    if name in TUNES["composed"]:
        return composer.compose(np.random.default_rng(derived_seed(TUNES["composed"].index(name), "validation tune")), 60)
    return tune(name)

"""The sense of melody by itself: which note was meant, where every pitch is heard perfectly.

python -m tests.benchmarks.bench_sense [STEPS] [SEED ...]    about 15 minutes on two cores for 4,000 steps and one seed

Beside it a perfect pitch that snaps to the scale, the key given: what a tuner does that is told the key. Tunes of UNSEEN are in no training.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hemony.bells.grid import grid_cents
from hemony.bells.judging import Judged, bootstrap, figures, judge
from hemony.bells.notes import Notes, Values
from hemony.bells.pieces import Mistuning
from hemony.bells.tunes import KNOWN, TUNES, UNSEEN, Score, tune
from hemony.datasets.bell_melodies import UNKNOWN, Melodies
from hemony.datasets.seeding import derived_seed, generator
from hemony.models.sense import FURTHEST, MelodySense
from tests.benchmarks.measure import machine

LONGEST = 80
BATCH = 32
RENDITIONS = 30  # of each tune, with other errors, in another tuning
Namer = Callable[
    [Score, Values, Values], tuple[Values, float, Values]
]  # score, pitches, steps to names, tuning in cents, confidence


def trained(steps: int, seed: int) -> MelodySense:
    """A sense of melody after so many steps; every third one listens as in a stream."""
    torch.manual_seed(derived_seed(seed, "weights"))
    network = MelodySense(width=96, layers=5, heads=4, dropout=0.1)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 200) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    melodies = Melodies(np.random.default_rng(derived_seed(seed, "melodies")))
    started = time.monotonic()
    for step in range(steps):
        lines = melodies.lines(BATCH, LONGEST)
        logits = network(lines.semitones, lines.step_s, lines.there, streaming=step % 3 == 0)
        loss = functional.cross_entropy(logits.transpose(1, 2), lines.answers, ignore_index=UNKNOWN)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        if (step + 1) % 500 == 0:
            print(f"step {step + 1} of {steps}, loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", file=sys.stderr)
    best = average.module
    assert isinstance(best, MelodySense)
    return best.eval().requires_grad_(False)


def by_sense(network: MelodySense, streaming: bool) -> Namer:
    def name(score: Score, midi: Values, step_s: Values) -> tuple[Values, float, Values]:
        tuning_cents = grid_cents(midi)
        semitones = torch.from_numpy(midi - tuning_cents / 100)[None].float()
        there = torch.ones_like(semitones, dtype=torch.bool)
        shares = network(semitones, torch.from_numpy(step_s)[None].float(), there, streaming)[0].softmax(dim=1).numpy()
        return np.round(midi - tuning_cents / 100) + shares.argmax(axis=1) - FURTHEST, tuning_cents, shares.max(axis=1)

    return name


def by_scale(score: Score, midi: Values, step_s: Values) -> tuple[Values, float, Values]:
    """The nearest note of the scale, the key given and the tuning found as well as by anybody."""
    tuning_cents = grid_cents(midi)
    notes = np.array([note for note in range(0, 128) if (note - score.tonic) % 12 in score.scale])
    off = np.abs(midi[:, None] - tuning_cents / 100 - notes)
    # near the middle between two semitones the grid may be named by either: take the one that fits the key
    other = np.abs(midi[:, None] - tuning_cents / 100 - np.sign(-tuning_cents or 1.0) - notes)
    if off.min(axis=1).mean() > other.min(axis=1).mean() + 0.2:
        off, tuning_cents = other, tuning_cents + 100 * float(np.sign(-tuning_cents or 1.0))
    return notes[off.argmin(axis=1)].astype(np.float64), tuning_cents, np.ones(len(midi))


def renditions(names: Sequence[str], namer: Namer) -> list[Judged]:
    """Each tune RENDITIONS times, off as Hot Chilli Bells is, in any key and any tuning, named by one who hears every pitch exactly."""
    judged = []
    for name in names:
        for number in range(RENDITIONS):
            draw = generator(number, f"bench_sense/{name}")
            key, place = torch.rand(2, generator=draw).tolist()
            score = tune(name).transposed(int(key * 12) - 6)
            meant = np.array(score.midi, dtype=np.float64)
            cents, tuning_cents = Mistuning().deviations_cents(meant, draw), 99.0 * place - 49.5
            step_s = np.array(score.beats) * 0.4
            onset_s, level_db = np.cumsum(step_s), np.zeros(len(meant))
            sounding = meant + (cents + tuning_cents) / 100
            named, heard_cents, confidence = namer(score, sounding, step_s)
            truth = Notes(onset_s, meant.astype(np.int64), cents, np.ones(len(meant)), level_db, tuning_cents)
            heard = Notes(
                onset_s, named.astype(np.int64), 100 * (sounding - named) - heard_cents, confidence, level_db, heard_cents
            )
            judged.append(judge(truth, heard, name))
    return judged


def report(title: str, judged: list[Judged]) -> None:
    result = figures(judged)
    low, high = bootstrap(judged, lambda some: figures(some)["intended_off"])
    print(
        f"  {title:<34} off notes {result['intended_off']:.3f} ({low:.3f} to {high:.3f})  clear notes {result['intended_clear']:.4f}  "
        f"flag F1 {result['flag_f1']:.3f}  calibration error {result['ece']:.3f}"
    )


def main(steps: int, seeds: Sequence[int]) -> None:
    print(f"Notes that are off by more than half a semitone, named with perfect pitch, {machine()}")
    for title, names in (("unseen tunes", UNSEEN), ("known tunes", KNOWN)):
        print(f"{title}: {len(names)}, {sum(len(tune(name).midi) for name in names) * RENDITIONS:,} notes")
        report("the scale, its key given", renditions(names, by_scale))
    for seed in seeds:
        started = time.monotonic()
        network = trained(steps, seed)
        print(f"seed {seed}, {steps:,} steps in {time.monotonic() - started:.0f} s")
        for title, names in (("unseen tunes", UNSEEN), ("known tunes", KNOWN)):
            for way, streaming in (("", False), (", one note of look-ahead", True)):
                report(title + way, renditions(names, by_sense(network, streaming)))
        for name in TUNES:
            print(f"    {name:<24} {figures(renditions([name], by_sense(network, False)))['intended_off']:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000, [int(seed) for seed in sys.argv[2:]] or [0])

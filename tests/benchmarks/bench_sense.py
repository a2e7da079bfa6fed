"""The sense of melody by itself: which note was meant, where every pitch is heard perfectly.

python -m tests.benchmarks.bench_sense [BUNDLE]    about a minute

Beside it a perfect pitch that snaps to the scale, the key given: what a tuner does that is told the key. Tunes of UNSEEN are in no training.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from hemony import melody_bundle
from hemony.bells.grid import grid_cents
from hemony.bells.judging import Judged, bootstrap, figures, judge
from hemony.bells.notes import Notes, Values
from hemony.bells.pieces import Mistuning
from hemony.bells.tunes import KNOWN, TUNES, UNSEEN, Score, tune
from hemony.datasets.seeding import generator
from hemony.models.melody import MelodyNetwork
from hemony.models.sense import FURTHEST
from tests.benchmarks.measure import machine
from tests.benchmarks.template import snapped

RENDITIONS = 30  # of each tune, with other errors, in another tuning
# score, pitches, steps to names, tuning in cents, confidence
Namer = Callable[[Score, Values, Values], tuple[Values, float, Values]]


def by_sense(network: MelodyNetwork, streaming: bool) -> Namer:
    def name(score: Score, midi: Values, step_s: Values) -> tuple[Values, float, Values]:
        tuning_cents = grid_cents(midi)
        semitones = torch.from_numpy(midi - tuning_cents / 100)[None].float()
        shares = network.meant(semitones, torch.from_numpy(step_s)[None].float(), streaming)[0].softmax(dim=1).numpy()
        return np.round(midi - tuning_cents / 100) + shares.argmax(axis=1) - FURTHEST, tuning_cents, shares.max(axis=1)

    return name


def by_scale(score: Score, midi: Values, step_s: Values) -> tuple[Values, float, Values]:
    return *snapped(score, midi), np.ones(len(midi))


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


def main(folder: Path) -> None:
    network = melody_bundle.load(folder).network
    print(f"Notes that are off by more than half a semitone, named with perfect pitch by {folder}, {machine()}")
    for title, names in (("unseen tunes", UNSEEN), ("known tunes", KNOWN)):
        print(f"{title}: {len(names)}, {sum(len(tune(name).midi) for name in names) * RENDITIONS:,} notes")
        report("the scale, its key given", renditions(names, by_scale))
        for way, streaming in (("the sense of melody", False), ("with one note of look-ahead", True)):
            report(way, renditions(names, by_sense(network, streaming)))
    for name in TUNES:
        print(f"    {name:<24} {figures(renditions([name], by_sense(network, False)))['intended_off']:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/bells"))

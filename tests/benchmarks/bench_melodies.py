"""Melodies on bells: the bundle beside a perfect pitch with scale snap, and beside the classical template, on the same recordings.

python -m tests.benchmarks.bench_melodies [BUNDLE]    about 40 minutes on two cores

The other two are given the onsets, the kind of bell, and the key, and snap to the scale. Tunes of UNSEEN are in no training.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hemony.bells.conditions import CONDITIONS, TUNES, Case, cases, score_of
from hemony.bells.judging import Judged, bootstrap, figures, judge
from hemony.bells.notes import Notes, Values
from hemony.bells.tuning import hz_to_midi
from hemony.judge_melodies import listen
from hemony.models.ear import SAMPLE_RATE_HZ
from tests.benchmarks.measure import machine
from tests.benchmarks.template import pitches, snapped

REPEATS = 4


@dataclass(frozen=True)
class Told:
    """One recording judged in each way."""

    perfect: Judged
    template: Judged


def told(case: Case) -> Told:
    recording = case.recording(SAMPLE_RATE_HZ)
    truth = recording.truth
    perfect = hz_to_midi(truth.strike_hz)
    template = pitches(recording.wave.astype(np.float64), SAMPLE_RATE_HZ, truth.onset_s, case.kind)
    return Told(*(judge(truth, by_scale(case, truth, midi), case.tune) for midi in (perfect, template)))


def by_scale(case: Case, truth: Notes, midi: Values) -> Notes:
    """Named by the scale in the key in which it is played."""
    score = score_of(case.tune)
    score = score.transposed(int(truth.intended_midi[0]) - score.midi[0])
    named, tuning_cents = snapped(score, midi)
    return Notes(
        truth.onset_s, named.astype(np.int64), 100 * (midi - named) - tuning_cents, np.ones(len(midi)), truth.level_db, tuning_cents
    )


def report(title: str, judged: Sequence[Judged]) -> None:
    result = figures(judged)
    low, high = bootstrap(judged, lambda some: figures(some)["intended_off"])
    print(
        f"  {title:<28} onset F1 {result['onset_f1']:.4f}  clear {result['intended_clear']:.4f}  off {result['intended_off']:.3f} ({low:.3f} to "
        f"{high:.3f})  cents off, median {result['deviation_median_cents']:.2f}, p95 {result['deviation_p95_cents']:.1f}  flag F1 "
        f"{result['flag_f1']:.3f}  tuning {result['tuning_median_cents']:.2f} (oracle {result['tuning_oracle_median_cents']:.2f})  "
        f"calibration error {result['ece']:.3f}",
        flush=True,
    )


def gain(ours: Sequence[Judged], theirs: Sequence[Judged]) -> tuple[float, float, float]:
    """The difference on off notes, and its interval over tunes."""
    by_tune: dict[str, list[int]] = {}
    for place, entry in enumerate(ours):
        by_tune.setdefault(entry.tune, []).append(place)
    groups, draw = list(by_tune.values()), np.random.default_rng(0)

    def difference(places: Sequence[int]) -> float:
        return float(np.subtract(*(figures([side[place] for place in places])["intended_off"] for side in (ours, theirs))))

    drawn = [[place for group in draw.integers(len(groups), size=len(groups)) for place in groups[group]] for _ in range(500)]
    low, high = np.quantile([difference(places) for places in drawn], (0.025, 0.975))
    return difference(range(len(ours))), float(low), float(high)


def main(folder: Path) -> None:
    print(f"Melodies on bells, {folder}, {machine()}")
    for condition in CONDITIONS:
        for tunes in ("unseen", "known"):
            asked = cases(condition, TUNES[tunes], REPEATS)
            ours = [judge(heard.truth, heard.notes, heard.tune) for heard in listen(folder, asked)]
            with ProcessPoolExecutor() as pool:
                others = list(pool.map(told, asked))
            print(f"{condition}, {tunes} tunes: {len(asked)} recordings, {figures(ours)['off_notes']:,.0f} off notes")
            report("hemony", ours)
            for kind in dict.fromkeys(case.kind for case in asked):
                report(f"  {kind.value}", [entry for entry, case in zip(ours, asked, strict=True) if case.kind is kind])
            report("perfect pitch, scale snap", [entry.perfect for entry in others])
            report("template, scale snap", [entry.template for entry in others])
            difference, low, high = gain(ours, [entry.perfect for entry in others])
            print(
                f"  gain on off notes over perfect pitch with scale snap: {difference:+.3f} ({low:+.3f} to {high:+.3f})", flush=True
            )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/bells"))

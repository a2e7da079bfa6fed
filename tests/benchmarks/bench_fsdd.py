"""Spoken digits: the official split, ten index blocks, and each speaker held out.

python -m tests.benchmarks.bench_fsdd [FOLDER] [official|blocks|speakers|ensemble ...]    about half an hour on two cores

The held-out speakers are the honest figure: nobody who uses a recogniser has been in its training. The recipe was chosen by inner folds
of CHOSEN_BY alone, on speakers other than those two, so the mean of the other four is given too.
"""

import sys
from pathlib import Path
from typing import Any

from hemony.metrics import wilson_interval
from tests.benchmarks.measure import data_folder, machine, spread, trained

SEEDS = 5
BLOCKS = 10
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
CHOSEN_BY = ("george", "theo")
WITHOUT_VALIDATION = ("data.validation_share=0", "temperature=1")


def pooled(rows: list[dict[str, Any]]) -> str:
    """Right answers over all runs with their Wilson interval, and the longest training."""
    correct, total = (sum(row[key] for row in rows) for key in ("correct", "total"))
    low, high = wilson_interval(correct, total)
    longest = max(row["train_time_s"] for row in rows)
    return (
        f"{correct:,} of {total:,}: {correct / total:.4f} (95 % interval {low:.4f} to {high:.4f}), training at most {longest:.0f} s"
    )


def official(folder: Path) -> None:
    rows = [trained(folder / f"official-{seed}", "experiment=fsdd", f"seed={seed}") for seed in range(SEEDS)]
    accuracies = [row["accuracy"] for row in rows]
    low, high = wilson_interval(round(sum(row["correct"] for row in rows) / SEEDS), rows[0]["total"])
    print(f"official split, {rows[0]['total']} clips: {spread(accuracies)}, 95 % interval of one run {low:.4f} to {high:.4f}")
    print(
        f"  calibration error {spread([row['ece'] for row in rows])}, training {spread([row['train_time_s'] for row in rows], 0)} s"
    )


def blocks(folder: Path) -> None:
    rows = [
        trained(folder / f"block-{block}", "experiment=fsdd", f"data.folds={BLOCKS}", f"data.fold={block}", *WITHOUT_VALIDATION)
        for block in range(BLOCKS)
    ]
    print(f"{BLOCKS} index blocks, {pooled(rows)}")


def speakers(folder: Path, experiment: str = "fsdd") -> None:
    rows = {
        name: trained(
            folder / f"{experiment}-without-{name}", f"experiment={experiment}", f"data.holdout={name}", *WITHOUT_VALIDATION
        )
        for name in SPEAKERS
    }
    for name, row in rows.items():
        print(
            f"  {name:<9} {row['accuracy']:.4f}  training {row['train_time_s']:.0f} s{'  (chosen by)' if name in CHOSEN_BY else ''}"
        )
    print(f"a speaker held out, experiment={experiment}, {pooled(list(rows.values()))}")
    others = [row["accuracy"] for name, row in rows.items() if name not in CHOSEN_BY]
    print(f"  mean of six {spread([row['accuracy'] for row in rows.values()])}, of the four not chosen by {spread(others)}")


def ensemble(folder: Path) -> None:
    speakers(folder, "fsdd_ensemble")


def main(folder: Path, parts: tuple[str, ...]) -> None:
    data_folder("fsdd")
    print(f"FSDD, {machine()}")
    for name, run in (("official", official), ("blocks", blocks), ("speakers", speakers), ("ensemble", ensemble)):
        if name in parts:
            run(folder)


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/bench-fsdd"),
        tuple(sys.argv[2:]) or ("official", "blocks", "speakers", "ensemble"),
    )

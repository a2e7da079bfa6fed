"""`hemony inspect`: how long the page of each committed bundle takes, and what `trainer.flow=true` adds to a training.

python -m tests.benchmarks.bench_inspect [pages|flow ...]    about 12 minutes on two cores; pages of bundles whose data are missing are made on noise
"""

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.benchmarks.measure import elapsed_s, hemony, machine, trained

BUNDLES = ("digits", "fsdd", "bell_types", "bells", "cifar10")
PAIRS = 5
RECIPES = (("experiment=digits", "trainer.max_epochs=40"), ("experiment=fsdd", "trainer.max_epochs=4"))


def pages() -> None:
    for name in BUNDLES:
        with tempfile.TemporaryDirectory() as scratch:
            seconds = elapsed_s(partial(hemony, "inspect", f"checkpoints/{name}", "--out", scratch))
            size_mb = Path(scratch, "inspect.html").stat().st_size / 1e6
        print(f"checkpoints/{name}: {seconds:.0f} s with its start, a page of {size_mb:.2f} MB", flush=True)


def flow() -> None:
    """Trainings with and without, in turn."""
    for recipe in RECIPES:
        ratios = []
        for pair in range(PAIRS):
            with tempfile.TemporaryDirectory() as scratch:
                order = (False, True) if pair % 2 else (True, False)
                times_s = {
                    recorded: trained(Path(scratch, str(recorded)), *recipe, f"trainer.flow={str(recorded).lower()}")[
                        "train_time_s"
                    ]
                    for recorded in order
                }
            ratios.append(times_s[True] / times_s[False])
        print(
            f"trainer.flow=true in {' '.join(recipe)}: {statistics.median(ratios) - 1:+.1%} of the time without "
            f"(median of {PAIRS} pairs, {min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%})",
            flush=True,
        )


if __name__ == "__main__":
    print(f"inspect, {machine()}", flush=True)
    for part in sys.argv[1:] or ("pages", "flow"):
        {"pages": pages, "flow": flow}[part]()

"""Five-fold cross-validation over all 1,797 scanned digits, five seeds, beside scikit-learn's SVC on the same folds.

python -m tests.benchmarks.bench_digits [FOLDER]    about 6 minutes on two cores
"""

import sys
from pathlib import Path

from sklearn.svm import SVC

from hemony import domains
from hemony.config import DigitsConfig, Fit
from hemony.datasets.parts import build
from hemony.metrics import wilson_interval
from hemony.preprocessing import ImageView
from tests.benchmarks.measure import machine, spread, trained

FOLDS = SEEDS = 5
SCANS = 1797


def svc_correct(seed: int, fold: int) -> int:
    """Scans of a fold that a support vector machine gets right (gamma 0.001, as in scikit-learn's own example)."""
    config = DigitsConfig(folds=FOLDS, fold=fold, split_seed=seed, validation_share=0.0)
    data = build(domains.find(config), config, ImageView(1, 8, Fit.stretch))
    inputs = {
        name: part.batch(list(range(len(part)))).flatten(1).numpy() * (16 / 255) for name, part in data.parts.items() if len(part)
    }
    machine = SVC(gamma=0.001).fit(inputs["train"], data.train.collection.labels)
    return int((machine.predict(inputs["test"]) == data.test.collection.labels).sum())


def main(folder: Path) -> None:
    shares, others, times, correct = [], [], [], 0
    for seed in range(SEEDS):
        split = [f"seed={seed}", f"data.split_seed={seed}", f"data.folds={FOLDS}"]
        runs = [trained(folder / f"{seed}-{fold}", "experiment=digits", *split, f"data.fold={fold}") for fold in range(FOLDS)]
        assert sum(run["total"] for run in runs) == SCANS
        shares.append(sum(run["correct"] for run in runs) / SCANS)
        others.append(sum(svc_correct(seed, fold) for fold in range(FOLDS)) / SCANS)
        times += [run["train_time_s"] for run in runs]
        correct += sum(run["correct"] for run in runs)
        print(f"seed {seed}: hemony {shares[-1]:.4f}, SVC {others[-1]:.4f}, longest fold {max(times[-FOLDS:]):.1f} s", flush=True)
    low, high = wilson_interval(round(correct / SEEDS), SCANS)
    print(f"digits, {FOLDS}-fold, pooled over {SCANS:,} scans, {machine()}")
    print(f"  hemony {spread(shares)}, 95 % interval of one cross-validation {low:.4f} to {high:.4f}")
    print(f"  SVC    {spread(others)}")
    print(f"  training a fold: {spread(times, 1)} s, longest {max(times):.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/bench-digits"))

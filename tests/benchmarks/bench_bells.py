"""`checkpoints/bell_types` on the fixed synthetic test, and on the real bells of the Westerkerk, which no training has heard.

python -m tests.benchmarks.bench_bells [BUNDLE]    about 3 minutes on two cores

The real ones are 21 recordings of its carillon (F. and P. Hemony 1658; CC0, Peabody Essex Museum / J. Forrest), of which the benchmark
reads `$HEMONY_DATA/westerkerk/*.wav`. Resampled versions of one recording are no independent trials: the interval is that of the 21.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from hemony import bundle
from hemony.datasets import bell_types
from hemony.datasets.bell_types import CLASS_NAMES
from hemony.datasets.collection import TEST
from hemony.inference import predict_logits
from hemony.metrics import wilson_interval
from hemony.preprocessing import AudioView
from tests.benchmarks.measure import CPU, data_folder, machine

SEMITONES = range(-7, 8)
SNR_DB = 10.0


def share(right: int, total: int) -> str:
    low, high = wilson_interval(right, total)
    return f"{right:,} of {total:,}, {right / total:.4f} (95 % interval {low:.4f} to {high:.4f})"


def answers(loaded: bundle.Bundle, clips: Tensor) -> list[str]:
    return [
        loaded.labels[place]
        for place in predict_logits(loaded.recogniser, clips.split(100), CPU, bf16=False).argmax(dim=1).tolist()
    ]


def synthetic(loaded: bundle.Bundle, view: AudioView) -> None:
    truth, found = [], []
    for block in range(bell_types.CLIPS[TEST] // bell_types.BATCH):
        clips = torch.from_numpy(bell_types.fixed_clips(TEST, block, view.sample_rate_hz))
        found += answers(loaded, torch.stack([view.fitted(clip) for clip in clips]))
        truth += [CLASS_NAMES[index % len(CLASS_NAMES)] for index in range(len(clips))]
    right = sum(one == other for one, other in zip(truth, found, strict=True))
    print(f"fixed synthetic test: {share(right, len(truth))}")
    others = [answer for kind, answer in zip(truth, found, strict=True) if kind != "carillon"]
    print(f"  of the other kinds called carillon: {share(others.count('carillon'), len(others))}")


def recorded(path: Path, semitones: float, view: AudioView) -> Tensor:
    """A recording played faster by so many semitones, as the view's samples, float, mono."""
    samples, rate_hz = soundfile.read(path, dtype="float64", always_2d=True)
    return torch.from_numpy(soxr.resample(samples.mean(axis=1), rate_hz * 2 ** (semitones / 12), view.sample_rate_hz))


def with_noise(samples: Tensor, seed: int) -> Tensor:
    """White noise at SNR_DB under the recording's mean power."""
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(samples)))
    return samples + noise * samples.square().mean().sqrt() * 10 ** (-SNR_DB / 20)


def westerkerk(loaded: bundle.Bundle, view: AudioView) -> None:
    paths = sorted(data_folder("westerkerk").glob("*.wav"))
    for name, noisy in (("as recorded", False), (f"with noise at {SNR_DB:.0f} dB", True)):
        found = {}
        for semitones in SEMITONES:
            sounds = [recorded(path, semitones, view) for path in paths]
            sounds = [with_noise(sound, index) if noisy else sound for index, sound in enumerate(sounds)]
            levelled = [(sound / sound.abs().max() * 0.9 * 32_767).round().to(torch.int16) for sound in sounds]
            found[semitones] = [view_answers(loaded, view, sound) for sound in levelled]
        all_answers = [answer for row in found.values() for answer in row]
        print(f"{len(paths)} bells of the Westerkerk, {name}: {share(found[0].count('carillon'), len(paths))} called carillon")
        print(
            f"  resampled by {SEMITONES[0]} to +{SEMITONES[-1]} semitones: {all_answers.count('carillon')} of {len(all_answers)}, "
            f"{all_answers.count('carillon') / len(all_answers):.4f}"
        )
        wrong = {
            f"{path.stem} {semitones:+d}": answer
            for semitones, row in found.items()
            for path, answer in zip(paths, row, strict=True)
            if answer != "carillon"
        }
        for which, answer in wrong.items():
            print(f"    {which}: {answer}")


def view_answers(loaded: bundle.Bundle, view: AudioView, samples: Tensor) -> str:
    """One label for a recording, as `hemony classify` gives it."""
    logits = predict_logits(loaded.recogniser, [view.pieces(samples)], CPU, bf16=False).mean(dim=0)
    return loaded.labels[int(logits.argmax())]


def main(place: Path) -> None:
    loaded = bundle.load(place)
    view = loaded.preprocessing
    assert isinstance(view, AudioView)
    print(f"bells {place}, {machine()}")
    synthetic(loaded, view)
    westerkerk(loaded, view)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/bell_types"))

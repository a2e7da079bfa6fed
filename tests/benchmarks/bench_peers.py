"""What pitch trackers of today make of melodies on bells, on the same recordings as the bundle.

python -m tests.benchmarks.bench_peers [BUNDLE] [NAME ...]    about half an hour on two cores; installs the peers into build/peers

They hear a pitch at every moment and know nothing of notes, so each is given the onsets, the key and the scale: a note's pitch is the median of
what is heard until the next onset, at most PITCH_S, in the octave nearest to the truth, and is called by the nearest note of the scale.
CREPE's full model gets three recordings only.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
import soundfile

from hemony.bells.conditions import CONDITIONS, TUNES, Case, Recording, cases
from hemony.bells.judging import Judged, figures, judge
from hemony.bells.notes import Values
from hemony.bells.synth import BellKind
from hemony.bells.tuning import hz_to_midi
from hemony.judge_melodies import listen
from hemony.models.ear import SAMPLE_RATE_HZ
from tests.benchmarks.bench_melodies import by_scale
from tests.benchmarks.measure import machine
from tests.benchmarks.template import pitches

PLACE = Path("build/peers")
PACKAGES = {  # all under MIT, ISC or Apache terms; torchcrepe and basic-pitch import pkg_resources, which setuptools has given up
    "pyin": ["librosa"],
    "swift-f0": ["swift-f0"],
    "crepe-tiny": ["torchcrepe", "setuptools<81"],
    "crepe-full": ["torchcrepe", "setuptools<81"],
    "fcpe": ["torchfcpe"],
    "basic-pitch": ["basic-pitch[onnx]", "setuptools<81"],
}
FEW = 3  # recordings for CREPE's full model
PITCH_S = 0.3


def environment(names: list[str]) -> Path:
    """The Python of an environment with the peers, made if it is not there; what cannot be installed is told."""
    python = PLACE / "bin" / "python"
    if not python.exists():
        venv.create(PLACE, with_pip=True)
        for package in dict.fromkeys(package for name in names for package in ("soundfile", *PACKAGES[name])):
            if subprocess.run([python, "-m", "pip", "install", "--quiet", package]).returncode:
                print(f"{package} cannot be installed here", file=sys.stderr)
    return python


def heard_midi(track: dict[str, list[float]], recording: Recording) -> Values:
    """A pitch a note (N,): octaves are forgiven, since a bell's name and a tracker's may differ by one."""
    seconds, hz = np.array(track["s"]), np.array(track["hz"])
    onsets = recording.truth.onset_s
    ends = np.minimum(np.append(onsets[1:], np.inf), onsets + PITCH_S)
    found = []
    for onset, end, true_hz in zip(onsets, ends, recording.truth.strike_hz, strict=True):
        inside = hz[(seconds >= onset + 0.03) & (seconds < end) & (hz > 0)]
        pitch_hz = float(np.median(inside)) if len(inside) else 100.0
        found.append(hz_to_midi(pitch_hz * 2 ** round(float(np.log2(true_hz / pitch_hz)))))
    return np.array(found)


def line(title: str, judged: list[Judged]) -> None:
    result = figures(judged)
    right = (
        result["intended_clear"] * (result["notes"] - result["off_notes"]) + result["intended_off"] * result["off_notes"]
    ) / result["notes"]
    print(
        f"  {title:<34} intended {right:.3f}  clear {result['intended_clear']:.3f}  off {result['intended_off']:.3f}  cents off, median "
        f"{result['deviation_median_cents']:.2f}  ({result['recordings']} recordings)",
        flush=True,
    )


def main(folder: Path, names: list[str]) -> None:
    python = environment(names)
    print(f"Carillon melodies, unseen tunes, once each; {machine()}")
    for condition in CONDITIONS:
        asked = cases(condition, TUNES["unseen"], 1, (BellKind.carillon,))
        recordings = [case.recording(SAMPLE_RATE_HZ) for case in asked]
        print(f"{condition}: {len(asked)} recordings")
        line("hemony, told nothing", [judge(heard.truth, heard.notes, heard.tune) for heard in listen(folder, asked)])
        template = [
            pitches(one.wave.astype(np.float64), SAMPLE_RATE_HZ, one.truth.onset_s, BellKind.carillon) for one in recordings
        ]
        line("classical template", judged(asked, recordings, template))
        with tempfile.TemporaryDirectory() as scratch:
            for number, one in enumerate(recordings):
                soundfile.write(Path(scratch) / f"{number:03d}.wav", one.wave, SAMPLE_RATE_HZ)
            for name in names:
                if name == "crepe-full":
                    for path in sorted(Path(scratch).glob("*.wav"))[FEW:]:
                        path.unlink()
                subprocess.run(
                    [python, Path(__file__).parent / "peers.py", scratch, Path(scratch) / "out.json", name],
                    check=True,
                    stdout=subprocess.DEVNULL,
                    env=os.environ | {"PYTHONPATH": ""},
                )
                tracks = json.loads((Path(scratch) / "out.json").read_text()).get(name)
                if tracks:
                    order = sorted(tracks)
                    line(
                        name,
                        judged(
                            asked[: len(order)],
                            recordings,
                            [heard_midi(tracks[stem], one) for stem, one in zip(order, recordings, strict=False)],
                        ),
                    )


def judged(asked: list[Case], recordings: list[Recording], midi: list[Values]) -> list[Judged]:
    return [
        judge(one.truth, by_scale(case, one.truth, heard), case.tune)
        for case, one, heard in zip(asked, recordings, midi, strict=False)
    ]


if __name__ == "__main__":
    given = sys.argv[1:]
    folder = Path(given[0]) if given and given[0] not in PACKAGES else Path("checkpoints/bells")
    named = [name for name in given if name in PACKAGES] or list(PACKAGES)
    main(folder, sorted(named, key=lambda name: name == "crepe-full"))  # the last: it drops recordings

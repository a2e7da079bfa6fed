"""Real bells whose recordings no training heard: the 21 of the Westerkerk, single strokes and melodies made of them.

python -m tests.benchmarks.bench_towers [BUNDLE]    about 5 minutes on two cores; needs the Westerkerk's recordings

Single strokes are heard blind, octave and all. For shift consistency each clip is resampled by a known number of cents, up and down, so that
the truth is exact whatever the convention. A melody takes each clip from its measured pitch onto equal temperament and one common offset, and
then by the deviation that is drawn.
"""

import csv
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr
import torch

from hemony import melody_bundle
from hemony.bells.conditions import CONDITIONS, score_of
from hemony.bells.judging import Judged, judge
from hemony.bells.notes import Notes
from hemony.bells.pieces import LEAD_S, TAIL_S, Mistuning, even_onsets_s
from hemony.bells.tunes import UNSEEN, Score
from hemony.bells.tuning import cents_between, hz_to_midi
from hemony.datasets.seeding import derived_seed
from hemony.hearing import notes_of
from hemony.media.audio import as_float, read_audio
from hemony.melody_bundle import MelodyBundle
from hemony.models.ear import SAMPLE_RATE_HZ
from tests.benchmarks.bench_melodies import report
from tests.benchmarks.measure import data_folder, machine

Wave = npt.NDArray[np.float32]
SHIFT_CENTS = 100.0
RENDITIONS = 4  # of each tune
FADE_S = 1.0


def shifted(wave: Wave, cents: float) -> Wave:
    """Played faster by so much that it sounds `cents` higher."""
    ratio = Fraction(2 ** (-cents / 1200)).limit_denominator(100_000)
    moved: Wave = soxr.resample(wave, ratio.denominator, ratio.numerator, quality="VHQ").astype(np.float32)
    return moved


def first_strike_hz(bundle: MelodyBundle, wave: Wave) -> float:
    """Of the loudest note that is heard in a clip; NaN where none is."""
    notes, _ = notes_of(bundle.network, np.pad(wave, (round(0.2 * SAMPLE_RATE_HZ), 0)), bundle.temperature)
    return float(notes.strike_hz[notes.level_db.argmax()]) if len(notes) else float("nan")


def single_strokes(bundle: MelodyBundle, clips: list[Wave], true_hz: npt.NDArray[np.float64]) -> None:
    heard = np.array([first_strike_hz(bundle, clip) for clip in clips])
    off = np.abs(cents_between(true_hz, heard))
    near = off <= 1.5
    print(
        f"single strokes: {int(near.sum())} of {len(clips)} within 1.5 cents, median {np.nanmedian(off):.2f}, worst {np.nanmax(off):.2f}, "
        f"{int(np.isnan(off).sum())} not heard; others: "
        + ", ".join(
            f"{hz_to_midi(float(true)):.2f} heard as {hz_to_midi(float(got)):.2f}"
            for true, got, fine in zip(true_hz, heard, near, strict=True)
            if not fine
        )
    )
    moves = []
    for clip, reference in zip(clips, heard, strict=True):
        for side in (-1, 1):
            moves.append(cents_between(reference, first_strike_hz(bundle, shifted(clip, side * SHIFT_CENTS))) - side * SHIFT_CENTS)
    wrong = np.abs(np.array(moves))
    print(
        f"resampled by {SHIFT_CENTS:g} cents up and down: off by {np.nanmedian(wrong):.3f} cents, median, p95 {np.nanquantile(wrong, 0.95):.2f}"
    )


def melody(name: str, repeat: int, clips: list[Wave], bells_midi: npt.NDArray[np.float64]) -> tuple[Wave, Notes]:
    """A tune on the bells that are nearest to its notes, moved to where most of them are."""
    draw = torch.Generator().manual_seed(derived_seed(repeat, f"tower/{name}"))
    score = placed(score_of(name), bells_midi)
    begins_s = LEAD_S + even_onsets_s(score, *CONDITIONS["clean"].spacing_s)
    meant = np.array(score.midi, dtype=np.float64)
    cents = Mistuning().deviations_cents(meant, draw)
    tuning_cents = float(torch.rand(1, generator=draw)) * 20 - 10
    wave = np.zeros(round((begins_s[-1] + TAIL_S) * SAMPLE_RATE_HZ), np.float32)
    for begin_s, midi, off in zip(begins_s, meant, cents, strict=True):
        bell = int(np.abs(bells_midi - midi).argmin())
        clip = shifted(clips[bell], 100 * (midi - bells_midi[bell]) + off + tuning_cents)
        start = round(begin_s * SAMPLE_RATE_HZ)
        wave[start : start + len(clip)] += clip[: len(wave) - start]
    scale = 0.8 / float(np.abs(wave).max())
    return wave * scale, Notes(begins_s, meant.astype(np.int64), cents, np.ones(len(meant)), np.zeros(len(meant)), tuning_cents)


def placed(score: Score, bells_midi: npt.NDArray[np.float64]) -> Score:
    def stretch(move: int) -> float:
        return float(np.abs(np.array(score.midi)[:, None] + move - bells_midi).min(axis=1).sum())

    return score.transposed(min(range(-48, 49), key=stretch))


def main(folder: Path) -> None:
    root = data_folder("westerkerk")
    bundle = melody_bundle.load(folder)
    rows = list(csv.DictReader((root / "reference.csv").open()))
    true_hz = np.array([float(row["strike_hz"]) for row in rows])
    clips = [begun(as_float(read_audio(root / row["name"], SAMPLE_RATE_HZ))) for row in rows]
    print(f"The Westerkerk's bells, {folder}, {machine()}")
    single_strokes(bundle, clips, true_hz)
    judged: list[Judged] = []
    for name in UNSEEN:
        for repeat in range(RENDITIONS):
            wave, truth = melody(name, repeat, clips, hz_to_midi(true_hz))
            judged.append(judge(truth, notes_of(bundle.network, wave, bundle.temperature)[0], name))
    report("melodies of real bells", judged)


def begun(clip: Wave) -> Wave:
    """From the strike on, with a fade at the end."""
    power = np.convolve(clip**2, np.ones(240) / 240, "same")
    start = max(0, int((power > power.max() * 0.05).argmax()) - 120)
    clip = clip[start:].copy()
    fade = min(len(clip), round(FADE_S * SAMPLE_RATE_HZ))
    clip[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return clip


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/bells"))

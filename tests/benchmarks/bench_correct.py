"""`hemony correct`: how long it takes beside the recording, how late a stream is, and how well a corrected recording is in tune.

python -m tests.benchmarks.bench_correct [BUNDLE]    about 10 minutes; everything on one thread
"""

import sys
import time
from pathlib import Path

import numpy as np
import soxr
import torch

from hemony import correct, melody_bundle
from hemony.bells import pieces, scores
from hemony.bells.notes import Notes, Values
from hemony.bells.retune import retune
from hemony.bells.synth import TABLES, BellKind
from hemony.bells.temperament import EQUAL
from hemony.bells.tuning import cents_between
from hemony.datasets.seeding import generator
from hemony.following import Follower
from hemony.hardware import one_blas_thread
from hemony.hearing import notes_of
from hemony.melody_bundle import MelodyBundle
from hemony.models.ear import SAMPLE_RATE_HZ
from tests.benchmarks.measure import machine
from tests.benchmarks.template import peak_hz

RATE_HZ = 44_100
SEEDS = (0, 1)
TOLERANCE_CENTS = 5.0
BLOCK_S = 0.01
READ_S = (0.03, 0.35)  # after an onset, for the independent reader


def rendered(kind: BellKind, seed: int) -> tuple[Values, Notes]:
    """Hot Chilli Bells 100 as it is drawn by the seed."""
    score = pieces.fitting(scores.score("hot_chilli_bells_100", seed), kind)
    playing = pieces.Playing(kind=kind, sample_rate_hz=RATE_HZ, tuning_cents=12.0)
    wave, truth = pieces.play(
        score, pieces.even_onsets_s(score, 0.35, 0.6), pieces.Mistuning(), playing, generator(seed, "bench_correct")
    )
    return wave.numpy(), truth


def read_hz(wave: Values, truth: Notes, kind: BellKind) -> Values:
    """Strike pitches (N,) by peaks of a spectrum of each note: knows nothing of what has been fitted."""
    table, found = TABLES[kind], []
    for onset_s, hz in zip(truth.onset_s, truth.strike_hz, strict=True):
        start, end = (round((onset_s + after_s) * RATE_HZ) for after_s in READ_S)
        size = 2**18
        spectrum = np.abs(np.fft.rfft(wave[start:end] * np.hanning(end - start), size)) + 1e-12
        anchors = [peak_hz(spectrum, hz * table.partials[place].ratio, RATE_HZ / size) * factor for place, factor in table.anchors]
        found.append(float(np.median(anchors)))
    return np.array(found)


def corrected(bundle: MelodyBundle, kind: BellKind, seed: int) -> None:
    wave, truth = rendered(kind, seed)
    duration_s = len(wave) / RATE_HZ
    started = time.process_time()
    mono = soxr.resample(wave, RATE_HZ, SAMPLE_RATE_HZ, quality="HQ").astype(np.float32)
    notes, heard_kind = notes_of(bundle.network, mono, bundle.temperature)
    hearing_s = time.process_time() - started
    _, moves, _ = correct.corrections(notes, EQUAL, TOLERANCE_CENTS, None)
    with one_blas_thread():
        tuned = retune(wave, RATE_HZ, notes.onset_s, notes.strike_hz, moves, heard_kind)
    whole_s = time.process_time() - started
    same = int(np.flatnonzero(tuned != wave)[0]) / RATE_HZ if moves.any() else duration_s
    meant = Notes(truth.onset_s, truth.intended_midi, np.zeros(len(truth)), truth.confidence, truth.level_db, truth.tuning_cents)
    left = cents_between(meant.strike_hz, read_hz(tuned, meant, kind))
    left -= np.median(left)
    resampled = soxr.resample(tuned, RATE_HZ, SAMPLE_RATE_HZ, quality="HQ").astype(np.float32)
    again, _ = notes_of(bundle.network, resampled, bundle.temperature)
    _, second, _ = correct.corrections(again, EQUAL, correct.AGAIN * TOLERANCE_CENTS, None)
    print(
        f"  {kind.value:<13} seed {seed}: {int((moves != 0).sum())} of {len(notes)} notes moved; an independent reader then finds |cents off| median "
        f"{np.median(np.abs(left)):.2f}, p95 {np.quantile(np.abs(left), 0.95):.1f}; a second pass moves {int((second != 0).sum())}; the same until "
        f"{same:.2f} s, first moved at {notes.onset_s[moves != 0][0] if moves.any() else duration_s:.2f} s; real-time factor {hearing_s / duration_s:.3f} for "
        f"the notes, {whole_s / duration_s:.3f} with retuning",
        flush=True,
    )


def latency(bundle: MelodyBundle) -> None:
    """From a strike to its row: what has to be heard after it, and the work."""
    wave, truth = rendered(BellKind.carillon, SEEDS[0])
    mono = soxr.resample(wave, RATE_HZ, SAMPLE_RATE_HZ, quality="HQ").astype(np.float32)
    follower, block = Follower(bundle), round(BLOCK_S * SAMPLE_RATE_HZ)
    late, work, busy = [], [], 0.0
    for start in range(0, len(mono), block):
        began = time.perf_counter()
        for row in follower.feed(mono[start : start + block]):
            if row["event"] == "strike":
                spent = time.perf_counter() - began
                near = truth.onset_s[np.abs(truth.onset_s - row["onset_s"]).argmin()]
                late.append((start + block) / SAMPLE_RATE_HZ + spent - near)
        work.append(time.perf_counter() - began)
        busy += work[-1]
    print(
        f"stream: a strike is told {1000 * np.median(late):.0f} ms after it was made, p99 {1000 * np.quantile(late, 0.99):.0f} ms ({len(late)} strikes); "
        f"real-time factor {busy * SAMPLE_RATE_HZ / len(mono):.3f}, work for a block of {1000 * BLOCK_S:.0f} ms {1000 * np.quantile(work, 0.99):.0f} ms (p99)"
    )


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    bundle = melody_bundle.load(folder)
    print(f"hemony correct, Hot Chilli Bells 100, {folder}, {machine()}")
    for kind in BellKind:
        for seed in SEEDS:
            corrected(bundle, kind, seed)
    latency(bundle)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/bells"))

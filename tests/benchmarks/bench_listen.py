"""`hemony classify` on recordings: a folder of 10,000 beside its parts and beside how it is done today, and a stream for an hour.

python -m tests.benchmarks.bench_listen [BUNDLE] [folder|stream ...]    about 10 minutes on two cores; librosa is timed where it is installed
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hemony import bundle, hardware
from hemony.config import Precision
from hemony.inference import predict_logits
from hemony.media.audio import find_audio
from hemony.models.spectrogram import SpectrogramCNN
from hemony.preprocessing import AudioView
from tests.benchmarks.measure import CPU, elapsed_s, machine

FILES = 10_000
FILE_RATE_HZ = 16_000
BATCH = 256
STREAM_S = 3600


def write_files(folder: Path) -> list[Path]:
    """One-second recordings of tones in noise, 16 kHz."""
    draw = np.random.default_rng(0)
    times = np.arange(FILE_RATE_HZ) / FILE_RATE_HZ
    for number in range(FILES):
        wave = 0.3 * np.sin(2 * np.pi * draw.uniform(100, 3000) * times) + draw.normal(0, 0.05, FILE_RATE_HZ)
        soundfile.write(folder / f"{number:05d}.wav", wave, FILE_RATE_HZ, subtype="PCM_16")
    return find_audio(folder)[0]


def whole_folder(place: Path) -> None:
    loaded = bundle.load(place)
    view = loaded.preprocessing
    assert isinstance(view, AudioView)
    bf16 = hardware.use_bf16(Precision.auto, CPU)
    with tempfile.TemporaryDirectory() as scratch:
        paths = write_files(Path(scratch))

        def in_threads(work: Callable[[Path], object]) -> None:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(work, paths))

        samples = np.zeros(FILE_RATE_HZ, np.float32)
        clips = torch.stack([view.read(path) for path in paths[:BATCH]]).repeat(-(-FILES // BATCH), 1)[:FILES]
        command = [sys.executable, "-m", "hemony", "classify", str(place), scratch, "--format", "csv", "--batch-size", str(BATCH)]
        todays = {"torchaudio and a DataLoader": lambda: by_torchaudio(loaded, paths, view)}
        if has_librosa():
            todays["librosa, a file at a time"] = lambda: by_librosa(loaded, paths, view)
        rows = []
        for _ in range(3):
            rows.append(
                (
                    elapsed_s(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)),
                    elapsed_s(lambda: in_threads(lambda path: soundfile.read(path, dtype="float32"))),
                    elapsed_s(lambda: in_threads(lambda path: soxr.resample(samples, FILE_RATE_HZ, view.sample_rate_hz))),
                    elapsed_s(lambda: predict_logits(loaded.recogniser, clips.split(BATCH), CPU, bf16)),
                    elapsed_s(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True)),
                )
            )
        whole, decoding, resampling, network, importing = (median(times) for times in zip(*rows, strict=True))
        ratio = median(row[0] / sum(row[1:4]) for row in rows)
        working = median((row[0] - row[4]) / sum(row[1:4]) for row in rows)
        print(
            f"{FILES:,} recordings of 1 s, {FILE_RATE_HZ:,} Hz: `hemony classify` {whole:.1f} s with its start, {FILES / whole:,.0f} a second"
        )
        print(
            f"  alone: decoding {decoding:.1f} s, resampling to {view.sample_rate_hz:,} Hz {resampling:.1f} s, network {network:.1f} s: "
            f"ratio to their sum {ratio:.2f} (median of {len(rows)}), less {importing:.1f} s for `import torch`, which the parts do not have, "
            f"{working:.2f}"
        )
        for name, work in todays.items():
            seconds = elapsed_s(work)
            print(f"  {name}, the same network, without a start: {seconds:.1f} s, {seconds / whole:.1f} times as long")


class Recordings(Dataset[Tensor]):
    """What one writes with torchaudio: one file an item, resampled by it, a mel spectrogram by it."""

    def __init__(self, paths: list[Path], view: AudioView, network: SpectrogramCNN) -> None:
        import torchaudio

        self.paths, self.view = paths, view
        front = network.front
        self.resample = torchaudio.transforms.Resample(FILE_RATE_HZ, view.sample_rate_hz)
        self.mel = torchaudio.transforms.MelSpectrogram(
            view.sample_rate_hz, front.fft_size, front.window, front.hop, n_mels=front.filters.shape[1], pad_mode="constant"
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        samples, _ = soundfile.read(self.paths[index], dtype="float32")
        mel: Tensor = self.mel(self.resample(torch.from_numpy(samples)))
        return mel


def by_torchaudio(loaded: bundle.Bundle, paths: list[Path], view: AudioView) -> None:
    network = loaded.recogniser.network
    assert isinstance(network, SpectrogramCNN)
    with torch.inference_mode():
        for mel in DataLoader(Recordings(paths, view, network), BATCH, num_workers=os.cpu_count() or 1):
            network.logits(mel).softmax(dim=1)


def has_librosa() -> bool:
    try:
        import librosa  # noqa: F401
    except ImportError:
        return False
    return True


def by_librosa(loaded: bundle.Bundle, paths: list[Path], view: AudioView) -> None:
    import librosa

    network = loaded.recogniser.network
    assert isinstance(network, SpectrogramCNN)
    front = network.front
    with torch.inference_mode():
        for path in paths:
            samples, _ = librosa.load(path, sr=view.sample_rate_hz)
            mel = librosa.feature.melspectrogram(
                y=samples, sr=view.sample_rate_hz, n_fft=front.fft_size, win_length=front.window, hop_length=front.hop,
                n_mels=front.filters.shape[1],
            )  # fmt: skip
            network.logits(torch.from_numpy(mel)[None]).softmax(dim=1)


def an_hour_of_stream(place: Path) -> None:
    """The work for each hop of an hour of sound, and the memory, in this process."""
    import resource

    from hemony.recordings import Listener

    loaded = bundle.load(place)
    listener = Listener(loaded, CPU, hardware.use_bf16(Precision.auto, CPU), at_once=True)
    draw = np.random.default_rng(0)
    block = listener.hop
    times, peaks = [], []
    for number in range(STREAM_S * listener.sample_rate_hz // block):
        samples = (draw.standard_normal(block) * 3000).astype(np.int16)
        started = time.perf_counter()
        list(listener.feed(samples))
        times.append(time.perf_counter() - started)
        if number in (200, STREAM_S * listener.sample_rate_hz // block - 1):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    p99_ms, hop_ms = float(np.quantile(times, 0.99)) * 1000, block / listener.sample_rate_hz * 1000
    print(
        f"a stream of {STREAM_S:,} s, a window every {hop_ms:.0f} ms: {p99_ms:.1f} ms of work a hop (p99; median {np.median(times) * 1000:.1f}), "
        f"{p99_ms / hop_ms:.1%} of it; peak memory {peaks[0]:.0f} MiB after 200 hops, {peaks[1]:.0f} MiB after all"
    )


def main(place: Path, parts: tuple[str, ...]) -> None:
    facts = json.loads((place / "bundle.json").read_text())["preprocessing"]
    print(f"listen {place}, {facts}, {machine()}")
    if "folder" in parts:
        whole_folder(place)
    if "stream" in parts:
        an_hour_of_stream(place)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/fsdd"), tuple(sys.argv[2:]) or ("folder", "stream"))

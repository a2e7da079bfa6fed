"""What several tests need: a small folder of pictures, a cache of their own, a trained bundle."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from hemony.cli import main
from hemony.errors import InputError

SHAPES = ("bar", "disc", "ring")
DATA = Path(os.environ.get("HEMONY_DATA", "no folder"))


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test where that real data set is not at hand."""
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"HEMONY_DATA names no folder with {name}")


def inspected(
    part: str, subject: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[dict[str, Any], str, str]:
    """What `hemony inspect PART SUBJECT` finds, as figures of that part, as a page, and as it is printed."""
    assert main(["inspect", part, subject, *more, "--out", str(folder)]) == 0
    facts = json.loads((folder / "inspect.json").read_text())[part]
    return facts, (folder / "inspect.html").read_text(), capsys.readouterr().out


def draw_shape(name: str, size: int, draw: np.random.Generator) -> np.ndarray:
    """A bright shape at a random place on a noisy ground, uint8 (size, size, 3)."""
    y, x = np.mgrid[:size, :size]
    row, column = draw.uniform(0.35, 0.65, 2) * size
    radius = draw.uniform(0.2, 0.3) * size
    distance = np.hypot(y - row, x - column)
    inside = {
        "bar": (abs(y - row) < radius / 3) & (abs(x - column) < radius * 1.4),
        "disc": distance < radius,
        "ring": abs(distance - radius) < radius / 4,
    }[name]
    ground = draw.normal(70, 12, (size, size, 3))
    return np.clip(np.where(inside[..., None], ground + draw.uniform(90, 150), ground), 0, 255).astype(np.uint8)


@pytest.fixture
def shapes_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a class folder of bars, discs and rings; `parts` puts train/ and test/ above the classes."""

    def make(each: int = 20, size: int = 16, parts: tuple[str, ...] = ("",), name: str = "shapes", seed: int = 0) -> Path:
        draw = np.random.default_rng(seed)
        root = tmp_path / name
        for part in parts:
            for shape in SHAPES:
                folder = root / part / shape
                folder.mkdir(parents=True)
                for index in range(each):
                    Image.fromarray(draw_shape(shape, size, draw)).save(folder / f"{index:03d}.png")
        return root

    return make


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads what another one, or the user, has cached."""
    monkeypatch.setenv("HEMONY_CACHE", str(tmp_path_factory.mktemp("cache")))


def hemony(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "hemony", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


def trained(bundle: Path, root: Path, data: str, model: str) -> tuple[Path, Path, dict[str, object]]:
    """A small bundle trained by the command on a folder: (bundle, folder, metrics that the command printed)."""
    finished = hemony(
        "train", data, f"data.root={root}", f"output={bundle}", model, "model.width=0.25", "trainer.max_epochs=12",
        "trainer.batch_size=16", "data.validation_share=0.2", "--format", "json",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return bundle, root, json.loads(finished.stdout)


def classify_lightly(bundle: Path, source: Path) -> None:
    """Classifies a file, and asserts that nothing was imported that only training needs."""
    script = (
        "import sys\nfrom hemony.cli import main\nassert main(sys.argv[1:]) == 0\n"
        "heavy = {'lightning', 'pytorch_lightning', 'torchmetrics', 'torchvision', 'torchaudio', 'sklearn', 'scipy', 'matplotlib', 'hydra', "
        "'omegaconf'}\nassert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    finished = subprocess.run([sys.executable, "-c", script, "classify", bundle, source], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def refused_in_one_line(read: Callable[[Path], object], path: Path, expected: str) -> None:
    """Asserts that a file is refused with a line that names it and says what is wrong."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert expected in message


def tone(hz: float, seconds: float, draw: np.random.Generator, rate_hz: int = 8_000) -> np.ndarray:
    """A tone in a little noise, int16 (samples,); noise alone at 0 Hz."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = np.sin(2 * np.pi * hz * times + draw.uniform(0, 6)) * 0.3 * (hz > 0) + draw.normal(
        0, 0.1 if hz == 0 else 0.01, len(times)
    )
    return np.rint(np.clip(wave, -1, 1) * 32767).astype(np.int16)


TONES_HZ = {"high": (1_200.0, 1_800.0), "hiss": (0.0, 0.0), "low": (250.0, 400.0)}


@pytest.fixture(scope="session")
def tones_bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, object]]:
    """A bundle trained by the command on a folder of tones: (bundle, folder, metrics that the command printed)."""
    base = tmp_path_factory.mktemp("session")
    draw = np.random.default_rng(2)
    for label, (low_hz, high_hz) in TONES_HZ.items():
        (base / "tones" / label).mkdir(parents=True)
        for index in range(30):
            samples = tone(draw.uniform(low_hz, high_hz), draw.uniform(0.3, 0.5), draw)
            soundfile.write(base / "tones" / label / f"{index:02d}.wav", samples, 8_000)
    return trained(base / "bundle", base / "tones", "data=audio_folder", "model=spectrogram")


@pytest.fixture(scope="session")
def shapes_bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, object]]:
    """A bundle trained by the command on a folder of shapes: (bundle, folder, metrics that the command printed)."""
    base = tmp_path_factory.mktemp("session")
    draw = np.random.default_rng(1)
    for shape in SHAPES:
        (base / "shapes" / shape).mkdir(parents=True)
        for index in range(40):
            Image.fromarray(draw_shape(shape, 16, draw)).save(base / "shapes" / shape / f"{index:03d}.png")
    return trained(base / "bundle", base / "shapes", "data=image_folder", "model=fast_cnn")

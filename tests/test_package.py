"""The wheel, built from a copy of the checkout and installed in an environment of its own, works anywhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".git", ".venv", "checkpoints", "data", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, base / "copy", ignore=lambda folder, names: ignored(folder, names) if Path(folder) == ROOT else [])
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", base, base / "copy"],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    return next(base.glob("hemony-*.whl"))


def test_the_wheel_holds_the_package_and_the_configs_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "hemony/configs/train.yaml" in names
    assert "hemony/cli.py" in names
    assert {name.split("/")[0] for name in names} == {"hemony", next(name for name in names if "dist-info" in name).split("/")[0]}
    assert wheel.stat().st_size < 500_000


def test_the_installed_wheel_trains_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    site = next((home / "lib").glob("python*/site-packages"))
    # The dependencies come from this environment. A plain path line does not follow the .pth files in there, so that an
    # editable install of the checkout stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = home / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel], check=True)
    where = subprocess.run(
        [python, "-c", "import hemony; print(hemony.__file__)"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    command = [home / "bin" / "hemony", "train", "experiment=digits", "trainer.max_epochs=1", "output=here", "--format", "json"]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["total"] > 200
    assert (tmp_path / "here" / "bundle.json").exists()

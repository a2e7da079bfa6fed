"""The package as a whole: its imports form no circle, and its wheel works anywhere."""

import ast
import graphlib
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


def imported_by(path: Path, modules: set[str]) -> set[str]:
    """The modules of this package that a file imports, inside functions too; a name imported from a package may be a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules


def test_the_imports_form_no_circle() -> None:
    source = ROOT / "app"
    names = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (source / "hemony").rglob("*.py")
    }
    graph = {name: imported_by(path, set(names)) - {name} for name, path in names.items()}
    assert graph["hemony.fit"] >= {"hemony.models", "hemony.tasks.classification", "hemony.bundle"}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("hemony.errors") < order.index("hemony.cli")

"""Every broken installation that the doctor knows is named, with the command that mends it."""

import json
import subprocess
import sys

import pytest

from hemony import doctor
from hemony.doctor import Installation, examine

VERSIONS = dict.fromkeys((*doctor.REQUIRED, *doctor.REQUIRED_SMALL), "1.0") | {
    "torch": "2.14.1",
    "torchvision": "0.29.1",
    "torchaudio": "2.11.0",
    "lightning": "2.6.6",
}


def facts(**changes: object) -> Installation:
    return Installation(**({"versions": VERSIONS, "cuda_of_torch": "13.0"} | changes))  # type: ignore[arg-type]


BROKEN = {
    "too old a Python": (facts(python=(3, 10)), "python", "3.10", "venv"),
    "too new a Python": (facts(python=(3, 14)), "python", "3.14", "venv"),
    "a missing package": (facts(versions={k: v for k, v in VERSIONS.items() if k != "safetensors"}), "safetensors", "not installed", "pip install 'safetensors"),
    "a package that cannot be imported": (facts(import_errors={"hydra-core": "ImportError: x"}), "hydra-core", "ImportError: x", "--force-reinstall 'hydra-core"),
    "a mismatched pair": (facts(versions=VERSIONS | {"torchvision": "0.28.0"}), "torchvision", "does not match", "'torchvision==0.29.*'"),
    "a torch that is too new": (facts(versions=VERSIONS | {"torch": "2.15.0"}), "torch", "2.15.0", "torch<2.15"),
    "another torchaudio": (facts(versions=VERSIONS | {"torchaudio": "2.9.0"}), "torchaudio", "2.9.0", "'torchaudio==2.11.*'"),
    "CPU torch beside CUDA torchvision": (
        facts(cuda_of_torch=None, versions=VERSIONS | {"torch": "2.14.1+cpu"}, import_errors={"torchvision": "RuntimeError: operator torchvision::nms does not exist"}),
        "torchvision", "CPU-only torch 2.14.1+cpu", "'torch==2.14.1' 'torchvision==0.29.*' 'torchaudio==2.11.*'",
    ),
    "CPU torch beside CUDA torchaudio": (
        facts(cuda_of_torch=None, import_errors={"torchaudio": "OSError: libcudart.so.13: cannot open shared object file"}),
        "torchaudio", "libcudart", "pip uninstall -y torch torchvision torchaudio",
    ),
    "a malicious lightning": (facts(versions=VERSIONS | {"lightning": "2.6.3"}), "lightning", "malicious", "lightning<2.7,>=2.6.6"),
    "an old lightning": (facts(versions=VERSIONS | {"lightning": "2.5.0"}), "lightning", "run code", "lightning<2.7,>=2.6.6"),
    "CPU torch on a machine with a GPU": (facts(driver="580.1", cuda_of_torch=None), "gpu", "CPU alone", "pip uninstall"),
    "a driver that is too old": (facts(driver="450.1"), "gpu", "too old", "driver"),
    "a GPU that the wheel does not support": (
        facts(driver="580.1", gpu_seen=True, gpu_architecture="sm_61", architectures=("sm_75", "sm_90", "compute_120")), "gpu", "sm_61", "trainer=cpu",
    ),
    "a libsndfile without MP3": (facts(audio_formats=("WAV", "FLAC", "OGG", "AIFF")), "audio codecs", "MP3", "soundfile"),
    "a missing codec": (facts(codecs=("zlib", "jpg", "libtiff")), "image codecs", "WebP", "pillow"),
    "no configs": (facts(configs_found=False), "configs", "configs/", "hemony"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_with_its_fix(name: str) -> None:
    installation, check, found, fix = BROKEN[name]
    failed = [finding for finding in examine(installation) if finding.state == "fail"]
    assert [finding.check for finding in failed] == [check]
    assert found in failed[0].found
    assert fix in failed[0].fix


def test_a_sound_installation_has_no_complaint() -> None:
    sound = facts(driver="580.1", gpu_seen=True, gpu_architecture="sm_90", architectures=("sm_75", "sm_90"))
    assert {finding.state for finding in examine(sound)} == {"ok"}


def test_little_disk_is_a_warning() -> None:
    assert [finding.state for finding in examine(facts(free_gib=0.2)) if finding.state != "ok"] == ["warn"]


@pytest.mark.parametrize(
    ("built", "architecture", "expected"),
    [
        ("sm_80", "sm_86", True),
        ("sm_86", "sm_80", False),
        ("sm_90", "sm_100", False),
        ("compute_90", "sm_100", True),
        ("sm_90a", "sm_90", True),
    ],
)
def test_binaries_run_on_later_minor_versions_and_ptx_on_later_gpus(built: str, architecture: str, expected: bool) -> None:
    assert doctor.supports(built, architecture) is expected


def test_this_installation_is_sound() -> None:
    finished = subprocess.run([sys.executable, "-m", "hemony", "doctor", "--format", "json"], capture_output=True, text=True)
    rows = json.loads(finished.stdout)
    assert finished.returncode == 0, rows
    assert {"python", "packages", "lightning"} <= {row["check"] for row in rows}

"""`hemony doctor`: what is wrong with this installation, and the exact fix.

    hemony doctor [--format table|json|jsonl|csv]

Exit code 0 when all is well, 1 when something has to be mended.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from hemony import output
from hemony.errors import EXIT_CHECK_FAILED, EXIT_FINE, UsageError

PAIRS = {"2.11": "0.26", "2.12": "0.27", "2.13": "0.28", "2.14": "0.29"}  # torch and the torchvision that is built for it
TORCHAUDIO = "2.11"
MALICIOUS_LIGHTNING = ("2.6.2", "2.6.3")
CODECS = {"jpg": "JPEG", "zlib": "PNG", "webp": "WebP", "libtiff": "TIFF"}
REQUIRED = ("torch", "torchvision", "torchaudio", "lightning", "hydra-core", "omegaconf", "numpy", "scipy", "scikit-learn")
REQUIRED_SMALL = ("safetensors", "pillow", "soundfile", "soxr", "rich")
IMPORTS = {
    "torch": "torch",
    "torchvision": "torchvision.ops",
    "torchaudio": "torchaudio",
    "lightning": "lightning",
    "hydra-core": "hydra",
    "scikit-learn": "sklearn",
}
AUDIO_FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")  # of libsndfile; MP3 came with 1.1
LEAST_FREE_GIB = 1.0


@dataclass
class Installation:
    """The facts that the checks look at; a test can pose any installation by them."""

    python: tuple[int, int] = (3, 11)
    versions: dict[str, str] = field(default_factory=dict)  # by distribution; missing ones are absent
    import_errors: dict[str, str] = field(default_factory=dict)  # by distribution: the last line of what its import printed
    cuda_of_torch: str | None = None  # the CUDA that torch is built for; None: CPU only
    codecs: tuple[str, ...] = tuple(CODECS)  # of Pillow
    audio_formats: tuple[str, ...] = AUDIO_FORMATS  # of libsndfile
    driver: str | None = None  # of the NVIDIA GPU; None: no such GPU
    gpu_seen: bool = False  # by torch
    gpu_architecture: str | None = None  # such as sm_90
    architectures: tuple[str, ...] = ()  # that the torch wheel is built for
    free_gib: float = 100.0
    configs_found: bool = True


@dataclass(frozen=True)
class Finding:
    check: str
    state: str  # ok, warn or fail
    found: str
    fix: str = ""


def main(arguments: list[str]) -> int:
    rest, form = output.take_format(arguments, "table", ("table", "json", "jsonl", "csv"))
    if rest:
        raise UsageError(f"hemony doctor takes no {rest[0]}; usage: hemony doctor [--format table|json|jsonl|csv]")
    findings = examine(collect())
    rows = [asdict(finding) for finding in findings]
    if form == "table":
        for finding in findings:
            print(f"{finding.state:>5}  {finding.check}: {finding.found}" + (f"\n       fix: {finding.fix}" if finding.fix else ""))
    else:
        output.print_rows(rows, form)
    return EXIT_CHECK_FAILED if any(finding.state == "fail" for finding in findings) else EXIT_FINE


def examine(facts: Installation) -> list[Finding]:
    """Every check over the facts."""
    checks: tuple[Callable[[Installation], list[Finding]], ...] = (
        check_python,
        check_packages,
        check_torch_pair,
        check_torch_build,
        check_lightning,
        check_gpu,
        check_codecs,
        check_place,
    )
    return [finding for check in checks for finding in check(facts)]


def check_python(facts: Installation) -> list[Finding]:
    version = ".".join(map(str, facts.python))
    if (3, 11) <= facts.python <= (3, 13):
        return [Finding("python", "ok", version)]
    return [
        Finding(
            "python", "fail", f"{version}; Hemony needs 3.11 to 3.13", "python3.12 -m venv .venv && .venv/bin/pip install hemony"
        )
    ]


def check_packages(facts: Installation) -> list[Finding]:
    missing = [name for name in (*REQUIRED, *REQUIRED_SMALL) if name not in facts.versions]
    found = [Finding(name, "fail", "not installed", f"pip install '{requirement(name)}'") for name in missing]
    for name, error in facts.import_errors.items():
        if name not in ("torchvision", "torchaudio"):  # those have a check of their own
            found.append(
                Finding(name, "fail", f"cannot be imported: {error}", f"pip install --force-reinstall '{requirement(name)}'")
            )
    return found or [Finding("packages", "ok", f"{len(REQUIRED) + len(REQUIRED_SMALL)} found, all can be imported")]


def requirement(name: str) -> str:
    """The requirement that Hemony's own metadata states for a distribution."""
    for line in metadata.requires("hemony") or []:
        text = line.partition(";")[0].strip()
        if text.lower().startswith(name) and not text[len(name) : len(name) + 1].isalnum() and "extra ==" not in line:
            return text
    return name


def check_torch_pair(facts: Installation) -> list[Finding]:
    """torch, torchvision and torchaudio have to be of one release."""
    torch = minor(facts.versions.get("torch"))
    if torch is None:
        return []
    if torch not in PAIRS:
        fix = f"pip install '{requirement('torch')}' '{requirement('torchvision')}' '{requirement('torchaudio')}'"
        return [Finding("torch", "fail", f"{facts.versions['torch']} is not a release that Hemony is tested with", fix)]
    vision, audio = minor(facts.versions.get("torchvision")), minor(facts.versions.get("torchaudio"))
    found = []
    if vision and vision != PAIRS[torch]:
        fix = f"pip install 'torch=={torch}.*' 'torchvision=={PAIRS[torch]}.*'"
        found.append(
            Finding("torchvision", "fail", f"{facts.versions['torchvision']} does not match torch {facts.versions['torch']}", fix)
        )
    if audio and audio != TORCHAUDIO:
        fix = f"pip install 'torchaudio=={TORCHAUDIO}.*'"
        found.append(Finding("torchaudio", "fail", f"{facts.versions['torchaudio']} is not {TORCHAUDIO}", fix))
    return found or [Finding("torch and its companions", "ok", f"torch {torch}, torchvision {vision}, torchaudio {audio}")]


def check_torch_build(facts: Installation) -> list[Finding]:
    """A torchvision or torchaudio built for CUDA cannot be imported beside a CPU-only torch, nor beside another CUDA."""
    found = []
    for name in ("torchvision", "torchaudio"):
        error = facts.import_errors.get(name)
        if not error:
            continue
        torch = facts.versions.get("torch", "?")
        build = "CPU-only" if facts.cuda_of_torch is None else f"CUDA {facts.cuda_of_torch}"
        words = f"cannot be imported beside the {build} torch {torch}, so they are of different builds ({error})"
        public = torch.partition("+")[0]
        vision = f"'torchvision=={PAIRS.get(minor(torch) or '', '0.29')}.*'"
        pair = f"'torch=={public}' {vision} 'torchaudio=={TORCHAUDIO}.*'"
        found.append(Finding(name, "fail", words, f"pip uninstall -y torch torchvision torchaudio && pip install {pair}"))
    return found


def check_lightning(facts: Installation) -> list[Finding]:
    version = facts.versions.get("lightning")
    if version is None:
        return []
    fix = f"pip install '{requirement('lightning')}'"
    if version in MALICIOUS_LIGHTNING:
        words = f"{version} is a malicious release: treat this machine's credentials as stolen and change them"
        return [Finding("lightning", "fail", words, fix)]
    parts = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if not (2, 6, 6) <= parts < (2, 7):
        return [Finding("lightning", "fail", f"{version}; releases before 2.6.4 run code from a checkpoint", fix)]
    return [Finding("lightning", "ok", version)]


def check_gpu(facts: Installation) -> list[Finding]:
    if facts.driver is None:
        return [Finding("gpu", "ok", "none; the CPU is used")]
    cuda_fix = f"pip install --force-reinstall '{requirement('torch')}'"
    if facts.cuda_of_torch is None:
        words = f"driver {facts.driver} is there, but this torch is built for the CPU alone"
        return [
            Finding("gpu", "fail", words, f"pip uninstall -y torch torchvision torchaudio && pip install '{requirement('torch')}'")
        ]
    if not facts.gpu_seen:
        words = f"driver {facts.driver} is there, but torch (CUDA {facts.cuda_of_torch}) cannot use it: the driver is too old for that CUDA"
        return [Finding("gpu", "fail", words, "update the NVIDIA driver, or install an older torch: pip install 'torch==2.11.*'")]
    architecture = facts.gpu_architecture or ""
    if facts.architectures and not any(supports(built, architecture) for built in facts.architectures):
        words = f"{architecture} is not among those that this torch is built for ({', '.join(facts.architectures)})"
        return [Finding("gpu", "fail", words, f"{cuda_fix}, or train with trainer=cpu")]
    return [Finding("gpu", "ok", f"{architecture}, driver {facts.driver}, CUDA {facts.cuda_of_torch}")]


def supports(built: str, architecture: str) -> bool:
    """Binaries run on later minor versions of the same major one; PTX (compute_) on anything newer."""
    kind, _, number = built.partition("_")
    wanted = architecture.partition("_")[2]
    digits, goal = "".join(filter(str.isdigit, number)), "".join(filter(str.isdigit, wanted))
    if not digits or not goal:
        return False
    if kind == "compute":
        return int(goal) >= int(digits)
    return goal[:-1] == digits[:-1] and int(goal) >= int(digits)


def check_codecs(facts: Installation) -> list[Finding]:
    images = [name for key, name in CODECS.items() if key not in facts.codecs]
    sounds = [name for name in AUDIO_FORMATS if name not in facts.audio_formats]
    return [
        codec_finding("image codecs", CODECS.values(), images, "Pillow", "pillow"),
        codec_finding("audio codecs", AUDIO_FORMATS, sounds, "libsndfile", "soundfile"),
    ]


def codec_finding(check: str, wanted: Iterable[str], missing: list[str], library: str, distribution: str) -> Finding:
    if not missing:
        return Finding(check, "ok", ", ".join(wanted))
    fix = f"pip install --force-reinstall --only-binary=:all: '{requirement(distribution)}'"
    return Finding(check, "fail", f"this {library} is built without {', '.join(missing)}", fix)


def check_place(facts: Installation) -> list[Finding]:
    found = []
    if facts.free_gib < LEAST_FREE_GIB:
        words = f"{facts.free_gib:.1f} GiB free here, less than {LEAST_FREE_GIB:g}"
        found.append(Finding("disk", "warn", words, "free some, or set HEMONY_CACHE and output= to another disk"))
    if not facts.configs_found:
        fix = "pip install --force-reinstall --no-deps hemony"
        found.append(Finding("configs", "fail", "the YAML files of configs/ are not where they should be", fix))
    return found or [Finding("place", "ok", f"{facts.free_gib:.0f} GiB free, configs found")]


def minor(version: str | None) -> str | None:
    """`2.14.1+cpu` → `2.14`."""
    return None if version is None else ".".join(version.partition("+")[0].split(".")[:2])


PROBE = """
import json, torch
facts = {"cuda_of_torch": torch.version.cuda, "gpu_seen": torch.cuda.is_available()}
if facts["gpu_seen"]:
    facts["gpu_architecture"] = "sm_%d%d" % torch.cuda.get_device_capability()
    facts["architectures"] = torch.cuda.get_arch_list()
print(json.dumps(facts))
"""


def collect() -> Installation:
    """The facts of this machine. What might crash is imported in a process of its own."""
    facts = Installation(python=sys.version_info[:2])
    for name in (*REQUIRED, *REQUIRED_SMALL):
        try:
            facts.versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for name, module in IMPORTS.items():
        if name in facts.versions:
            error = import_error(module)
            if error:
                facts.import_errors[name] = error
    finished = subprocess.run([sys.executable, "-W", "ignore", "-c", PROBE], capture_output=True, text=True)
    if finished.returncode == 0:
        probed = json.loads(finished.stdout.splitlines()[-1])
        facts.cuda_of_torch, facts.gpu_seen = probed["cuda_of_torch"], probed["gpu_seen"]
        facts.gpu_architecture, facts.architectures = probed.get("gpu_architecture"), tuple(probed.get("architectures", ()))
    facts.driver = nvidia_driver()
    facts.codecs, facts.audio_formats = pillow_codecs(), libsndfile_formats()
    facts.free_gib = shutil.disk_usage(os.getcwd()).free / 2**30
    here = Path(__file__).resolve().parent
    facts.configs_found = any((folder / "train.yaml").is_file() for folder in (here.parent.parent / "configs", here / "configs"))
    return facts


def import_error(module: str) -> str:
    """The last line of what importing a module in a fresh process printed, or "" when it went well."""
    finished = subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {module}"], capture_output=True, text=True)
    if finished.returncode == 0:
        return ""
    lines = finished.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"the process ended with code {finished.returncode}"


def nvidia_driver() -> str | None:
    """The driver's version where there is an NVIDIA GPU."""
    if platform.system() == "Linux" and not Path("/proc/driver/nvidia/version").exists():
        return None
    program = shutil.which("nvidia-smi")
    if program is None:
        return "of unknown version" if platform.system() == "Linux" else None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    finished = subprocess.run(query, capture_output=True, text=True)
    return finished.stdout.splitlines()[0].strip() if finished.returncode == 0 and finished.stdout else None


def pillow_codecs() -> tuple[str, ...]:
    try:
        from PIL import features
    except ImportError:
        return ()
    return tuple(name for name in CODECS if features.check(name))


def libsndfile_formats() -> tuple[str, ...]:
    try:
        import soundfile
    except (ImportError, OSError):  # the package, or the library that it loads
        return ()
    return tuple(soundfile.available_formats())

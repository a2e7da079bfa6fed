"""A killed run, resumed, ends bit for bit where the uninterrupted run ends."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from hemony import durable
from tests.conftest import hemony

COMMON = ["trainer.save_every_s=0", "trainer.max_epochs=4", "trainer.batch_size=8", "trainer.ema_decay=0.9", "trainer.validate_every_epochs=1", "data.augment.flip=random"]  # fmt: skip
CASES = {
    "augmentation and accumulation": [*COMMON, "model=fast_cnn", "model.width=0.125", "trainer.accumulate_batches=2", "data.augment.mixup_alpha=0.2", "data.augment.cutout_px=4", "data.augment.rotate_degrees=10", "data.augment.small_px=12"],
    "dropout": [*COMMON, "model=torchvision", "model.name=mobilenet_v3_small", "optimizer.name=adamw"],
    "sgd": [*COMMON, "model=lenet5", "optimizer.name=sgd", "optimizer.learning_rate=0.01", "trainer.gradient_clip_norm=1", "trainer.deterministic=true"],
}  # fmt: skip


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hemony", *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def step_of(run: Path) -> int:
    """The newest saved step."""
    return max((int(path.name.split("-")[1]) for path in durable.states(run / "run")), default=-1)


def stop_at(process: subprocess.Popen[str], run: Path, step: int, number: int) -> None:
    """Send a signal once a step has been saved."""
    waited_until = time.monotonic() + 120
    while step_of(run) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < waited_until
        time.sleep(0.002)
    process.send_signal(number)


def final(run: Path) -> tuple[dict[str, torch.Tensor], Any, Any]:
    """Weights of the bundle, the whole last training state, and the curves without their times."""
    weights = safetensors.torch.load_file(run / "model.safetensors")
    history = [{key: value for key, value in row.items() if key != "elapsed_s"} for row in durable.read_json(run / "history.json")]
    state = durable.load_state(run / "run")
    assert state is not None
    return weights, {key: state[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")}, history


def equal(a: Any, b: Any) -> bool:
    """Bit for bit, through dicts and lists."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


@pytest.mark.parametrize("name", CASES)
def test_killed_at_a_random_step_and_resumed(name: str, tmp_path: Path, shapes_folder: Callable[..., Path]) -> None:
    root = shapes_folder(each=16)
    arguments = ["train", "data=image_folder", f"data.root={root}", *CASES[name]]
    whole = hemony(*arguments, f"output={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    draw = random.Random(name)
    run = tmp_path / "killed"
    process = start(*arguments, f"output={run}")
    steps = step_of(tmp_path / "whole")
    for kill in sorted(draw.sample(range(1, steps - 1), 2)):
        stop_at(process, run, kill, signal.SIGKILL)
        process.communicate()
        process = start("train", f"resume={run}")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    expected, found = final(tmp_path / "whole"), final(run)
    for part in range(3):
        assert equal(expected[part], found[part])


def test_validation_in_the_middle_of_an_accumulation_saves_no_half_gradient(
    tmp_path: Path, shapes_folder: Callable[..., Path]
) -> None:
    """5 batches an epoch, 2 to a step: every other validation falls between the halves of a step."""
    arguments = ["train", "data=image_folder", f"data.root={shapes_folder(each=20)}", *CASES["augmentation and accumulation"]]
    arguments += ["data.validation_share=0.2", "trainer.batch_size=7"]
    assert hemony(*arguments, f"output={tmp_path / 'whole'}").returncode == 0
    for kill in (1, 2, 3, 5):
        run = tmp_path / f"killed {kill}"
        process = start(*arguments, f"output={run}")
        stop_at(process, run, kill, signal.SIGKILL)
        process.communicate()
        assert len({path.name.split("-")[1] for path in durable.states(run / "run")}) == len(durable.states(run / "run"))
        assert hemony("train", f"resume={run}").returncode == 0
        for expected, found in zip(final(tmp_path / "whole"), final(run), strict=True):
            assert equal(expected, found)


def test_a_run_killed_after_its_last_step_or_after_stopping_early_only_needs_its_bundle(
    tmp_path: Path, shapes_folder: Callable[..., Path]
) -> None:
    arguments = ["train", "data=image_folder", f"data.root={shapes_folder(each=16)}", *CASES["sgd"], "trainer.save_every_s=600"]
    for name, more in (
        ("whole", []),
        ("early", ["trainer.early_stopping_epochs=1", "optimizer.learning_rate=3", "trainer.max_epochs=50"]),
    ):
        run = tmp_path / name
        ended = hemony(*arguments, *more, f"output={run}")
        assert ended.returncode == 0, ended.stderr
        before = final(run)
        assert len(before[2]) == 4 if name == "whole" else 1 < len(before[2]) < 50
        (run / "bundle.json").unlink()
        (run / "model.safetensors").unlink()
        again = hemony("train", f"resume={run}")
        assert again.returncode == 0, again.stderr
        assert equal(before, final(run))


def test_sigterm_saves_and_exits_143(tmp_path: Path, shapes_folder: Callable[..., Path]) -> None:
    run = tmp_path / "run"
    arguments = [*CASES["sgd"], "trainer.save_every_s=0.5", "trainer.max_epochs=400"]
    process = start("train", "data=image_folder", f"data.root={shapes_folder(each=16)}", *arguments, f"output={run}")
    stop_at(process, run, 1, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "stopped by SIGTERM: the state is saved" in errors
    assert "Traceback" not in errors
    assert durable.load_state(run / "run") is not None
    refused = hemony("evaluate", run)
    assert refused.returncode == 3
    assert f"hemony train resume={run}" in refused.stderr


def test_sigterm_ends_a_sweep(tmp_path: Path, shapes_folder: Callable[..., Path]) -> None:
    arguments = [*CASES["sgd"], "trainer.max_epochs=400", "seed=1,2"]
    process = start(
        "train", "-m", "data=image_folder", f"data.root={shapes_folder(each=16)}", *arguments, f"output={tmp_path / 'run'}"
    )
    stop_at(process, tmp_path / "run" / "0", 1, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert not (tmp_path / "run" / "1").exists()


def test_a_run_whose_data_changed_is_not_resumed(tmp_path: Path, shapes_folder: Callable[..., Path]) -> None:
    root, run = shapes_folder(each=16), tmp_path / "run"
    process = start("train", "data=image_folder", f"data.root={root}", *CASES["sgd"], "trainer.max_epochs=400", f"output={run}")
    stop_at(process, run, 1, signal.SIGKILL)
    process.communicate()
    moved = next((root / "disc").iterdir())
    for change in (lambda: moved.rename(root / "ring" / "moved.png"), (root / "ring" / "moved.png").unlink):
        change()
        refused = hemony("train", f"resume={run}")
        assert refused.returncode == 3
        assert "are not those with which the run began" in refused.stderr


def test_resume_needs_a_run_and_takes_nothing_else(tmp_path: Path) -> None:
    assert "there is no run in it" in hemony("train", f"resume={tmp_path}").stderr
    refused = hemony("train", f"resume={tmp_path}", "seed=2")
    assert refused.returncode == 2
    assert "takes no other option (given: seed=2)" in refused.stderr


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path: Path, shapes_folder: Callable[..., Path]) -> None:
    run = tmp_path / "run"
    arguments = [
        "model=torchvision",
        "model.name=vgg11",
        "optimizer.name=sgd",
        "optimizer.learning_rate=1e30",
        "optimizer.warmup_share=0",
    ]
    ended = hemony(
        "train", "data=image_folder", f"data.root={shapes_folder(each=8, size=32)}", *COMMON, *arguments, f"output={run}"
    )
    assert ended.returncode == 1, ended.stderr
    assert "training stopped before the update" in ended.stderr
    assert "at step" in ended.stderr
    assert not (run / "bundle.json").exists()


def test_early_stopping_ends_the_training_and_keeps_its_best_epoch(tmp_path: Path, shapes_folder: Callable[..., Path]) -> None:
    run = tmp_path / "run"
    arguments = ["model=fast_cnn", "model.width=0.125", "trainer.early_stopping_epochs=3", "trainer.validate_every_epochs=1"]
    arguments += ["trainer.max_epochs=60", "trainer.ema_decay=0", "optimizer.schedule=constant", "optimizer.learning_rate=0.3"]
    ended = hemony("train", "data=image_folder", f"data.root={shapes_folder(each=20)}", *arguments, f"output={run}")
    assert ended.returncode == 0, ended.stderr
    history = durable.read_json(run / "history.json")
    best = min(history, key=lambda row: row["val_loss"])
    assert f"the weights of epoch {best['epoch']} are kept" in ended.stderr
    assert len(history) == min(best["epoch"] + 3, 60)
    assert len(history) < 60

"""`hemony train`: from a config to a bundle.

hemony train experiment=cifar10                 a recipe; any key can be overridden: model.width=2 trainer.max_epochs=5
hemony train data=image_folder data.root=DIR    your own class folders
hemony train data=audio_folder data.root=DIR    the same with recordings
hemony train resume=DIR                         go on with a run that was stopped
hemony train -m experiment=digits seed=0,1,2    a sweep; --cfg job shows what would be done, --info what there is to choose

Without data= it trains on the embedded digits. output=DIR names the bundle's folder; trainer.max_epochs=N, model=NAME and every other key
can be set: `hemony train --cfg job` lists them, hemony/config.py explains them. --format table|json|jsonl|csv
"""

import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hemony import compose, durable, output
from hemony.config import BellFolderConfig, BellMelodiesConfig, MelodyConfig, TrainConfig
from hemony.errors import InputError, UsageError
from hemony.plain import plain

RUN = "run"  # the folder beside the bundle: resumable state, logs, report
CONFIG = "config.json"
OVERRIDES = "overrides.json"


def main(arguments: list[str]) -> int:
    """The verb: arguments as on the command line, results on stdout."""
    arguments, form = output.take_format(arguments, "table", ("table", "json", "jsonl", "csv"))
    rows: list[dict[str, Any]] = []

    def trained(job: compose.Job) -> None:
        config = job.config
        assert isinstance(config, TrainConfig)
        if job.number is not None:
            config = replace(config, output=str(Path(config.output or ".") / str(job.number)))
        rows.append(train(config, job.overrides))

    check_resume_alone(arguments)
    try:
        compose.run_hydra("train", arguments, trained)
    finally:  # what the other jobs of a sweep have reached is not lost with the one that failed
        if rows:
            output.print_rows(rows, form)
    return 0


def check_resume_alone(arguments: list[str]) -> None:
    """A resumed run goes on exactly as it was configured: other overrides would be silently ignored, so they are refused."""
    overrides = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    if any(override.startswith("resume=") for override in overrides) and len(overrides) > 1:
        others = ", ".join(override for override in overrides if not override.startswith("resume="))
        raise UsageError(f"resume= goes on with a run as it was configured and takes no other option (given: {others})")


def train(config: TrainConfig, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train, evaluate on the test part, and write bundle, metrics and report; the metrics are returned.

    `overrides` are those that made the config, for the model card. Raises UsageError before anything is read when the output folder
    is taken, InputError for unusable data.
    """
    if config.resume:
        folder = Path(config.resume)
        return run(read_config(folder), folder)
    folder = new_folder(config, overrides)
    try:
        return run(config, folder)
    except (UsageError, InputError):
        withdraw(folder)
        raise


def run(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """One job, with signals turned into an orderly end."""
    from hemony.callbacks import StopRequest

    with StopRequest(folder / RUN) as stop:
        if config.model.kind == MelodyConfig.kind or config.data.kind in (BellMelodiesConfig.kind, BellFolderConfig.kind):
            from hemony import fit_melody

            return fit_melody.run(config, folder, stop)
        from hemony import fit

        return fit.run(config, folder, stop)


def new_folder(config: TrainConfig, overrides: Sequence[str]) -> Path:
    """The folder of a new run, with its config in it. A folder that holds a run or a bundle is not written over."""
    folder = Path(config.output or f"checkpoints/{config.data.kind}")
    for taken in (folder / "bundle.json", folder / RUN / CONFIG):
        if taken.exists():
            raise UsageError(
                f"output={folder} already holds {'a bundle' if taken.name == 'bundle.json' else 'a run'}: name another folder, remove "
                f"it, or go on with it by resume={folder}"
            )
    try:
        (folder / RUN).mkdir(parents=True, exist_ok=True)
        if any(entry.name != OVERRIDES for entry in (folder / RUN).iterdir()):
            raise UsageError(f"output={folder}: {folder / RUN} holds other files, and a run writes there; name another folder")
        durable.write_json(folder / RUN / OVERRIDES, list(overrides))
        durable.write_json(folder / RUN / CONFIG, plain(config))
    except OSError as error:
        withdraw(folder)
        raise UsageError(f"output={folder} cannot be written: {error.strerror}") from None
    return folder


def withdraw(folder: Path) -> None:
    """Remove the folder of a run that could not begin, so that the next try may have its name; one with a state stays."""
    if durable.states(folder / RUN) or (folder / "bundle.json").exists():
        return
    shutil.rmtree(folder / RUN, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # only if nothing of the user's is in it


def read_config(folder: Path) -> TrainConfig:
    """The config that a run was started with."""
    path = folder / RUN / CONFIG
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"resume={folder}: there is no run in it ({path} is missing); name the folder that output= named"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"resume={folder}: {path} cannot be read ({error})") from None
    return compose.typed(TrainConfig, content)

"""`hemony evaluate`: how good is a bundle, on which data, and is it better than another one?

hemony evaluate BUNDLE                           on the test part of the data that it records
hemony evaluate BUNDLE data=image_folder data.root=DIR
hemony evaluate A B data=cifar10                 two bundles on the same examples, with McNemar's exact test
hemony evaluate BUNDLE data=bell_melodies data.condition=clean data.tunes=known data.repeats=1     what hears melodies on bells
hemony evaluate BUNDLE data=bell_folder data.root=DIR              the same on recordings X.wav with their truths X.json

--format table|json|jsonl|csv    report=FILE.html    batch_size=N    accelerator=auto|cpu|gpu
"""

import tempfile
from pathlib import Path
from typing import Any

from hemony import compose, output
from hemony.config import BellFolderConfig, BellMelodiesConfig, EvaluateConfig
from hemony.errors import InputError, UsageError
from hemony.facts import read_facts

RECORDED = ("root", "classes", "max_unreadable_share", "memory_budget_gib")  # the split is recorded as content digests


def main(arguments: list[str]) -> int:
    """The verb: bundles and overrides as on the command line, results on stdout."""
    arguments, form = output.take_format(arguments, "table", ("table", "json", "jsonl", "csv"))
    folders = [Path(argument).expanduser() for argument in arguments if is_bundle(argument)]
    overrides = [argument for argument in arguments if not is_bundle(argument)]
    asks_hydra = any(argument.startswith("-") and argument not in ("-m", "--multirun") for argument in overrides)
    if not folders and not asks_hydra:
        raise UsageError("name a bundle: hemony evaluate BUNDLE [BUNDLE] [data=...]")
    if len(folders) > 2:
        raise UsageError(f"{len(folders)} bundles given; one is judged, two are compared")
    recorded = recorded_data(folders[0], overrides) if folders else []
    results: list[dict[str, Any]] = []

    def judged(job: compose.Job) -> None:
        assert isinstance(job.config, EvaluateConfig)
        if isinstance(job.config.data, BellMelodiesConfig | BellFolderConfig):
            from hemony import judge_melodies

            results.extend(judge_melodies.run(job.config, folders))
            return
        from hemony import judge

        results.extend(judge.run(job.config, folders))

    with tempfile.TemporaryDirectory() as scratch:  # Hydra records a sweep there
        compose.run_hydra("evaluate", [*recorded, *overrides], judged, own=[f"hydra.sweep.dir={scratch}"])
    if results:
        output.print_rows(results, form)
    return 0


def is_bundle(argument: str) -> bool:
    """A path, in contrast to an override (which has a =, unless a folder of that name is there) or an option."""
    if argument.startswith("-"):
        return False
    return "=" not in argument or Path(argument).expanduser().is_dir()


def recorded_data(folder: Path, overrides: list[str]) -> list[str]:
    """The data that a bundle records, as overrides, for those that are not given: all of it, or nothing if `data=` is given."""
    if any(override.startswith("data=") for override in overrides):
        return []
    data = read_facts(folder)["data"]
    given = {override.lstrip("+").partition("=")[0] for override in overrides}
    root = data.get("root")
    if root and "data.root" not in given and not Path(root).exists():
        raise InputError(f"{folder} was made from {root}, which is not there; say where that data is now: data.root=FOLDER")
    values = {key: data[key] for key in RECORDED if data.get(key) is not None and f"data.{key}" not in given}
    return [f"data={data['kind']}", *(f"data.{key}={value}" for key, value in values.items())]

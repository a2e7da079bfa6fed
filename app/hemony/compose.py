"""Hydra at the front door: the command line is checked and made safe before Hydra sees it, and comes out as dataclasses.

Three things that Hydra leaves open are closed here: a misspelt key or value gets a did-you-mean, a key added with `+` cannot
slip past the schema, and a path may contain any character.
"""

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from hemony.config import GROUPS, EvaluateConfig, TrainConfig, TrainerConfig
from hemony.errors import SHOWN, HemonyError, Terminated, UsageError, did_you_mean

T = TypeVar("T", TrainConfig, EvaluateConfig)
ROOTS: dict[str, type] = {"train": TrainConfig, "evaluate": EvaluateConfig}
PATH_KEYS = re.compile(r"^\+{0,2}((?:[\w.]+\.)?root|output|resume|report)=(.*)$", re.DOTALL)


def configs_folder() -> Path:
    """The folder of YAML files: in the checkout first, then in the installed package."""
    here = Path(__file__).resolve().parent
    for folder in (here.parent.parent / "configs", here / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UsageError(f"no configs/ beside {here}; reinstall hemony")


def quote_path(argument: str) -> str:
    """`data.root=~/a,b (1)` → `data.root='/home/me/a,b (1)'`: expanded and quoted, so that Hydra's grammar takes it whole."""
    match = PATH_KEYS.match(argument)
    if not match or match[2] in ("", "null"):
        return argument
    path = match[2]
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        path = path[1:-1]
    # Hydra unescapes a quote after a backslash; OmegaConf reads ${...} as an interpolation unless it is escaped.
    path = os.path.expanduser(path)
    if match[1].endswith("root"):
        path = os.path.abspath(path)  # it is recorded, and found again from another folder
    path = path.replace("${", "\\${").replace("'", "\\'")
    trailing = len(path) - len(path.rstrip("\\"))
    return f"{argument[: match.start(2)]}'{path}{chr(92) * trailing}'"


def hint(wrong: str, choices: Iterable[str]) -> str:
    """What may have been meant by a word of a config: by another name, nearly, or in another folder."""
    choices = sorted(set(choices))
    if wrong in SYNONYMS and SYNONYMS[wrong].partition(" ")[0] in choices:
        return f"; did you mean '{SYNONYMS[wrong]}'?"
    # a key may be right but for its folder: width for model.width
    elsewhere = [choice for choice in choices if choice.rpartition(".")[2] == wrong.rpartition(".")[2]]
    otherwise = f"; did you mean '{elsewhere[0]}'?" if elsewhere else "" if len(choices) > SHOWN else None
    return did_you_mean(wrong, choices, otherwise)


SYNONYMS = {  # what people try first
    "epochs": "trainer.max_epochs", "max_epoch": "trainer.max_epochs", "lr": "optimizer.learning_rate", "batch": "trainer.batch_size",
    "device": "trainer.accelerator", "size": "data.size_px", "image_size": "data.size_px", "imgsz": "data.size_px", "optimizer": "optimizer.name",
    "resnet": "torchvision model.name=resnet18", "resnet18": "torchvision model.name=resnet18", "resnet50": "torchvision model.name=resnet50",
}  # fmt: skip


def owners(name: str) -> list[str]:
    """The options that have a key which the chosen one of its group lacks: `model=fast_cnn` for `model.width`."""
    group, _, key = name.partition(".")
    return [f"{group}={kind}" for kind, schema in GROUPS.get(group, {}).items() if key and hasattr(schema(), key)]


def group_options(group: str) -> list[str]:
    """The YAML files of a config group, by name."""
    return sorted(Path(path).stem for path in glob.glob(str(configs_folder() / group / "*.yaml")))


def groups() -> list[str]:
    return sorted(folder.name for folder in configs_folder().iterdir() if folder.is_dir())


def dotted_keys(config: Any, prefix: str = "") -> list[str]:
    """Every key of nested plain dicts, dotted."""
    keys = []
    for key, value in config.items():
        keys.append(prefix + key)
        if isinstance(value, dict):
            keys += dotted_keys(value, f"{prefix}{key}.")
    return keys


def typed(root: type[T], composed: dict[str, Any]) -> T:
    """Plain nested dicts as dataclasses.

    `kind` in each group says which dataclass it has to fit. Raises UsageError with the full key, the value and the remedy.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    members = {}
    for group, kinds in GROUPS.items():
        if group in composed:
            kind = (composed[group] or {}).get("kind", "?")
            if kind not in kinds:
                raise UsageError(f"{group}.kind={kind} is unknown{hint(str(kind), kinds)}")
            members[group] = kinds[kind]()
    schema = OmegaConf.structured(root(**members))
    try:
        merged = OmegaConf.to_object(OmegaConf.merge(schema, literal(composed)))
    except OmegaConfBaseException as error:
        raise explain(error, dotted_keys(OmegaConf.to_container(schema))) from None
    assert isinstance(merged, root)
    return merged


def literal(value: Any) -> Any:
    """The same nested dicts with `${` escaped: what was resolved once is not an interpolation (a path may contain it)."""
    if isinstance(value, dict):
        return {key: literal(entry) for key, entry in value.items()}
    return value.replace("${", "\\${") if isinstance(value, str) else value


def explain(error: Any, known: Iterable[str] = ()) -> UsageError:
    """One line for what OmegaConf found; `known` keys serve the did-you-mean."""
    key = str(getattr(error, "full_key", "") or "")
    message = str(getattr(error, "msg", "") or error).splitlines()[0]
    if "not in" in message:
        return UsageError(f"unknown key '{key}'{hint(key, known)}")
    choices = re.search(r"Invalid value '(.*)', expected one of \[(.*)\]", message)
    if choices:
        options = choices[2].split(", ")
        told = hint(choices[1], options)
        listed = "" if "expected" in told else f" (of {', '.join(options)})"
        return UsageError(f"{key}={choices[1]} is not a value of {key}{told}{listed}")
    return UsageError(f"{key}: {message[0].lower() + message[1:]}")


def register_schemas() -> None:
    """Give Hydra the dataclasses as the ground that the YAML files of `configs/` stand on (their `NAME_schema` defaults)."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, root in ROOTS.items():
        store.store(name=f"{name}_schema", node=root)
    for group, kinds in GROUPS.items():
        for kind, schema in kinds.items():
            store.store(group=group, name=f"{kind}_schema", node=schema)
    store.store(group="trainer", name="trainer_schema", node=TrainerConfig)


def compose(root: str, overrides: list[str]) -> dict[str, Any]:
    """What Hydra composes of `configs/ROOT.yaml` and the overrides, as plain dicts.

    Raises UsageError for what Hydra or OmegaConf refuse.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(configs_folder()), version_base="1.3"):
            composed = OmegaConf.to_container(hydra_compose(root, overrides), resolve=True)
    except OmegaConfBaseException as error:
        raise explain(error) from None
    except HydraException as error:
        if isinstance(error.__cause__, OmegaConfBaseException):
            raise explain(error.__cause__) from None
        ambiguous = re.search(r"Ambiguous value for argument '(.*?)'", str(error))
        if ambiguous:
            raise UsageError(f"{ambiguous[1]} has several values: add -m to sweep over them") from None
        raise UsageError(" ".join(str(error).split())) from None
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def check(root: str, overrides: list[str]) -> TrainConfig | EvaluateConfig:
    """The dataclass for one job's overrides, checked whole; nothing has been read or written yet."""
    parsed = parse(overrides)
    selections, settings = [], []
    for override in parsed:
        name = override.key_or_group
        if name in groups():
            option = override.value()
            if option is not None and str(option) not in group_options(name):
                raise UsageError(f"{name}={option} is unknown{hint(str(option), group_options(name))}")
            selections.append(str(override.input_line))
        elif not name.startswith("hydra"):
            settings.append(name)
    known = dotted_keys(compose(root, selections))
    for name in settings:
        if name not in known:
            having = owners(name)
            told = f"; it is a key of {' or '.join(having)}: add that" if having else hint(name, known + groups())
            raise UsageError(f"unknown key '{name}'{told}")
        if any(key.startswith(f"{name}.") for key in known):
            inner = [key for key in known if key.startswith(f"{name}.")]
            raise UsageError(f"{name} takes no value of its own; its keys are {', '.join(inner)}")
    return typed(ROOTS[root], compose(root, overrides))


def parse(overrides: list[str]) -> list[Any]:
    """Hydra's override objects."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    for override in overrides:
        if "=" not in override and not override.startswith("~"):
            raise UsageError(f"'{override}' is none of KEY=VALUE")
    try:
        return list(OverridesParser.create().parse_overrides(overrides))
    except HydraException as error:
        line = " ".join(str(error).split())
        raise UsageError(f"{line} (quote a value that contains any of , = ( ) {{ }} [ ] or a space)") from None


def jobs_of(overrides: list[str], multirun: bool) -> list[list[str]]:
    """The overrides of every job of a sweep; outside a multirun there is one."""
    if not multirun:
        return [list(overrides)]
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.errors import HydraException

    try:
        return [list(job) for job in BasicSweeper.split_arguments(parse(overrides), None)[0]]
    except HydraException as error:
        raise UsageError(" ".join(str(error).split())) from None


def refuse_option(message: str) -> NoReturn:
    raise UsageError(
        f"{message}; options are KEY=VALUE (accelerator=cpu, batch_size=N), --format, and -m, --cfg, --info as in Hydra"
    )


class PastHydra(BaseException):
    """Carries an error out of Hydra, which would print a line of its own and, after a signal, go on with a sweep's next job."""

    def __init__(self, error: HemonyError | Terminated) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Job:
    """One job of a command line, checked."""

    config: Any  # TrainConfig or EvaluateConfig
    overrides: list[str]  # that it was made with, as Hydra writes them
    number: int | None  # None outside a multirun


def run_hydra(root: str, arguments: list[str], job: Callable[[Job], None], own: Sequence[str] = ()) -> None:
    """Hand checked arguments to Hydra, and our `own` beside the user's; `job` is called once a job.

    Hydra keeps what it is good at: composing, sweeps (`-m`), `--cfg`, `--info`, shell completion.
    """
    import sys

    import hydra
    from hydra._internal.utils import get_args_parser
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf

    register_schemas()
    arguments = [quote_path(argument) for argument in arguments]
    parser = get_args_parser()
    parser.error = refuse_option  # type: ignore[method-assign]
    options = parser.parse_args(arguments)
    if not (options.shell_completion or options.hydra_help):
        for overrides in jobs_of(options.overrides, options.multirun):
            check(root, overrides)

    def task(composed: DictConfig) -> None:
        container = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(container, dict)
        config = typed(ROOTS[root], {str(key): value for key, value in container.items()})
        state = HydraConfig.get()
        number = state.job.num if state.mode == RunMode.MULTIRUN else None
        try:
            job(Job(config, list(state.overrides.task), number))
        except Terminated as stopped:
            raise PastHydra(stopped) from None
        except HemonyError as error:
            if number is None:
                raise PastHydra(error) from None
            raise

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come to us instead of being printed by Hydra
    kept, sys.argv = sys.argv, [sys.argv[0], *arguments, *own]  # Hydra, and Lightning's relaunch under DDP, read sys.argv
    try:
        hydra.main(version_base="1.3", config_path=str(configs_folder()), config_name=root)(task)()
    except HydraException as error:
        raise UsageError(" ".join(str(error).split())) from None
    except PastHydra as passed:
        raise passed.error from None
    finally:
        sys.argv = kept

"""The command line: what is wrong fails at once with a hint, what is odd but right arrives unchanged."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from hemony import compose, config
from hemony.config import EvaluateConfig, Fit, TrainConfig
from hemony.errors import UsageError
from hemony.plain import plain


def jobs(*arguments: str) -> list[TrainConfig]:
    found: list[Any] = []
    compose.run_hydra("train", list(arguments), lambda job: found.append(job.config))
    return found


def test_defaults_are_the_embedded_digits() -> None:
    (job,) = jobs()
    assert job.data.kind == "digits"
    assert job.output is not None
    assert job.output.startswith("checkpoints/digits-")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("trainer.max_epochz=3", "unknown key 'trainer.max_epochz'; did you mean 'trainer.max_epochs'?"),
        ("+trainer.max_epochz=3", "did you mean 'trainer.max_epochs'?"),
        ("++model.widht=3", "did you mean 'model.width'?"),
        ("width=3", "did you mean 'model.width'?"),
        ("+new.key=1", "unknown key 'new.key'"),
        ("model.connections=dense", "unknown key 'model.connections'; it is a key of model=lenet5: add that"),
        ("epochs=3", "did you mean 'trainer.max_epochs'?"),
        ("model=resnet18", "did you mean 'torchvision model.name=resnet18'?"),
        ("optimizer=adamw", "optimizer takes no value of its own; its keys are optimizer.name"),
        ("nothing", "'nothing' is none of KEY=VALUE"),
        ("seed=0,1", "seed=0,1 has several values: add -m"),
        ("dta=digits", "did you mean 'data'?"),
        ("data=digit", "data=digit is unknown; did you mean 'digits'?"),
        ("model=fast_cn", "did you mean 'fast_cnn'?"),
        ("experiment=cifar", "did you mean 'cifar10'?"),
        ("trainer.precision=bff16", "did you mean 'bf16'?"),
        ("data.fit=sideways", "expected one of: crop, pad, stretch"),
        ("trainer.max_epochs=many", "could not be converted to Integer"),
        ("trainer.max_epochs=1.5", "could not be converted to Integer"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0 is out of range: it must be at least 1"),
        ("data.test_share=0.95", "below 0.9"),
        ("optimizer.learning_rate=0", "above 0"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate=nan is not a finite number"),
        ("optimizer.weight_decay=inf", "not a finite number"),
        ("data.folds=1", "folds must be 0 (off) or at least 2"),
        ("seed=null", "not Optional"),
        ("model.kind=other", "model.kind=other is unknown"),
        ("trainer.max_epochs=[", "quote a value"),
    ],
)
def test_mistakes_fail_with_one_line_and_a_hint(argument: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        jobs("model=fast_cnn", argument)
    assert expected.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


ODD_PATHS = [
    "/a=b",
    "/a,b",
    "/a#b",
    "/a(1)",
    "/a b ",
    "/ä/ø/日本",
    "/it's",
    '/"q"',
    "/${x}",
    "/{a}[b]",
    "/a:b;c&d*e",
    "/back\\slash\\",
    "/a~b",
    "/100%",
]


@pytest.mark.parametrize("path", ODD_PATHS)
@pytest.mark.parametrize("key", ["data.root", "output"])
def test_paths_arrive_as_they_were_typed(path: str, key: str) -> None:
    (job,) = jobs("data=image_folder", f"{key}={path}")
    assert (job.data.root if key == "data.root" else job.output) == path


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ä b")
    (job,) = jobs("data=image_folder", "data.root=~/photos")
    assert job.data.root == "/home/ä b/photos"


@pytest.mark.parametrize("path", ODD_PATHS)
def test_resume_and_report_are_paths_too(path: str) -> None:
    (job,) = jobs(f"resume={path}")
    assert job.resume == path
    found: list[Any] = []
    compose.run_hydra("evaluate", [f"report={path}"], lambda job: found.append(job.config))
    assert isinstance(found[0], EvaluateConfig)
    assert found[0].report == path


def test_a_sweep_is_checked_whole_before_its_first_job(tmp_path: Path) -> None:
    found = jobs("-m", "seed=1,2", f"output={tmp_path}/a,b", "data=digits")
    assert [job.seed for job in found] == [1, 2]
    begun: list[Any] = []
    with pytest.raises(UsageError, match="at least 1"):
        compose.run_hydra("train", ["-m", "trainer.max_epochs=1,0"], begun.append)
    assert not begun


def test_what_is_written_down_reads_back() -> None:
    (job,) = jobs("experiment=cifar10", "data.fit=pad", "data.root=/${odd}", "optimizer.learning_rate=0.5")
    assert compose.typed(TrainConfig, plain(job)) == job
    assert job.data.fit is Fit.pad


def test_every_experiment_and_option_composes() -> None:
    for group in ("data", "model", "rule", "trainer", "experiment"):
        for option in compose.group_options(group):
            assert isinstance(jobs(f"{group}={option}")[0], TrainConfig)


def test_every_schema_has_its_yaml_and_every_yaml_its_schema() -> None:
    for group, kinds in config.GROUPS.items():
        assert compose.group_options(group) == sorted(kinds)
        for kind in kinds:
            content = yaml.safe_load((compose.configs_folder() / group / f"{kind}.yaml").read_text())
            assert content["defaults"][0] == f"{kind}_schema"


def test_ranges_hold_for_code_too() -> None:
    with pytest.raises(UsageError, match="label_smoothing"):
        config.TrainerConfig(label_smoothing=1.0)
    with pytest.raises(UsageError, match="finite"):
        config.OptimizerConfig(learning_rate=math.nan)

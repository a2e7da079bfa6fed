"""Training what hears melodies, from the command to the bundle, at a small size."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hemony import durable, judge_melodies, melody_bundle
from hemony.cli import main
from hemony.config import MelodyConfig
from hemony.datasets.bell_batches import BellBatches
from hemony.errors import UsageError
from hemony.fit_melody import begun
from tests.test_resume import equal

SMALL = "trainer.batch_size=1 model.ear_width=16 model.sense_width=16 model.sense_layers=1 data.workers=0 trainer.max_epochs=2 data.lines=4 data.recordings_every=1".split()


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of two steps, and few recordings to judge by."""
    monkeypatch.setattr(BellBatches, "epoch_batches", 2)
    monkeypatch.setattr(judge_melodies, "TUNES", {"unseen": ("westminster_quarters",)})


@pytest.mark.usefixtures("little")
def test_a_training_ends_with_a_bundle_and_a_resumed_one_with_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole"
    assert main(["train", "experiment=bells", *SMALL, "trainer.save_every_s=0", f"output={whole}", "--format", "json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics.items() <= {**durable.read_json(whole / "run" / "metrics.json"), "bundle": str(whole)}.items()
    bundle = melody_bundle.load(whole)
    assert bundle.metrics["clean_onset_f1"] == metrics["clean_onset_f1"]
    assert bundle.training["optimizer_steps"] == 4
    assert len(durable.read_json(whole / "history.json")) == 2
    assert "hemony train experiment=bells" in (whole / "README.md").read_text()

    states = sorted(durable.states(whole / "run"), key=lambda path: path.name)
    assert [int(path.name.split("-")[1]) for path in states] == [
        3,
        4,
    ]  # the earlier is gone on with elsewhere, by a step without onsets
    cut = tmp_path / "cut"
    (cut / "run").mkdir(parents=True)
    for name in ("config.json", "overrides.json"):
        (cut / "run" / name).write_bytes((whole / "run" / name).read_bytes())
    (cut / "run" / states[0].name).write_bytes(states[0].read_bytes())
    assert main(["train", f"resume={cut}"]) == 0
    ends = [durable.load_state(folder / "run") for folder in (whole, cut)]
    assert all(end is not None for end in ends)
    for key in ("state_dict", "optimizer_states", "global_step"):
        assert equal(ends[0][key], ends[1][key]), key  # type: ignore[index]

    config = MelodyConfig(ear_width=16, sense_width=16, sense_layers=1, weights=str(whole))
    learnt = bundle.network.state_dict()
    (tmp_path / "more").mkdir()
    network, steps = begun(config, tmp_path / "more")
    assert equal(network.state_dict(), learnt)
    assert steps == 4
    assert not equal(begun(config, whole / "run")[0].state_dict(), learnt)  # what is resumed needs no weights but its own
    with pytest.raises(UsageError, match="of another size"):
        begun(replace(config, ear_width=8), tmp_path / "none")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=bell_melodies", "model=spectrogram"], "data=bell_melodies model=melody"),
        (["data=digits", "model=melody"], "data=bell_melodies model=melody"),
        (["data=bell_folder", "data.root=x"], "data=bell_melodies model=melody"),
        (["experiment=bells", "trainer.early_stopping_epochs=2"], "validated at the end"),
        (["experiment=bells", "model.sense_width=30"], "a multiple of model.sense_heads"),
        (["experiment=bells", "model.weights=checkpoints/digits"], "does not hear melodies"),
        (["experiment=bells", "model.weights=checkpoints/bells", "model.ear_width=32"], "of another size"),
    ],
)
def test_what_cannot_be_trained_is_said(
    overrides: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *overrides, f"output={tmp_path / 'none'}"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("little")
def test_a_recogniser_is_not_judged_by_melodies(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Path(__file__).parents[1] / "checkpoints"
    assert main(["evaluate", str(checkpoints / "digits"), "data=bell_melodies"]) == 2
    assert "does not hear melodies" in capsys.readouterr().err

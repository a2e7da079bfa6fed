"""The recognisers that come with the code are small and whole, and their cards give their figures."""

import json
from pathlib import Path

import pytest

from hemony import bundle, melody_bundle
from hemony.errors import UsageError
from tests.conftest import DATA, hemony, needs

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
MOST_BYTES = 10_000_000


@pytest.mark.parametrize("name", ["bell_types", "cifar10", "digits", "fsdd"])
def test_a_committed_bundle_is_small_whole_and_has_a_card_of_its_figures(name: str) -> None:
    folder = CHECKPOINTS / name
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < MOST_BYTES
    loaded = bundle.load(folder)
    card = (folder / "README.md").read_text()
    assert f"{loaded.metrics['accuracy']:.4f}" in card
    assert f"hemony train experiment={name}" in card


def test_the_committed_bundle_that_hears_melodies_is_small_whole_and_has_a_card_of_its_figures() -> None:
    folder = CHECKPOINTS / "bells"
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < MOST_BYTES
    loaded = melody_bundle.load(folder)
    card = (folder / "README.md").read_text()
    for condition in ("clean", "hard", "harmonised"):
        assert f"{loaded.metrics[f'{condition}_intended_clear']:.4f}" in card
    assert "hemony train experiment=bells" in card
    with pytest.raises(UsageError, match="hemony correct"):
        bundle.load(folder)
    with pytest.raises(UsageError, match="experiment=bells"):
        melody_bundle.load(CHECKPOINTS / "fsdd")


@needs("fsdd")
def test_the_committed_recogniser_of_digits_says_what_its_card_says() -> None:
    folder = CHECKPOINTS / "fsdd"
    finished = hemony("evaluate", folder, "--format", "json")
    assert finished.returncode == 0, finished.stderr
    found, stored = json.loads(finished.stdout), bundle.load(folder).metrics
    assert found["total"] == stored["total"] == 300
    assert abs(found["correct"] - stored["correct"]) <= 1  # another processor may round a close call the other way


@needs("westerkerk")
def test_the_committed_recogniser_of_bells_knows_real_ones_that_it_never_heard() -> None:
    finished = hemony("classify", CHECKPOINTS / "bell_types", DATA / "westerkerk", "--format", "jsonl")
    assert finished.returncode == 0, finished.stderr
    labels = [json.loads(line)["label"] for line in finished.stdout.splitlines()]
    assert labels == ["carillon"] * 21

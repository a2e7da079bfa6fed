"""The recognisers that come with the code are small and whole, and their cards give their figures."""

from pathlib import Path

import pytest

from hemony import bundle

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
MOST_BYTES = 10_000_000


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_a_committed_bundle_is_small_whole_and_has_a_card_of_its_figures(name: str) -> None:
    folder = CHECKPOINTS / name
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < MOST_BYTES
    loaded = bundle.load(folder)
    card = (folder / "README.md").read_text()
    assert f"{loaded.metrics['accuracy']:.4f}" in card
    assert f"hemony train experiment={name}" in card

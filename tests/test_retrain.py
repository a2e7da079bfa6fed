"""Trained anew with k of n: the recipe of the bundle, one choice changed, and what the curve says of the claim."""

from pathlib import Path

import pytest
import torch

from hemony import bundle
from hemony.config import SpectrogramConfig
from hemony.errors import UsageError
from hemony.lens import retrain
from hemony.models.spectrogram import BANDS, SpectrogramCNN, band_edges, heard_bands
from tests.conftest import hemony, inspected

Bundle = tuple[Path, Path, dict[str, object]]


def test_a_band_that_is_not_heard_changes_nothing_and_one_that_is_does() -> None:
    torch.manual_seed(0)
    network = SpectrogramCNN(8_000, 3, SpectrogramConfig(bands="0,5")).eval()
    assert "heard" not in network.state_dict()
    mel = torch.rand(2, 40, 30)
    edges = band_edges(40)
    with torch.no_grad():
        before = network.logits(mel)
        for band in range(BANDS):
            changed = mel.clone()
            changed[:, edges[band] : edges[band + 1]] += 0.5 * torch.rand(edges[band + 1] - edges[band], 30)
            assert torch.equal(network.logits(changed), before) is (band not in (0, 5))


@pytest.mark.parametrize("words", ["", "8", "1,1", "-1", "1,x", "1.5"])
def test_bands_that_are_none_are_refused(words: str) -> None:
    with pytest.raises(UsageError, match=r"model\.bands="):
        heard_bands(words)


def test_combinations_of_bands_are_drawn_by_the_seed() -> None:
    drawn = {seed: retrain.bands_of(3, seed) for seed in range(20)}
    assert all(len(heard_bands(words)) == 3 for words in drawn.values())
    assert len(set(drawn.values())) > 5
    assert retrain.bands_of(BANDS, 4) == "0,1,2,3,4,5,6,7"


def row(k: int, mean: float, std: float) -> dict[str, object]:
    return {"k": k, "n": 6, "test_mean": mean, "test_std": std}


def test_the_verdict_follows_the_curve() -> None:
    rise = retrain.verdict([row(1, 0.5, 0.01), row(3, 0.8, 0.01), row(6, 0.9, 0.01)])
    assert "Too few limit it (50.0% with 1 of 6)" in rise
    assert "not seen to overfit" in rise
    hill = retrain.verdict([row(1, 0.5, 0.01), row(3, 0.9, 0.01), row(6, 0.8, 0.01)])
    assert "it overfits (80.0% with all, 90.0% with 3, the best)" in hill
    flat = retrain.verdict([row(1, 0.88, 0.05), row(3, 0.9, 0.05), row(6, 0.89, 0.05)])
    assert "Even the fewest are enough" in flat
    assert "not seen to overfit" in flat


def test_a_recogniser_of_tones_is_trained_anew(
    tones_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrain, "BANDS", 2)
    monkeypatch.setattr(retrain, "SEEDS", 2)
    folder = tones_bundle[0]
    facts, page, printed = inspected("connections", str(folder), tmp_path, capsys, "--retrain", "trainer.max_epochs=1")
    rows = facts["retrained"]
    assert [(one["k"], one["n"], one["seeds"]) for one in rows] == [(1, 2, [0, 1]), (2, 2, [0, 1])]
    assert {one["chosen"][0] for one in rows} <= {"0", "1", "0,1"}
    assert rows[0]["parameters"] == bundle.load(folder).training["parameters"]
    for one in rows:
        assert f"{one['test_mean']:.1%} ± {one['test_std']:.1%}" in page
        assert f"{one['train_mean']:.1%} ± {one['train_std']:.1%}" in page
        assert f"{one['test_mean']:.3f} +- {one['test_std']:.3f}" in printed
    assert retrain.verdict(rows) in page


def test_what_cannot_be_trained_anew_is_refused(shapes_bundle: Bundle, tones_bundle: Bundle) -> None:
    shapes, tones = shapes_bundle[0], tones_bundle[0]
    for asked, told in (
        (["connections", "--retrain", shapes], "model=fast_cnn"),
        (["cost", "--retrain", tones], "belongs to connections"),
        (["connections", "--retrain", tones, "trainer.epochs=3"], "such as trainer.max_epochs=5"),
        (["connections", "--retrain", "checkpoints/bells"], "is none"),
    ):
        refused = hemony("inspect", *asked)
        assert refused.returncode == 2
        assert told in refused.stderr
        assert "Traceback" not in refused.stderr

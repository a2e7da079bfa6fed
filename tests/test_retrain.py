"""Trained anew with k of n: the recipe of the bundle, one choice changed, and what the curve says of the claim."""

from pathlib import Path

import numpy as np
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
    assert len(set(drawn.values())) == 20
    assert {retrain.bands_of(1, seed) for seed in range(BANDS)} == set("01234567")
    assert retrain.bands_of(BANDS, 4) == "0,1,2,3,4,5,6,7"


def row(k: int, test: float, std: float, train: float = 0.9) -> dict[str, object]:
    return {"k": k, "n": 6, "test_mean": test, "test_std": std, "train_mean": train, "validation_mean": test}


def test_the_verdict_follows_the_curve() -> None:
    rise = retrain.verdict([row(1, 0.5, 0.01), row(3, 0.8, 0.01), row(6, 0.9, 0.01)])
    assert "Too few limit it, and that too many overfit is not seen with 3 seeds. In the test 50.0% with 1 of 6" in rise
    hill = [row(1, 0.5, 0.01, 0.6), row(3, 0.9, 0.01, 0.95), row(6, 0.8, 0.01, 0.99)]
    assert "and too many overfit. In the test 50.0% with 1 of 6, 80.0% with all, 90.0% with 3" in retrain.verdict(hill)
    assert "that is no overfitting" in retrain.verdict([*hill[:2], row(6, 0.8, 0.01, 0.85)])
    flat = retrain.verdict([row(1, 0.88, 0.05), row(3, 0.9, 0.05), row(6, 0.89, 0.05)])
    assert flat.count("not seen with 3 seeds") == 2


def test_chance_alone_seldom_makes_a_verdict() -> None:
    draw = np.random.default_rng(0)
    claims = 0
    for _ in range(1000):
        rows = []
        for k in range(1, 7):
            test, validation = draw.normal(0.9, 0.02, 3), draw.normal(0.9, 0.02, 3)
            rows.append(row(k, test.mean(), test.std(ddof=1)) | {"validation_mean": validation.mean()})
        claims += retrain.verdict(rows).count("not seen with 3 seeds") < 2
    assert claims < 50


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
        assert f"{one['validation_mean']:.1%} ± {one['validation_std']:.1%}" in page
        assert f"{one['test_mean']:.3f} +- {one['test_std']:.3f}" in printed
    assert retrain.verdict(rows) in page


def test_lenet_is_trained_anew_with_every_number_of_maps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrain, "MAPS_SEEN", 2)
    monkeypatch.setattr(retrain, "SEEDS", 2)
    lenet = tmp_path / "lenet"
    made = hemony("train", "data=digits", "model=lenet5", "trainer.max_epochs=1", f"output={lenet}")
    assert made.returncode == 0, made.stderr
    facts, page, printed = inspected("connections", str(lenet), tmp_path / "out", capsys, "--retrain")
    rows = facts["retrained"]
    assert [(one["k"], one["n"], one["chosen"]) for one in rows] == [(1, 2, ["16x1"] * 2), (2, 2, ["16x2"] * 2)]
    assert rows[1]["parameters"] - rows[0]["parameters"] == 16 * 5 * 5  # a kernel more for each of the third layer's maps
    for one in rows:
        assert f"{one['parameters']:,}" in page
        assert f"{one['test_mean']:.3f} +- {one['test_std']:.3f}" in printed


def test_what_cannot_be_trained_anew_is_refused(shapes_bundle: Bundle, tones_bundle: Bundle) -> None:
    shapes, tones = shapes_bundle[0], tones_bundle[0]
    for asked, told in (
        (["cost", "connections", "--retrain", shapes], "model=fast_cnn"),
        (["cost", "--retrain", tones], "belongs to connections"),
        (["connections", "--retrain", tones, "trainer.epochs=3"], "such as trainer.max_epochs=5"),
        (["connections", "--retrain", tones, "model.bands=0"], "such as trainer.max_epochs=5"),
        (["connections", "--retrain", tones, "seed.x=1"], "such as trainer.max_epochs=5"),
        (["connections", "--retrain", tones, "trainer.max_epochs=few"], "trainer.max_epochs"),
        (["connections", "--retrain", "checkpoints/bells"], "is none"),
    ):
        refused = hemony("inspect", *asked)
        assert refused.returncode == 2
        assert told in refused.stderr
        assert len(refused.stderr.splitlines()) == 1

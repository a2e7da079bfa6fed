"""Who is connected to whom, and what the links that are not there save."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from hemony import bundle
from hemony.lens import connections
from hemony.lens.connections import BANDS, SUBSETS, links, subsets
from hemony.lens.examples import Examples
from hemony.lens.subjects import of_recogniser
from hemony.models.lenet5 import LeNet5
from tests.conftest import inspected

SOUNDS = Path("checkpoints/fsdd")


def lenet() -> tuple[nn.Module, torch.Tensor]:
    return LeNet5(1, 10), torch.randn(2, 1, 32, 32)


def test_the_historical_table_has_60_of_96_links() -> None:
    layer = next(one for one in links(LeNet5(1, 10)) if one.name == "c3").facts()
    assert (layer["links"], layer["possible_links"]) == (60, 96)
    assert layer["parameters_saved"] == 36 * 25
    assert layer["multiplications_saved_share"] == pytest.approx(36 / 96)
    assert [(row["k"], row["outputs"], row["combinations"]) for row in layer["chosen"]] == [(3, 6, 20), (4, 9, 15), (6, 1, 1)]
    assert sum(row["k"] * row["outputs"] for row in layer["chosen"]) == 60


def test_groups_leave_links_out_and_dense_layers_none() -> None:
    network = nn.Sequential(nn.Conv2d(8, 16, 3, groups=4), nn.Conv1d(4, 4, 5, groups=4), nn.Linear(7, 3), nn.ReLU())
    found = [one.facts() for one in links(network)]
    assert [(one["links"], one["possible_links"], one["parameters_saved"]) for one in found] == [
        (32, 128, 96 * 9), (4, 16, 12 * 5), (21, 21, 0)
    ]  # fmt: skip
    assert [one["links"] * kernel for one, kernel in zip(found, (9, 5, 1), strict=True)] == [
        part.weight.numel() for part in network if hasattr(part, "weight")
    ]


def test_subsets_are_few_different_and_of_every_size() -> None:
    chosen = subsets(0)
    assert len(set(chosen)) == len(chosen) <= SUBSETS
    counts = [sum(len(bands) == k for bands in chosen) for k in range(BANDS + 1)]
    assert all(count == min(math.comb(BANDS, k), SUBSETS // (BANDS + 1)) for k, count in enumerate(counts))


def test_all_bands_are_what_the_network_hears_and_none_tells_nothing() -> None:
    heard = bundle.load(SOUNDS)
    draw = torch.Generator().manual_seed(0)
    clips = (torch.randn(12, *heard.preprocessing.shape, generator=draw) * 2000).to(torch.int16)
    with torch.inference_mode():
        answers = heard.recogniser(clips).argmax(dim=1)
    examples = Examples(clips, answers, "")
    found = connections.inspect(of_recogniser(heard, examples, 0), heard, examples, 0)
    rows = found.by_count()
    assert [row["k"] for row in rows] == list(range(BANDS + 1))
    assert rows[-1]["mean_accuracy"] == 1.0
    shares = {float((answers == label).float().mean()) for label in range(10)}
    assert any(rows[0]["mean_accuracy"] == pytest.approx(share) for share in shares)  # one answer to whatever it is
    assert all(row["best_accuracy"] >= row["mean_accuracy"] for row in rows)
    assert found.edges_hz == sorted(found.edges_hz)
    assert found.edges_hz[-1] <= 4000


def test_every_figure_of_the_page_is_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts, page, printed = inspected("connections", "tests.test_connections:lenet", tmp_path, capsys)
    for row in facts["layers"]:
        assert f"<td>{row['links']:,}</td><td>{row['possible_links']:,}</td><td>{row['parameters_saved']:,}</td>" in page
        assert f"{row['parameters_saved']:,}" in printed
    assert page.count(" sees input ") == 60
    assert page.count(" does not see input ") == 36
    assert facts["bands"] == []

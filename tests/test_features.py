"""What a recogniser sees: probes, maps, where it looks, what pleases it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hemony import bundle
from hemony.cli import main
from hemony.lens.examples import Examples, drawn
from hemony.lens.features import look, pleasing, pooled, probes, stages
from hemony.models.lenet5 import LeNet5
from tests.conftest import inspected

IMAGES, SOUNDS = Path("checkpoints/digits"), Path("checkpoints/fsdd")


class Corner(nn.Module):
    """Two stages; its second class is whatever is bright in the lower right corner."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.head = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(1, 10)
        with torch.no_grad():
            self.same.weight.fill_(1.0)
            self.head.weight.zero_()[1] = 5.0
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.same(images)[:, :, 4:, 4:].mean(dim=(2, 3)))
        return logits


def test_stages_are_the_layers_in_the_order_of_the_network() -> None:
    assert list(stages(bundle.load(IMAGES).recogniser.network)) == ["whitening", "blocks.0", "head"]
    assert list(stages(LeNet5(1, 10))) == ["c1", "s2", "c3", "s4", "c5", "f6", "output"]
    sound = stages(bundle.load(SOUNDS).recogniser.network)
    assert [name for name in sound if name.startswith("blocks")] == ["blocks.0", "blocks.1", "blocks.2"]
    assert list(stages(nn.Sequential(LeNet5(1, 10)))) == list(stages(LeNet5(1, 10)))


@pytest.mark.parametrize(
    ("shape", "numbers"), [((2, 3, 8, 8), 12), ((2, 3, 1, 8), 6), ((2, 5, 9), 10), ((2, 7), 7), ((2, 9000), 4096)]
)
def test_what_a_probe_sees_is_short(shape: tuple[int, ...], numbers: int) -> None:
    assert pooled(torch.randn(shape)).shape == (2, numbers)


def test_a_probe_finds_what_is_there_and_no_more() -> None:
    labels = torch.arange(120) % 2
    images = torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = probes(Corner(), images, labels)[0]
    assert noise.correct / noise.total < 0.7
    images[:, 0, 6:, 6:] += 3.0 * labels[:, None, None]
    found = {probe.layer: probe for probe in probes(Corner(), images, labels)}
    assert list(found) == ["input", "same", "head"]
    assert found["head"].correct > 110
    assert found["head"].total == 120


def test_it_looks_where_the_answer_comes_from() -> None:
    digits = bundle.load(IMAGES)
    examples = Examples(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([1]), "")
    image = torch.zeros(1, 1, 8, 8)
    image[..., 5:7, 5:7] = 1.0
    image[..., 1, 1] = 0.5
    seen = look(digits, Corner().requires_grad_(False), examples, 0, image)
    assert seen.predicted == "1"
    assert seen.heat.shape == (8, 8)
    assert seen.heat[5:7, 5:7].min() == 1.0
    assert seen.heat[0, 0] == 0.0


def test_what_pleases_a_class_is_called_it() -> None:
    digits = bundle.load(IMAGES)
    for one in pleasing(digits, digits.recogniser.network, 0):
        assert one.after > one.before + 2
        assert one.probability > 0.9


def test_every_figure_of_the_page_is_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts, page, printed = inspected("features", str(IMAGES), tmp_path, capsys)
    for row in facts["probes"]:
        assert f"<td>{row['accuracy']:.1%}</td><td>{row['accuracy_low']:.1%} to {row['accuracy_high']:.1%}</td>" in page
        assert f"{row['accuracy']:.3f}" in printed
        assert row["total"] == 269
    accuracies = {row["layer"]: row["accuracy"] for row in facts["probes"]}
    assert accuracies["input"] < accuracies["blocks.0"]
    assert accuracies["blocks.0"] > 0.97
    for one in facts["looks"]:
        assert f"{one['label']}, called {one['predicted']} ({one['confidence']:.0%}" in page
    for one in facts["pleasing"]:
        assert f"{one['logit_before']:.1f} → {one['logit_after']:.1f}, {one['probability']:.0%}" in page
    assert len(page) < 10_000_000
    assert 'src="http' not in page


def test_examples_are_of_all_classes_and_none_was_trained_on() -> None:
    digits = bundle.load(IMAGES)
    found = drawn(digits, IMAGES, [], 10, 0)
    assert sorted(found.labels.tolist()) == list(range(10))
    assert not torch.equal(found.inputs, drawn(digits, IMAGES, [], 10, 1).inputs)
    assert torch.equal(found.inputs, drawn(digits, IMAGES, [], 10, 0).inputs)


def test_without_data_the_part_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "features", "tests.test_gradients:recurrent"]) == 3
    assert "features: left out" in capsys.readouterr().err


def test_it_looks_at_the_last_maps_that_have_places() -> None:
    digits = bundle.load(IMAGES)
    examples = Examples(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([1]), "")
    seen = look(digits, LeNet5(1, 10).requires_grad_(False), examples, 0, torch.randn(1, 1, 32, 32))
    assert seen is not None
    assert seen.heat.shape == (5, 5)

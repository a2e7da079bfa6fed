"""How gradients flow: recorded in a training, and told in words."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hemony import durable
from hemony.cli import main
from hemony.lens import flow
from hemony.lens.flow import DEAD, GRADIENT, UPDATE, Flow, dead_share, gradient_rms, moved
from hemony.lens.subjects import Trial
from tests.conftest import inspected


def test_a_unit_that_answers_to_everything_alike_is_dead() -> None:
    answer = torch.randn(8, 4, 5)
    answer[:, 1] = 0.0
    answer[:, 2] = 3.0
    assert dead_share(answer) == 0.5
    assert dead_share(torch.randn(8, 4)) == 0.0
    assert dead_share(torch.zeros(8, 4)) == 1.0


def test_gradients_and_steps_are_relative_to_a_layers_size() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.grad = torch.full((2, 2), 3.0)
    assert gradient_rms(layer) == pytest.approx(3.0)
    before = [torch.tensor([3.0, 4.0])]
    assert moved(before, [nn.Parameter(torch.tensor([3.0, 4.5]))]) == pytest.approx(0.1)


class Deep(nn.Module):
    """Sigmoids upon sigmoids: the classical way to lose a gradient."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(8, 8), nn.Sigmoid())))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layers(inputs)
        return answer


def deep() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Deep(24), torch.randn(16, 8)


def test_a_vanishing_gradient_is_named() -> None:
    found = flow.inspect([Trial("", *(lambda made: (made[0], (made[1],)))(deep()), None)], [])
    assert any(words.startswith("the gradient vanishes in layers.0") for words in found.words())
    shallow = flow.inspect([Trial("", nn.Sequential(nn.Linear(8, 8), nn.Tanh()), (torch.randn(16, 8),), None)], [])
    assert shallow.words() == ["no gradient vanishes or explodes, and in no layer are most units dead"]


def test_what_explodes_what_is_dead_and_what_has_none_is_named() -> None:
    rows = [{"name": name, GRADIENT: norm, DEAD: dead} for name, norm, dead in
            (("a", 1.0, 0.0), ("b", 1.0, 0.9), ("c", 1e4, None), ("d", 0.0, 0.0), ("e", 1.0, 0.0))]  # fmt: skip
    words = "; ".join(Flow(rows, {}).words())
    assert "explodes in c" in words
    assert "90% of the units of b are dead" in words
    assert "d has no gradient" in words


def test_a_training_records_it_when_asked_and_learns_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["data=digits", "trainer.max_epochs=2", "model=fast_cnn", "seed=3"]
    for name, asked in (("with", "true"), ("without", "false")):
        assert main(["train", *small, f"trainer.flow={asked}", f"output={tmp_path / name}"]) == 0
    with_flow, without = (durable.read_json(tmp_path / name / "history.json") for name in ("with", "without"))
    assert [row["train_loss"] for row in with_flow] == [row["train_loss"] for row in without]
    assert not any(key.startswith("flow/") for row in without for key in row)
    for row in with_flow:
        assert row[f"flow/head/{GRADIENT}"] > 0
        assert 1e-6 < row[f"flow/head/{UPDATE}"] < 1
        assert row[f"flow/blocks.0.conv1/{DEAD}"] <= 1
        assert row[f"flow/whitening/{UPDATE}"] == 0 or row[f"flow/whitening/{UPDATE}"] < 1  # its weights are frozen
    capsys.readouterr()
    facts, page, printed = inspected("flow", str(tmp_path / "with"), tmp_path / "seen", capsys)
    assert facts["recorded"][GRADIENT]["head"] == [[row["epoch"], row[f"flow/head/{GRADIENT}"]] for row in with_flow]
    for row in facts["layers"]:
        assert f"<td>{row['name']}</td><td>{row['gradient_rms']:.2e}</td>" in page
        assert f"{row['gradient_rms']:.1e}" in printed
    assert "trainer.flow=true does" not in page


def test_units_die_in_the_activation_and_along_the_last_axis_of_sequences() -> None:
    network = nn.Sequential(nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 2))
    with torch.no_grad():
        network[0].bias[2:] = -100.0
    dead: dict[str, float] = {}
    with flow.watched(network, dead):
        network(torch.randn(64, 3))
    assert dead["0"] >= 0.949
    assert dead["2"] == 0.0
    with torch.no_grad():
        network[0].weight[2:] = 0.0
    sequence: dict[str, float] = {}
    only = nn.Sequential(network[0])
    with flow.watched(only, sequence):
        only(torch.randn(8, 5, 3))
    assert sequence["0"] == pytest.approx(0.95)

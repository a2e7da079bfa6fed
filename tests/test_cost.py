"""What a step costs, against hand counts of every kind of layer."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony.lens import cost
from hemony.lens.cost import LayerCost, Product
from hemony.models.lenet5 import LeNet5
from tests.conftest import inspected


def counted(module: nn.Module, *inputs: Tensor) -> dict[str, LayerCost]:
    def loss(answer: Any) -> Tensor:
        return (answer[0] if isinstance(answer, tuple) else answer).square().mean()

    layers, unknown = cost.count(module, tuple(value.requires_grad_() for value in inputs), loss)
    assert unknown == {}
    return {layer.name: layer for layer in layers}


class Attention(nn.Module):
    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, key)


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))
        places = torch.tensor([[0, 1, 5], [2, 3, 0]])
        self.links = torch.sparse_coo_tensor(places, torch.ones(3), (6, 6), check_invariants=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.sparse.mm(self.links, self.weight) * inputs


@pytest.mark.parametrize(
    ("module", "shapes", "macs", "backward_macs"),
    [
        (nn.Linear(12, 7), [(5, 12)], 5 * 12 * 7, 2 * 5 * 12 * 7),
        (nn.Conv2d(6, 8, 3, padding=1), [(2, 6, 5, 4)], 2 * 5 * 4 * 6 * 9 * 8, 2 * 2 * 5 * 4 * 6 * 9 * 8),
        (nn.Conv2d(6, 8, 3, stride=2), [(2, 6, 9, 9)], 2 * 4 * 4 * 6 * 9 * 8, 2 * 2 * 4 * 4 * 6 * 9 * 8),
        (nn.Conv2d(6, 8, 3, groups=2), [(2, 6, 5, 5)], 2 * 3 * 3 * 3 * 9 * 8, 2 * 2 * 3 * 3 * 3 * 9 * 8),
        (nn.Conv2d(8, 8, 3, groups=8, padding=1), [(2, 8, 5, 5)], 2 * 25 * 9 * 8, 2 * 2 * 25 * 9 * 8),
        (nn.Conv1d(4, 6, 5, dilation=2), [(3, 4, 20)], 3 * 12 * 4 * 5 * 6, 2 * 3 * 12 * 4 * 5 * 6),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), [(2, 4, 5, 5)], 2 * 25 * 4 * 6 * 9, 2 * 2 * 25 * 4 * 6 * 9),
        (nn.LSTM(3, 4, 2), [(5, 2, 3)], 10 * (16 * 3 + 16 * 4) + 10 * (16 * 4 + 16 * 4), 2 * (10 * 112 + 10 * 128)),
        (Attention(), [(2, 3, 6, 8), (2, 3, 9, 8)], 2 * 2 * 3 * 6 * 9 * 8, 5 * 2 * 3 * 6 * 9 * 8),
        (Sparse(), [(6, 4)], 3 * 4, 3 * 4),
        (nn.BatchNorm2d(3), [(4, 3, 5, 5)], 0, 0),
    ],
)  # fmt: skip
def test_a_layer_costs_what_it_costs_by_hand(
    module: nn.Module, shapes: list[tuple[int, ...]], macs: int, backward_macs: int
) -> None:
    (layer,) = counted(module, *(torch.randn(shape) for shape in shapes)).values()
    assert layer.macs == macs
    assert layer.forward.flops == 2 * macs
    assert layer.backward.macs == backward_macs
    assert layer.parameters == sum(parameter.numel() for parameter in module.parameters())


def test_what_reaches_no_parameter_needs_no_way_back() -> None:
    layers, _ = cost.count(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), (torch.randn(5, 4),), Tensor.sum)
    assert [layer.backward.macs for layer in layers if layer.parameters] == [60, 60]  # the weights alone; weights and input


def test_a_fourier_transform_counts_by_its_length() -> None:
    class Spectrum(nn.Module):
        def forward(self, waves: Tensor) -> Tensor:
            return torch.fft.rfft(waves, n=256).abs()

    (layer,) = counted(Spectrum(), torch.randn(6, 200)).values()
    assert layer.forward.transform_flops == 6 * 2.5 * 256 * math.log2(256)
    assert layer.forward.macs == 0


def test_the_third_layer_of_lenet_has_1516_parameters_and_150000_multiplications() -> None:
    layer = counted(LeNet5(1, 10), torch.randn(1, 1, 32, 32))["c3"]
    assert layer.parameters == 1_516
    assert layer.macs == 150_000
    assert layer.forward.macs == 240_000  # absent links are multiplied by zero
    assert layer.forward.products == [Product(100, 150, 16)]
    dense = counted(LeNet5(1, 10, "dense"), torch.randn(1, 1, 32, 32))["c3"]
    assert dense.macs == dense.forward.macs == 240_000


def test_what_is_not_known_is_told() -> None:
    class Strange(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs @ torch.linalg.eigh(inputs @ inputs.T)[1]

    _, unknown = cost.count(Strange(), (torch.randn(3, 3, requires_grad=True),), Tensor.sum)
    assert set(unknown) == {"_linalg_eigh"}


def test_every_figure_of_the_page_is_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts, page, printed = inspected("cost", "checkpoints/digits", tmp_path, capsys)
    for row in facts["layers"]:
        assert f"<td>{row['macs']:,}</td><td>{row['flops']:,.0f}</td><td>{row['backward_flops']:,.0f}</td>" in page
        assert f"{row['macs']:,}" in printed
        assert row["forward_s"] > 0
        if row["macs"]:
            assert 0 < row["roofline_share"] < 3
    first = next(row for row in facts["layers"] if row["name"] == "head")
    assert first["products"] == [{"m": 32, "n": 64, "p": 10, "count": 1}]
    assert f"{facts['total']['macs']:,}" in page
    assert [line["mnp"] for line in facts["law"]] == [side**3 for side in cost.LAW_SIDES]
    assert facts["machine"]["flops_a_second"] > 1e8


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act = nn.Linear(8, 8), nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        for _ in range(20):
            inputs = self.act(self.layer(inputs))
        return inputs


def test_a_layer_that_is_called_often_takes_as_often_as_long() -> None:
    torch.manual_seed(0)
    module, inputs = Twice(), (torch.randn(4, 8),)
    layers, _ = cost.count(module, inputs, Tensor.sum)
    cost.measure(module, inputs, layers)
    layer = next(one for one in layers if one.name == "layer")
    assert layer.macs == 20 * 4 * 8 * 8
    once, _ = cost.times_s(nn.Linear(8, 8), inputs)
    assert layer.forward_s > 5 * once

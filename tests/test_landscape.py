"""The loss around the weights: curvature against a dense Hessian, Taylor models against what they claim."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from hemony.lens import landscape, taylor
from hemony.lens.landscape import Surface, along, top
from tests.conftest import inspected


def surface(seed: int = 0) -> Surface:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    labels = torch.arange(9) % 3
    return Surface(taylor.subject(module, (torch.randn(9, 5),), lambda logits: functional.cross_entropy(logits, labels)))


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_eigenvalue_is_that_of_the_dense_hessian(seed: int) -> None:
    there = surface(seed)
    dense = torch.autograd.functional.hessian(there.loss, there.start)
    values, vectors = torch.linalg.eigh(dense)
    found = top(lambda vector: there.product(vector)[1], len(there.start), seed)
    assert found.value == pytest.approx(float(values[-1]), rel=1e-3)
    assert abs(float(found.vector @ vectors[:, -1])) > 0.99
    assert abs(found.value - float(values[-1])) <= found.residual + 1e-9


def test_a_matrix_smaller_than_the_iteration_is_solved_whole() -> None:
    matrix = torch.diag(torch.tensor([3.0, -7.0, 2.0], dtype=torch.float64))
    found = top(matrix.mv, 3, 0)
    assert found.value == pytest.approx(3.0, rel=1e-9)
    assert found.residual < 1e-8
    assert top(lambda vector: 2 * vector, 4, 0).value == pytest.approx(2.0, rel=1e-12)


def test_taylor_models_leave_what_they_claim_to_leave() -> None:
    there = surface()
    direction = there.gradient / there.gradient.norm()
    found = along(there, "gradient", direction)
    assert found.orders[0] == pytest.approx(2, abs=0.1)
    assert found.orders[1] == pytest.approx(3, abs=0.1)
    first, second = found.radii
    assert 0 < first < second
    assert found.slope == pytest.approx(float(there.gradient.norm()), rel=1e-9)
    for order, radius in enumerate(found.radii, 1):
        for place in (-radius, radius / 3, radius):
            true = float(there.loss(there.start + place * direction))
            assert abs(found.model(place, order) - true) <= landscape.HOLDS * abs(true - found.loss) + 1e-12


def test_a_bowl_is_left_by_steps_longer_than_the_stable_one() -> None:
    curvature = torch.tensor([4.0, 1.0], dtype=torch.float64)
    longest = landscape.limit(top(lambda vector: curvature * vector, 2, 0))
    assert longest == pytest.approx(0.5)
    for step, ends_near in ((0.49, True), (0.51, False)):
        place = torch.ones(2, dtype=torch.float64)
        for _ in range(400):
            place = place - step * curvature * place
        assert (float(place.norm()) < 1) is ends_near


def test_every_figure_of_the_page_is_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts, page, printed = inspected("landscape", "checkpoints/digits", tmp_path, capsys)
    assert [entry["direction"] for entry in facts["slices"]] == ["gradient", "most curved"]
    for entry in facts["slices"]:
        for figure in (f"{entry['slope']:.4g}", f"{entry['curvature']:.4g}", f"{entry['first_order_radius']:.3g}"):
            assert f"<td>{figure}</td>" in page
        assert len(entry["places"]) == len(entry["values"]) == len(entry["second_order"])
        assert entry["first_order_radius"] <= entry["second_order_radius"]
    (hessian,) = facts["hessian"]
    assert f"{hessian['top_eigenvalue']:.4g}" in page
    assert f"{hessian['top_eigenvalue']:.4g}" in printed
    assert hessian["largest_stable_step"] == pytest.approx(2 / hessian["top_eigenvalue"])
    curved = facts["slices"][1]
    assert curved["curvature"] == pytest.approx(hessian["top_eigenvalue"], rel=1e-2)
    assert f"{facts['optimizer']['learning_rate']:.3g}" in page

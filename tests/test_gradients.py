"""The chain rule, verified: right gradients are called right, wrong ones wrong, and what has none is not judged."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hemony import bundle, inspect, melody_bundle
from hemony.cli import main
from hemony.config import SpectrogramConfig
from hemony.errors import UsageError
from hemony.lens import chain, parts, subjects, taylor
from hemony.lens.taylor import Point, Subject, Verdict
from hemony.models.lenet5 import LeNet5
from hemony.models.spectrogram import SpectrogramCNN, SpectrogramEnsemble
from hemony.models.torchvision import TorchvisionClassifier

IMAGES, SOUNDS = Path("checkpoints/digits"), Path("checkpoints/fsdd")


def smooth_subject(seed: int) -> Subject:
    torch.manual_seed(seed)
    labels = torch.arange(6) % 4
    if seed % 2:
        module: nn.Module = nn.Sequential(
            nn.Linear(7, 12), nn.BatchNorm1d(12), nn.GELU(), nn.Dropout(0.5), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4)
        )
        inputs = torch.randn(6, 7)
    else:
        module, inputs = LeNet5(1, 10), torch.randn(6, 1, 32, 32)
    return taylor.subject(module, (inputs,), lambda logits: functional.cross_entropy(logits, labels))


def bundle_subject(place: Path, seed: int) -> Subject:
    (trial,) = subjects.of_recogniser(bundle.load(place), None, seed)
    return taylor.subject(trial.module, trial.inputs, trial.loss)


def verdict(subject: Subject, gradient: Point, layer: str, seed: int) -> Verdict:
    (check,) = taylor.check(subject.function, subject.point, gradient, {layer: subject.layers[layer]}, subject.smooth, seed)
    return check.verdict


def layer_of(subject: Subject, gradient: Point, seed: int) -> str:
    """Any one that has a gradient."""
    names = [name for name, keys in subject.layers.items() if any(gradient[key].norm() > 1e-9 for key in keys)]
    return names[int(torch.randint(len(names), (1,), generator=torch.Generator().manual_seed(seed)))]


@pytest.mark.parametrize("seed", range(12))
def test_a_smooth_gradient_that_is_off_by_a_ten_thousandth_or_in_one_filter_is_caught(seed: int) -> None:
    subject = smooth_subject(seed)
    assert subject.smooth
    gradient = subject.gradient
    layer = layer_of(subject, gradient, seed)
    keys = subject.layers[layer]
    assert verdict(subject, gradient, layer, seed) is Verdict.right
    assert verdict(subject, {**gradient, **{key: gradient[key] * 1.0001 for key in keys}}, layer, seed) is Verdict.wrong
    one = gradient[keys[0]].clone()
    one[int(one.flatten(1).norm(dim=1).argmax()) if one.ndim > 1 else 0] *= 1.01
    assert verdict(subject, {**gradient, keys[0]: one}, layer, seed) is Verdict.wrong


@pytest.mark.parametrize(("place", "seed"), [(IMAGES, seed) for seed in range(6)] + [(SOUNDS, seed) for seed in range(3)])
def test_a_layers_gradient_of_a_bundle_that_is_off_by_a_hundredth_is_caught(place: Path, seed: int) -> None:
    subject = bundle_subject(place, seed)
    assert not subject.smooth
    gradient = subject.gradient
    layer = layer_of(subject, gradient, seed)
    assert verdict(subject, gradient, layer, seed) is Verdict.right
    assert (
        verdict(subject, {**gradient, **{key: gradient[key] * 1.01 for key in subject.layers[layer]}}, layer, seed) is Verdict.wrong
    )


def test_orders_are_two_and_of_the_control_one() -> None:
    subject = smooth_subject(1)
    checks = taylor.check(subject.function, subject.point, subject.gradient, subject.layers, subject.smooth)
    judged = [check for check in checks if check.verdict is not Verdict.zero]
    assert len(judged) == len(checks)
    for check in judged:
        assert check.order == pytest.approx(2, abs=0.05)
        assert check.control_order == pytest.approx(1, abs=0.05)
        assert check.relative_error < 1e-7


def test_a_bias_before_batch_norm_and_a_dead_layer_have_no_gradient() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.norm, self.unused = nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.norm(self.used(inputs)).sigmoid()

    subject = taylor.subject(Dead(), (torch.randn(5, 2, 4),))
    layers = {**subject.layers, "bias": ["used.bias"]}
    found = {
        check.name: check.verdict
        for check in taylor.check(subject.function, subject.point, subject.gradient, layers, subject.smooth)
    }
    assert found == {
        "used": Verdict.right, "norm": Verdict.right, "unused": Verdict.zero, "input": Verdict.right, "bias": Verdict.zero,
    }  # fmt: skip


def test_the_module_stays_as_it_is() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3)).eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    subject = taylor.subject(module, (torch.randn(8, 3),))
    assert subject.function(subject.point) == subject.function(subject.point)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not module.training


def test_a_linear_function_is_exact() -> None:
    subject = taylor.subject(nn.Linear(3, 2), (torch.randn(4, 3),))
    (check,) = taylor.check(subject.function, subject.point, subject.gradient, {"": subject.layers["weight"]}, subject.smooth)
    assert check.verdict is Verdict.right
    wrong = {key: value * 1.0001 for key, value in subject.gradient.items()}
    (check,) = taylor.check(subject.function, subject.point, wrong, {"": subject.layers["weight"]}, subject.smooth)
    assert check.verdict is Verdict.wrong
    assert check.order == pytest.approx(1, abs=0.01)


def test_the_chain_written_out_is_what_autograd_says() -> None:
    shown = chain.demonstrate(3)
    assert sum(path.product for path in shown.paths) == pytest.approx(shown.autograd, rel=1e-12)
    verdicts = {check.name: check.verdict for check in shown.alignment}
    assert verdicts == {"first": Verdict.wrong, "second": Verdict.wrong, "third": Verdict.right}


# ------------------------------------------------------------------------------------------------------------- the command


class Half(torch.autograd.Function):
    """x², whose author forgot the 2."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, inputs: Tensor) -> Tensor:
        context.save_for_backward(inputs)
        return inputs.square()

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        (inputs,) = context.saved_tensors  # type: ignore[attr-defined]
        found: Tensor = gradient * inputs
        return found


class Square(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        answer: Tensor = Half.apply(inputs)
        return answer


def wrong_square() -> tuple[nn.Module, Tensor]:
    return Square(), torch.ones(3, 2)


def recurrent() -> tuple[nn.Module, Tensor]:
    return nn.LSTM(3, 4, 2, dropout=0.5), torch.randn(5, 2, 3)


def test_a_wrong_layer_of_ones_own_is_found_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "gradients", "tests.test_gradients:wrong_square", "--out", str(tmp_path / "seen")]) == 1
    said = capsys.readouterr()
    assert "the gradient of input is wrong" in said.err
    facts = json.loads((tmp_path / "seen" / "inspect.json").read_text())["gradients"]
    assert facts["layers"][0]["verdict"] == "wrong"
    assert facts["layers"][0]["order"] == pytest.approx(1, abs=0.01)
    assert main(["inspect", "gradients", "tests.test_gradients:recurrent"]) == 0


def test_every_figure_of_the_page_is_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "gradients", str(IMAGES), "--out", str(tmp_path), "--format", "json"]) == 0
    whole = json.loads((tmp_path / "inspect.json").read_text())
    assert json.loads(capsys.readouterr().out) == whole
    facts = whole["gradients"]
    page = (tmp_path / "inspect.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    for row, control in zip(facts["layers"], facts["negative_control"], strict=True):
        assert f"<td>{row['order']:.2f}</td><td>{control['order']:.2f}</td><td>{row['relative_error']:.0e}</td>" in page
        assert row["order"] == pytest.approx(2, abs=0.2)
        assert control["order"] == pytest.approx(1, abs=0.1)
        assert row["relative_error"] < 1e-6
    for path in facts["chain"]["paths"]:
        assert f"{path['product']:+.6f}" in page
    assert {line["name"] for line in facts["remainders"]} == {row["name"] for row in facts["layers"]}


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        ([], "name one bundle", 2),
        (["checkpoints/digits", "checkpoints/fsdd"], "2 given", 2),
        (["nowhere"], "there is no such folder", 3),
        (["gradients", "tests.test_gradients:missing"], "cannot be called", 2),
        (["gradients", "no.such.module:f"], "cannot be called", 2),
        (["gradients", "tests.test_gradients"], "named: tests.test_gradients:factory", 2),
        (["gradients", "tests.test_gradients:layer_of"], "cannot be called", 2),
        (["checkpoints/digits", "--out", "nowhere/deeper"], "there is no folder", 2),
        (["checkpoints/digits", "--out", "README.md"], "is a file", 2),
        (["checkpoints/digits", "data=fsdd"], "", 2),
    ],
)
def test_bad_input_gets_a_line(arguments: list[str], words: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *arguments]) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert words in said[-1]
    assert "Traceback" not in "\n".join(said)


def test_what_hears_melodies_is_proved_part_by_part() -> None:
    ear, sense = subjects.of_melody(melody_bundle.load(Path("checkpoints/bells")), 0)
    for trial, layers in ((ear, ("ear.pitch.head", "ear.onset.head")), (sense, ("sense.head", "sense.blocks.2.attention"))):
        subject = taylor.subject(trial.module, trial.inputs, trial.loss)
        gradient = subject.gradient
        for layer in layers:
            assert verdict(subject, gradient, layer, 0) is Verdict.right
            wrong = {**gradient, **{key: gradient[key] * 1.01 for key in subject.layers[layer]}}
            assert verdict(subject, wrong, layer, 0) is Verdict.wrong


class Named(nn.Module):
    """A layer called input, and one that begins so."""

    def __init__(self) -> None:
        super().__init__()
        self.input, self.input_next = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        answer: Tensor = self.input_next(self.input(inputs).tanh())
        return answer


class Coarse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs).float().softmax(dim=1).to(inputs.dtype)


class Chance(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return functional.dropout(inputs.square(), 0.5, training=True)


def orders(module: nn.Module, *inputs: Tensor) -> dict[str, Verdict]:
    subject = taylor.subject(module, inputs)
    return {
        check.name: check.verdict
        for check in taylor.check(
            subject.function, subject.point, subject.gradient, subject.layers, subject.smooth, 0, subject.coarse
        )
    }


def test_a_layer_may_be_called_input() -> None:
    torch.manual_seed(0)
    found = orders(Named(), torch.randn(5, 3))
    assert found == dict.fromkeys(("input", "input_next", "<input>"), Verdict.right)


def test_what_answers_zero_and_what_is_rounded_inside_is_not_called_wrong() -> None:
    torch.manual_seed(0)
    zero = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    nn.init.zeros_(zero[2].weight)
    nn.init.zeros_(zero[2].bias)
    assert orders(zero, torch.randn(6, 4))["2"] is Verdict.right
    rounded = taylor.subject(Coarse(), (torch.randn(6, 4),))
    assert rounded.coarse
    for scale, verdicts in ((1.0, {Verdict.right, Verdict.unjudged}), (1.01, {Verdict.wrong})):
        gradient = {key: scale * value for key, value in rounded.gradient.items()}
        checks = taylor.check(rounded.function, rounded.point, gradient, rounded.layers, rounded.smooth, 0, rounded.coarse)
        assert {check.verdict for check in checks} <= verdicts


@pytest.mark.parametrize("activation", [nn.Hardsigmoid(), nn.Softshrink(), nn.Hardswish(), nn.ReLU(), nn.GELU(), nn.Softplus()])
def test_activations_with_and_without_kinks_are_right(activation: nn.Module) -> None:
    torch.manual_seed(0)
    found = orders(nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, 2)), torch.randn(16, 4))
    assert set(found.values()) == {Verdict.right}


def test_what_is_drawn_at_random_is_refused() -> None:
    with pytest.raises(UsageError, match="drawn at random"):
        taylor.subject(Chance(), (torch.randn(3, 2),))


def answers_a_dict() -> tuple[nn.Module, Tensor]:
    class Dictionary(nn.Module):
        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"answer": inputs}

    return Dictionary(), torch.ones(2)


def two_inputs() -> tuple[nn.Module, list[Tensor]]:
    return nn.Bilinear(3, 4, 2), [torch.randn(5, 3), torch.randn(5, 4)]


def test_a_factory_may_give_several_inputs_and_has_to_give_a_tensor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "gradients", "tests.test_gradients:two_inputs"]) == 0
    assert "input1" in capsys.readouterr().out
    assert main(["inspect", "gradients", "tests.test_gradients:answers_a_dict"]) == 2
    assert main(["inspect", "flow", "tests.test_gradients:two_inputs", "data=digits"]) == 2


@pytest.mark.parametrize("part", ["cost", "flow", "connections"])
def test_what_hears_melodies_is_inspected(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", part, "checkpoints/bells"]) == 0
    assert "ear.onset.past.0" in capsys.readouterr().out


def test_every_part_that_is_named_is_there() -> None:
    assert tuple(parts.PARTS) == inspect.PARTS


class Scaled(torch.autograd.Function):
    """A product whose backward forgets one of its factors."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inputs, weight)
        return inputs * weight

    @staticmethod
    def backward(ctx: Any, given: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        _, weight = ctx.saved_tensors
        return given * weight, None


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(5))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return Scaled.apply(inputs, self.weight)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()])
def test_a_gradient_that_is_missing_is_wrong_and_not_zero(activation: nn.Module) -> None:
    torch.manual_seed(0)
    found = orders(nn.Sequential(nn.Linear(4, 5), Forgetful(), activation, nn.Linear(5, 3)), torch.randn(6, 4))
    assert found.pop("1") is Verdict.wrong
    assert set(found.values()) == {Verdict.right}


def test_an_ensemble_and_a_network_of_torchvision_have_right_gradients() -> None:
    torch.manual_seed(0)
    members = [SpectrogramCNN(8_000, 3, SpectrogramConfig(width=0.25, mels=16)) for _ in range(2)]
    found = orders(SpectrogramEnsemble(members), 0.1 * torch.randn(4, 4_000))
    assert set(found.values()) <= {Verdict.right, Verdict.zero}
    assert {name.split(".")[1] for name in found if name.startswith("members.")} == {"0", "1"}
    found = orders(TorchvisionClassifier("squeezenet1_1", 3, 4, small_stem=False), torch.randn(2, 3, 48, 48))
    assert set(found.values()) <= {Verdict.right, Verdict.zero}
    assert list(found.values()).count(Verdict.right) > 20

"""Every network of the registry, every optimiser, and the rule: shapes, finite values, a gradient for every parameter."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hemony import bundle, hardware, models, rules
from hemony.config import (
    FastCNNConfig,
    Fit,
    LeNet5Config,
    ModelConfig,
    OptimizerConfig,
    OptimizerName,
    Precision,
    RuleConfig,
    Schedule,
    TorchvisionConfig,
    TrainConfig,
)
from hemony.datasets.collection import PARTS
from hemony.errors import UsageError
from hemony.inference import predict_logits
from hemony.models.fast_cnn import FastCNN, default_depth
from hemony.models.lenet5 import LeNet5, connection_table
from hemony.models.torchvision import TorchvisionClassifier
from hemony.optimizers import build_optimizer, orthogonalise
from hemony.plain import plain
from hemony.preprocessing import ImagePreprocessing, ImageView
from hemony.tasks.classification import Classifier, averaging, learning_rate_share
from tests.conftest import hemony

CASES: list[tuple[ModelConfig, int, int]] = [
    *((FastCNNConfig(width=0.25), size, channels) for size in (8, 12, 16, 28, 32, 48, 64) for channels in (1, 3)),
    (FastCNNConfig(width=0.25, depth=2), 32, 3),
    *((LeNet5Config(connections=rule), 28, 1) for rule in ("historical", "dense", "16x3", "6x3,9x4,1x6")),
    (LeNet5Config(), 32, 3),
    (LeNet5Config(), 20, 1),
    (TorchvisionConfig(name="resnet18", small_stem=True), 16, 3),
    (TorchvisionConfig(name="mobilenet_v3_small"), 32, 1),
]


@pytest.mark.parametrize(("config", "size", "channels"), CASES)
def test_shape_finite_and_a_gradient_for_every_parameter(config: ModelConfig, size: int, channels: int) -> None:
    torch.manual_seed(0)
    network = models.build(config, ImageView(channels, size, Fit.stretch), 7)
    images = torch.randn(4, channels, size, size)
    if isinstance(network, FastCNN):
        network.whiten(images)
    logits = network(images)
    assert logits.shape == (4, 7)
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.tensor([0, 3, 6, 1])).backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0 or name.endswith("conv.bias"), name


@pytest.mark.parametrize(("config", "size", "channels"), [*CASES, (TorchvisionConfig(name="regnet_y_400mf"), 32, 3)])
def test_a_bundle_of_every_network_answers_as_before(config: ModelConfig, size: int, channels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    preprocessing = ImagePreprocessing(channels, size, Fit.stretch, (0.4,) * channels, (0.2,) * channels)
    recogniser = models.Recogniser(models.build(config, ImageView(channels, size, Fit.stretch), 7), preprocessing, True)
    nothing = np.zeros(0, dtype=np.uint64)
    bundle.save(
        bundle.Bundle(
            recogniser, list("abcdefg"), plain(config), preprocessing, 1.0, {}, {}, dict.fromkeys(PARTS, nothing), {}, {}, {}
        ),
        tmp_path,
        "",
    )
    images = torch.randint(0, 256, (3, channels, size, size), dtype=torch.uint8)
    batches, cpu = [images], torch.device("cpu")
    expected = predict_logits(recogniser, batches, cpu, bf16=False)
    assert torch.equal(predict_logits(bundle.load(tmp_path).recogniser, batches, cpu, bf16=False), expected)


def test_a_network_that_needs_another_size_says_so(tmp_path: Path, shapes_folder: Callable[..., Path]) -> None:
    arguments = [
        "data=image_folder",
        f"data.root={shapes_folder(each=8)}",
        "model=torchvision",
        "model.name=vit_b_32",
        "data.size_px=64",
    ]
    for more in ([], ["trainer.max_epochs=1"]):
        refused = hemony("train", *arguments, *more, f"output={tmp_path / 'run'}")
        assert refused.returncode == 2
        assert "vit_b_32 does not take images of 64 pixels" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_networks_with_auxiliary_classifiers_train_on_small_images(name: str) -> None:
    network = models.build(TorchvisionConfig(name=name), ImageView(3, 96, Fit.stretch), 4)
    assert network(torch.randn(2, 3, 96, 96)).shape == (2, 4)


def test_depth_leaves_a_last_map_of_three_to_five_pixels() -> None:
    for size in range(8, 65):
        assert 3 <= size // 2 ** default_depth(size) <= 5 or size < 12


def test_whitening_makes_the_patches_uncorrelated() -> None:
    torch.manual_seed(0)
    base = torch.randn(64, 1, 32, 32)
    other = torch.randn(64, 2, 32, 32)
    images = torch.cat((base, 0.9 * base + 0.1 * other[:, :1], 0.5 * base.roll(1, 3) + 0.5 * other[:, 1:]), dim=1)
    network = FastCNN(3, 10, 32, 0.25)
    network.whiten(images, floor=0.0)
    maps = network.whitening(images)
    half = maps.shape[1] // 2
    assert torch.equal(maps[:, :half], -maps[:, half:])
    flat = maps[:, :half].permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(flat @ flat.T / flat.shape[1], torch.eye(half), atol=0.02)
    assert not network.whitening.weight.requires_grad


# ----------------------------------------------------------------------------------------------------------- LeNet-5


def test_the_historical_third_layer() -> None:
    table = connection_table("historical")
    assert sorted(map(len, table)) == [3] * 6 + [4] * 9 + [6]
    assert len(set(table)) == 16
    assert sum(map(len, table)) == 60
    layer = LeNet5(1, 10).c3
    assert sum(parameter.numel() for parameter in layer.parameters()) == 1516
    # Table I of the paper, a column an output map, the rows that are marked
    marked = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345".split()
    assert {"".join(map(str, sorted(seen))) for seen in table} == set(marked)


def test_an_absent_link_carries_nothing() -> None:
    layer = LeNet5(1, 10, "16x2").c3
    maps = torch.randn(1, 6, 14, 14, requires_grad=True)
    for output, seen in enumerate(layer.table):
        (gradient,) = torch.autograd.grad(layer(maps)[0, output].sum(), maps)
        touched = [channel for channel in range(6) if gradient[0, channel].abs().max() > 0]
        assert touched == list(seen)


def test_a_dense_table_is_an_ordinary_convolution() -> None:
    layer = LeNet5(1, 10, "dense").c3
    maps = torch.randn(2, 6, 14, 14)
    expected = nn.functional.conv2d(maps, layer.weight.view(16, 6, 5, 5), layer.bias)
    assert torch.allclose(layer(maps), expected, atol=1e-6)


@pytest.mark.parametrize("rule", ["16", "16x0", "16x7", "0x3", "3x16x", "historic", ""])
def test_connections_that_are_none(rule: str) -> None:
    with pytest.raises(UsageError, match=r"model\.connections"):
        connection_table(rule)


def test_depthwise_convolutions_train_in_float32_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gains_by_bf16", lambda device: True)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    depthwise, dense = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8)), nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(1, 4, 3))
    assert hardware.trains_in_bf16(Precision.auto, cpu, dense)
    assert not hardware.trains_in_bf16(Precision.auto, cpu, depthwise)
    assert hardware.trains_in_bf16(Precision.auto, gpu, depthwise)
    assert hardware.trains_in_bf16(Precision.bf16, cpu, depthwise)
    assert not hardware.trains_in_bf16(Precision.fp32, cpu, dense)


def test_an_unknown_torchvision_model_gets_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        models.build(TorchvisionConfig(name="resnet81"), ImageView(3, 32, Fit.stretch), 10)
    with pytest.raises(UsageError, match="ResNets"):
        models.build(TorchvisionConfig(name="vgg11", small_stem=True), ImageView(3, 32, Fit.stretch), 10)


# -------------------------------------------------------------------------------------------------------- recogniser


def test_a_recogniser_normalises_and_averages_over_the_mirror_image() -> None:
    preprocessing = ImagePreprocessing(3, 8, Fit.stretch, (0.2, 0.4, 0.6), (0.1, 0.2, 0.3))
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    by_hand = (images.double() / 255 - torch.tensor([0.2, 0.4, 0.6])[:, None, None]) / torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    one, both = models.Recogniser(network, preprocessing, False), models.Recogniser(network, preprocessing, True)
    assert torch.allclose(one.predict(images), network(by_hand.float()), atol=1e-5)
    assert torch.allclose(both.predict(images), (one(images) + one(images.flip(-1))) / 2)
    assert torch.allclose(both.predict(images), both.predict(images.flip(-1)), atol=1e-6)


# ----------------------------------------------------------------------------------------------- rule and optimisers


def test_the_rule_adds_to_what_is_there_already() -> None:
    network = nn.Linear(3, 2)
    rule = rules.build(RuleConfig())
    inputs, targets = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    for _ in range(2):
        rule.backward(nn.functional.cross_entropy(rule.forward(network, inputs), targets))
    twice = network.weight.grad
    network.zero_grad()
    rule.backward(nn.functional.cross_entropy(network(inputs), targets))
    assert twice is not None
    assert network.weight.grad is not None
    assert torch.allclose(twice, 2 * network.weight.grad)


@pytest.mark.parametrize("name", OptimizerName)
def test_every_optimiser_lowers_a_loss_and_goes_on_exactly_from_its_state(name: OptimizerName) -> None:
    rates = {OptimizerName.sgd: 0.05, OptimizerName.adamw: 0.01, OptimizerName.muon: 0.1}

    def setup() -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        network = FastCNN(1, 3, 8, 0.25)
        return network, build_optimizer(
            network, OptimizerConfig(name=name, learning_rate=rates[name], momentum=0.6, weight_decay=1e-3)
        )

    images, labels = torch.randn(24, 1, 8, 8), torch.arange(24) % 3

    def step(network: nn.Module, optimizer: Any) -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    network, optimizer = setup()
    losses = [step(network, optimizer) for _ in range(6)]
    kept = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    losses += [step(network, optimizer) for _ in range(14)]
    assert losses[-1] < losses[0] / 2
    again, other = setup()
    again.load_state_dict(kept[0])
    other.load_state_dict(kept[1])
    assert [step(again, other) for _ in range(1)] == losses[6:7]


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_an_orthogonalised_matrix_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    values = torch.linalg.svdvals(orthogonalise(matrix, iterations=8).float())
    assert values.min() > 0.4
    assert values.max() < 1.4
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    nearest = left @ right
    cosine = nn.functional.cosine_similarity(orthogonalise(matrix, 8).float().flatten(), nearest.flatten(), dim=0)
    assert cosine > 0.95


@pytest.mark.parametrize("schedule", Schedule)
def test_the_schedule_warms_up_and_comes_down(schedule: Schedule) -> None:
    config = TrainConfig(optimizer=OptimizerConfig(schedule=schedule, warmup_share=0.2, final_share=0.1))
    share = learning_rate_share(config, 100)
    values = [share(step) for step in range(101)]
    assert values[:20] == sorted(values[:20])
    assert max(values) == 1.0
    assert values[20:] == sorted(values[20:], reverse=True)
    assert math.isclose(values[-1], 1.0 if schedule is Schedule.constant else 0.1)


def test_the_average_follows_its_definition() -> None:
    update = averaging(0.9)
    average, count = torch.zeros(3), torch.tensor(0)
    expected = 0.0
    for step in range(1, 200):
        update([average], [torch.full((3,), float(step))], torch.tensor(step))
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        update([count], [torch.tensor(step)], torch.tensor(step))
    assert torch.allclose(average, torch.full((3,), expected))
    assert int(count) == 199


def test_the_default_cost_is_what_the_layers_add_up_to() -> None:
    network = FastCNN(3, 10, 32, 1.0)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))
    whitening = 31 * 31 * 24 * 12
    convolutions = (
        31 * 31 * 64 * 24 * 9
        + 15 * 15 * (64 * 64 * 9 + 256 * 64 * 9)
        + 7 * 7 * (256 * 256 * 9 + 256 * 256 * 9)
        + 3 * 3 * 256 * 256 * 9
    )
    assert counter.get_total_flops() == 2 * (whitening + convolutions + 256 * 10)


# ---------------------------------------------------------------------------------------------------------- transfer


def test_transfer_keeps_the_weights_rests_them_and_then_trains_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    donor = torchvision.models.resnet18(num_classes=1000)
    place = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"  # where torchvision looks before it downloads
    place.parent.mkdir(parents=True)
    torch.save(donor.state_dict(), place)
    config = TrainConfig(
        model=TorchvisionConfig(weights="DEFAULT"),
        optimizer=OptimizerConfig(name=OptimizerName.adamw, learning_rate=1e-3, weight_decay=0.05, momentum=0.9),
    )
    network = models.build(config.model, ImageView(3, 32, Fit.stretch), 2)
    assert isinstance(network, TorchvisionClassifier)
    network.load_pretrained("DEFAULT")
    pretrained = network.pretrained_parameters()
    names = {name for name, parameter in network.net.named_parameters() if any(parameter is known for known in pretrained)}
    assert {name for name, _ in network.net.named_parameters()} - names == {"fc.weight", "fc.bias"}
    assert torch.equal(network.net.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)

    recogniser = models.Recogniser(network, ImagePreprocessing(3, 32, Fit.stretch, (0.5,) * 3, (0.25,) * 3), False)
    module = Classifier(recogniser, rules.build(RuleConfig()), config, 4, pretrained, frozen_batches=2)
    optimizer = module.configure_optimizers()["optimizer"]
    assert {round(group["initial_lr"], 6) for group in optimizer.param_groups} == {0.001, 0.01}
    images, labels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    for step in range(4):
        before = {name: parameter.detach().clone() for name, parameter in network.net.named_parameters()}
        optimizer.zero_grad()
        module.backward(module.training_step((images, labels, step), step))
        optimizer.step()
        moved = {name for name, parameter in network.net.named_parameters() if not torch.equal(parameter, before[name])}
        assert moved == ({"fc.weight", "fc.bias"} if step < 2 else set(before)), step

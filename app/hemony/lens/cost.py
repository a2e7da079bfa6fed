"""What a step costs: every product of matrices in it, m x n x p multiplications and additions, layer by layer, there and back.

Counted is what takes place, operation by operation below autograd, so that grouped, depthwise and transposed convolutions, recurrent layers,
attention, sparse matrices and Fourier transforms count for what they do, whoever calls them. An operation that multiplies no matrices costs
the elements that it writes; one that is not known at all is listed.
"""

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from hemony.lens.hooks import watching
from hemony.models.lenet5 import ConnectedConv

RUNS = 5  # of a layer, whose median time counts
CALLS = 8  # of a layer that is called more often, that are timed for all
PEAK_RUNS = 20  # of what the machine is measured by, of which the fastest counts
MATRIX, COPIED = 1536, 2**24  # side of the matrices, and numbers copied, by which the machine is measured
LAW_SIDES = (16, 32, 64, 128, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class Product:
    """`count` products of an (m, n) and an (n, p) matrix."""

    m: int
    n: int
    p: int
    count: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates; each is two floating-point operations."""
        return self.count * self.m * self.n * self.p


@dataclass
class Tally:
    """What the operations of one layer add up to, in one direction."""

    products: list[Product] = field(default_factory=list)
    transform_flops: float = 0.0  # of Fourier transforms
    elements: int = 0  # written by operations that multiply no matrices
    bytes: int = 0  # read and written, were nothing kept near the processor

    @property
    def macs(self) -> int:
        return sum(product.macs for product in self.products)

    @property
    def flops(self) -> float:
        return 2 * self.macs + self.transform_flops


def matrix(left: Tensor, right: Tensor) -> list[Product]:
    """Of (..., m, n) and (..., n, p); a sparse left one counts the numbers that it holds."""
    if left.layout != torch.strided:
        return [Product(1, int(left._nnz()), right.shape[-1])]
    if right.layout != torch.strided:
        return [Product(left.shape[-2], int(right._nnz()), 1)]
    return [Product(left.shape[-2], left.shape[-1], right.shape[-1], math.prod(left.shape[:-2]))]


def convolution(inputs: Tensor, weight: Tensor, output: Tensor, transposed: bool, groups: int) -> Product:
    """As products of what a filter sees and the filters; a transposed one goes the other way, one input after another."""
    kernel = math.prod(weight.shape[2:])
    if transposed:  # weight (inputs, outputs / groups, ...)
        positions = inputs.shape[0] * math.prod(inputs.shape[2:])
        return Product(positions, weight.shape[0] // groups, weight.shape[1] * kernel, groups)
    positions = output.shape[0] * math.prod(output.shape[2:])
    return Product(positions, weight.shape[1] * kernel, weight.shape[0] // groups, groups)


def attention(query: Tensor, key: Tensor, value: Tensor) -> list[Product]:
    """Scores, and the mean by them: (B, H, N, width)."""
    count = math.prod(query.shape[:-2])
    length, others = query.shape[-2], key.shape[-2]
    return [Product(length, query.shape[-1], others, count), Product(length, others, value.shape[-1], count)]


def recurrent(inputs: Tensor, weights: list[Tensor]) -> list[Product]:
    """One layer, one direction: inputs (T, B, features) through each of the matrices among its weights."""
    return [Product(inputs.shape[0] * inputs.shape[1], weight.shape[1], weight.shape[0]) for weight in weights if weight.ndim == 2]


Args = tuple[Any, ...]
RULES: dict[str, Callable[[Args, Any], list[Product]]] = {  # by the operation's name, from its arguments and its answer
    "mm": lambda args, out: matrix(args[0], args[1]),
    "addmm": lambda args, out: matrix(args[1], args[2]),
    "bmm": lambda args, out: matrix(args[0], args[1]),
    "baddbmm": lambda args, out: matrix(args[1], args[2]),
    "_sparse_mm": lambda args, out: matrix(args[0], args[1]),
    "_sparse_addmm": lambda args, out: matrix(args[1], args[2]),
    "mv": lambda args, out: matrix(args[0], args[1][:, None]),
    "addmv": lambda args, out: matrix(args[1], args[2][:, None]),
    "dot": lambda args, out: [Product(1, len(args[0]), 1)],
    "convolution": lambda args, out: [convolution(args[0], args[1], out, args[6], args[8])],
    "convolution_backward": lambda args, out: [convolution(args[1], args[2], args[0], args[7], args[9])] * sum(args[10][:2]),
    "mkldnn_rnn_layer": lambda args, out: recurrent(args[0], list(args[1:5])),
    "mkldnn_rnn_layer_backward": lambda args, out: 2 * recurrent(args[0], list(args[1:5])),
    "_cudnn_rnn": lambda args, out: recurrent(args[0], list(args[1])),
    "_cudnn_rnn_backward": lambda args, out: 2 * recurrent(args[0], list(args[1])),
}
for _name in ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention"):
    RULES[f"_scaled_dot_product_{_name}"] = lambda args, out: attention(*args[:3])
    # scores once more, and the gradients of both products by both of their sides
    RULES[f"_scaled_dot_product_{_name}_backward"] = lambda args, out: 2 * attention(*args[1:4]) + attention(*args[1:4])[:1]


def transform_flops(name: str, args: Args, out: Tensor) -> float:
    """5 n log2 n for a complex transform of n numbers, half of it for a real one (Cooley and Tukey 1965)."""
    longer = args[0] if name == "_fft_r2c" else out
    length = math.prod(longer.shape[axis] for axis in args[1])
    count = longer.numel() / max(1, length)
    each = (5.0 if name == "_fft_c2c" else 2.5) * length * math.log2(max(2, length))
    return float(count * each)


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what takes place, by the innermost module in which it does."""

    def __init__(self, place: Callable[[], str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place = place
        self.tallies: dict[str, Tally] = {}
        self.unknown: Counter[str] = Counter()  # elements written, by the operation's name

    def __torch_dispatch__(self, func: Any, types: Any, args: Args = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view or func.overloadpacket.__name__ in FREE:
            return out
        tally = self.tallies.setdefault(self.place(), Tally())
        name = func.overloadpacket.__name__
        written = list(tensors(out))
        tally.bytes += sum(map(size, written)) + sum(map(size, tensors(args)))
        if name in RULES:
            tally.products += RULES[name](args, out)
        elif name.startswith("_fft"):
            tally.transform_flops += transform_flops(name, args, out)
        else:
            elements = sum(tensor.numel() for tensor in written)
            tally.elements += elements
            if elements and torch.Tag.pointwise not in func.tags and name not in SIMPLE:
                self.unknown[name] += elements
        return out


FREE = {
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "detach",
    "_unsafe_view",
    "lift_fresh",
    "arange",
    "resize_",
}
SIMPLE = {  # that read and write every element once or a few times
    "_adaptive_avg_pool2d", "_adaptive_avg_pool2d_backward", "_log_softmax", "_log_softmax_backward_data", "_softmax", "_softmax_backward_data",
    "_to_copy", "all", "amax", "any", "avg_pool2d", "avg_pool2d_backward", "cat", "clone", "constant_pad_nd", "copy_", "cumsum", "embedding",
    "embedding_dense_backward", "fill_", "flip", "full", "gather", "index", "index_add", "index_copy", "index_put", "index_select",
    "logsumexp", "max_pool2d_with_indices", "max_pool2d_with_indices_backward", "mean", "native_batch_norm", "native_batch_norm_backward",
    "native_dropout", "native_dropout_backward", "native_group_norm", "native_group_norm_backward", "native_layer_norm",
    "native_layer_norm_backward", "new_full", "new_ones", "new_zeros", "nll_loss_forward", "nll_loss_backward", "ones", "ones_like",
    "replication_pad1d", "replication_pad2d", "replication_pad2d_backward", "scalar_tensor", "scatter", "scatter_add", "select_backward",
    "slice_backward", "sort", "stack", "sum", "unsafe_split", "unfold_backward", "upsample_bilinear2d", "var_mean", "zero_", "zeros", "zeros_like",
    "_native_batch_norm_legit", "_native_batch_norm_legit_functional", "_cudnn_batch_norm", "rand_like", "bernoulli_", "zeros_",
}  # fmt: skip


def tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors(value)


def size(tensor: Tensor) -> int:
    numbers = tensor.numel() if tensor.layout == torch.strided else int(tensor._nnz())
    return numbers * tensor.element_size()


# --------------------------------------------------------------------------------------------------------------- a step


@dataclass
class LayerCost:
    """One layer of a step. `macs` is what its connections need; `executed_macs` what is multiplied, absent links included."""

    name: str
    kind: str
    parameters: int
    forward: Tally
    backward: Tally
    linked_macs: int | None = None  # where not all links exist
    forward_s: float = math.nan
    backward_s: float = math.nan

    @property
    def macs(self) -> int:
        return self.forward.macs if self.linked_macs is None else self.linked_macs

    @property
    def intensity(self) -> float:
        """Floating-point operations a byte, on the way there."""
        return self.forward.flops / max(1, self.forward.bytes)


@dataclass(frozen=True)
class Machine:
    """What it can do at most, as measured."""

    flops: float  # a second, in products of matrices
    bytes: float  # a second, read and written

    def share(self, layer: LayerCost) -> float:
        """Of the rate that the roofline (Williams et al. 2009) allows for the layer, on the way there."""
        allowed = min(self.flops, self.bytes * layer.intensity)
        return layer.forward.flops / layer.forward_s / allowed if allowed and layer.forward_s > 0 else 0.0


def count(module: nn.Module, inputs: Args, loss: Callable[[Any], Tensor]) -> tuple[list[LayerCost], Counter[str]]:
    """What every layer of a module costs in one step, and what was not counted: elements written, by operation."""
    tracker = ModuleTracker()

    def place() -> str:
        inside = [name for name in tracker.parents if name != "Global"]
        return max(inside, key=lambda name: name.count("."), default="").partition(".")[2]

    with tracker:
        with Counting(place) as there:
            answer = loss(module(*inputs))
        with Counting(place) as back:
            answer.backward()  # type: ignore[no-untyped-call]
    directions = (there.tallies, back.tallies)
    module.zero_grad(set_to_none=True)
    parts = dict(module.named_modules())
    names = [name for name in parts if any(name in tallies for tallies in directions)]
    layers = []
    for name in names:
        part = parts[name]
        own = sum(parameter.numel() for parameter in part.parameters(recurse=False))
        forward, backward = (tallies.get(name, Tally()) for tallies in directions)
        layer = LayerCost(name, type(part).__name__, own, forward, backward)
        if isinstance(part, ConnectedConv):
            layer.linked_macs = forward.macs * part.links // (len(part.table) * part.inputs)
        layers.append(layer)
    return layers, there.unknown + back.unknown


def measure(module: nn.Module, inputs: Args, layers: list[LayerCost]) -> None:
    """Fill in how long each layer takes by itself, the layers within it left out: the median of RUNS."""
    parts = dict(module.named_modules())
    wanted = {layer.name: layer for layer in layers}
    kept: dict[str, list[Args]] = {name: [] for name in wanted}

    def keep(name: str, part: nn.Module, args: Args, answer: None) -> None:
        kept[name].append(tuple(arg.detach().clone() if isinstance(arg, Tensor) else arg for arg in args))  # it may be overwritten

    with watching({name: parts[name] for name in wanted}, keep, before=True), torch.no_grad():
        module(*inputs)
    whole: dict[str, tuple[float, float]] = {}  # with the layers within
    for name, calls in kept.items():
        if calls:
            found = [times_s(parts[name], args) for args in calls[:CALLS]]
            there_s, back_s = (sum(times) * len(calls) / len(found) for times in zip(*found, strict=True))
            whole[name] = there_s, back_s
            wanted[name].forward_s, wanted[name].backward_s = there_s, back_s
    for name, (there_s, back_s) in whole.items():
        around = wanted.get(nearest(name, wanted))
        if around and around is not wanted[name]:
            around.forward_s, around.backward_s = around.forward_s - there_s, around.backward_s - back_s
    for layer in layers:
        layer.forward_s, layer.backward_s = max(0.0, layer.forward_s), max(0.0, layer.backward_s)


def nearest(name: str, wanted: dict[str, LayerCost]) -> str:
    """The layer in which one lies."""
    while name:
        name = name.rpartition(".")[0]
        if name in wanted:
            return name
    return ""


def times_s(part: nn.Module, args: Args) -> tuple[float, float]:
    """Median times there and back."""
    leaves = tuple(arg.detach().requires_grad_() if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args)
    there, back = [], []
    for _ in range(RUNS + 1):  # the first one warms up
        started = time.perf_counter()
        answers = [
            answer
            for answer in tensors(part(*(leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves)))
            if answer.requires_grad
        ]
        middle = time.perf_counter()
        if answers:
            torch.autograd.backward(answers, [torch.ones_like(answer) for answer in answers])
        there.append(middle - started)
        back.append(time.perf_counter() - middle)
    return statistics.median(there[1:]), statistics.median(back[1:])


def machine() -> Machine:
    """The best of PEAK_RUNS products and copies of float32."""
    left, right = (torch.randn(MATRIX, MATRIX) for _ in range(2))
    source, target = torch.randn(COPIED), torch.empty(COPIED)
    product_s = min(elapsed_s(lambda: left @ right) for _ in range(PEAK_RUNS))
    copy_s = min(elapsed_s(lambda: target.copy_(source)) for _ in range(PEAK_RUNS))
    return Machine(2 * MATRIX**3 / product_s, 2 * 4 * COPIED / copy_s)


def law() -> list[tuple[int, float]]:
    """m x n x p and the seconds of such a product, for m = n = p from small to large."""
    found = []
    for side in LAW_SIDES:
        left, right = (torch.randn(side, side) for _ in range(2))
        found.append((side**3, min(elapsed_s(partial(torch.mm, left, right)) for _ in range(RUNS))))
    return found


def elapsed_s(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

"""The chain rule, verified: f(x + h d) = f(x) + h f'(x) d + O(h**2) along any direction d.

What a first-order Taylor model leaves over falls with the square of the step where the gradient is right, and with the step itself where it
is wrong: the slope of the remainder over halving steps, on logarithmic axes, is the *order*, 2 or 1. Beside it stands the derivative by
central differences, extrapolated to step 0 (Richardson 1911). Everything is measured in float64 and cut off where rounding begins.
"""

import copy
import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from hemony.errors import UsageError

Point = dict[str, Tensor]  # float64 tensors by name
Function = Callable[[Point], Tensor]  # a point to a scalar

INPUT, DATA = "input", "<input>"  # the name of the input among the layers, and its keys in a point, which no parameter has
DIRECTIONS = 5  # random ones; the gradient's own comes beside them
SMOOTH_STEP, KINKED_STEP = 1e-2, 1e-4  # the first of the halving steps: many kinks lie within a large one
HALVINGS = 34
BEYOND = 2  # of them that are followed into the rounding
CLEAR = 100.0  # times the rounding that a remainder has to be
LAST = 4  # halvings whose orders count, the smallest steps that are clear of rounding: there the square is all that is left
FLAT = 1e-9  # of a derivative by central differences, that is none
LEAST_ORDER = {True: 1.9, False: 1.5}  # smooth or not
CONTROL = 1.01  # times the right gradient is a wrong one
CENTRAL_STEP = {True: 1e-3, False: 1e-7}  # smooth or not
AGREE = {True: 1e-7, False: 1e-3}  # of the steepest derivative, that central differences may be off
SURE = 1e-2  # of what central differences may be off, from which a low order is put down to kinks or a lack of curvature
ZERO = 1e-12  # a directional derivative of less is none
KINKS = {
    "_prelu_kernel", "abs", "adaptive_max_pool2d", "adaptive_max_pool3d", "amax", "amin", "aminmax", "ceil", "clamp", "clamp_max", "clamp_min",
    "cummax", "cummin", "floor", "frac", "fractional_max_pool2d", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "kthvalue", "leaky_relu",
    "max", "max_pool1d", "max_pool2d_with_indices", "max_pool3d_with_indices", "maximum", "median", "min", "minimum", "relu", "remainder", "round",
    "rrelu_with_noise", "sign", "softshrink", "sort", "threshold", "topk", "trunc", "where",
}  # fmt: skip


class Verdict(Enum):
    right = "right"
    wrong = "wrong"
    unjudged = "not judged"  # its control is not found wrong: rounding is too large, or what is computed in float32
    zero = "zero gradient"  # and the function does not change either: a bias before batch norm, a dead layer


@dataclass(frozen=True)
class Ray:
    """What a function does along one direction."""

    derivative: float  # of the gradient that is judged
    central: float  # by central differences
    steps: list[float]  # halving
    changes: list[float]  # f(x + h d) - f(x) for each
    floor: float  # of a remainder that is clear of rounding

    def remainders(self, scale: float = 1.0) -> list[float]:
        """Beside the first-order model by `scale` times the gradient."""
        return [abs(change - scale * step * self.derivative) for step, change in zip(self.steps, self.changes, strict=True)]

    def order(self, scale: float = 1.0) -> float | None:
        """Median over the smallest steps that are clear of rounding; None where none are: as far as can be told the model is exact."""
        clear = []
        for remainder, step, change in zip(self.remainders(scale), self.steps, self.changes, strict=True):
            if remainder < self.floor + rounded(change, step * self.derivative):
                break
            clear.append(remainder)
        orders = [math.log2(larger / smaller) for larger, smaller in itertools.pairwise(clear)]
        return statistics.median(orders[-LAST:]) if orders else None


def rounded(*values: float) -> float:
    """What the difference of such numbers may be off by, many times over."""
    return CLEAR * torch.finfo(torch.float64).eps * sum(map(abs, values))


@dataclass(frozen=True)
class Check:
    """The gradient of one layer's parameters, or of the input."""

    name: str
    verdict: Verdict
    order: float | None  # None where the function is linear as far as can be told, or the gradient zero
    control_order: float | None  # of the same gradient times CONTROL
    relative_error: float  # beside central differences, of the steepest derivative
    derivative: float  # the steepest one
    rays: list[Ray]  # the gradient's own direction first
    smooth: bool  # whether the function has no kinks


def check(
    function: Function,
    point: Point,
    gradient: Point,
    layers: dict[str, list[str]],
    smooth: bool,
    seed: int = 0,
    coarse: bool = False,
) -> list[Check]:
    """Judge `gradient`, float64 tensors as in `point`, layer by layer: `layers` says which tensors are a layer's.

    `coarse`: something in the function is rounded to less than float64.
    """
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        here = float(function(point))
        noise = rounding(function, point, here, draw, 1e-6 if coarse else 1e-12)
        return [check_layer(function, point, gradient, name, keys, here, noise, smooth, draw) for name, keys in layers.items()]


def check_layer(
    function: Function, point: Point, gradient: Point, name: str, keys: Sequence[str], here: float, noise: float, smooth: bool, draw: Generator
) -> Check:  # fmt: skip
    own = {key: gradient[key] for key in keys}
    directions = [
        unit({key: torch.randn(point[key].shape, generator=draw, dtype=torch.float64) for key in keys}) for _ in range(DIRECTIONS)
    ]
    if norm(own) > ZERO:
        directions.insert(0, unit(own))
    along = [sum(float((own[key] * direction[key]).sum()) for key in keys) for direction in directions]
    steepest = max(map(abs, along))
    if steepest < ZERO:
        slopes = [abs(central(function, point, way, smooth)) for way in directions]
        flat = max(slopes) <= FLAT + CLEAR * noise / CENTRAL_STEP[smooth]
        return Check(name, Verdict.zero if flat else Verdict.wrong, None, None, 0.0 if flat else 1.0, max(slopes), [], smooth)
    rays = [cast(function, point, way, slope, here, noise, smooth) for way, slope in zip(directions, along, strict=True)]
    choose = min if smooth else statistics.median
    orders, controls = ([order for ray in rays if (order := ray.order(scale)) is not None] for scale in (1.0, CONTROL))
    order, control = (choose(found) if found else None for found in (orders, controls))
    errors = [abs(ray.derivative - ray.central) for ray in rays]
    error = max(errors) if smooth else errors[0]  # the steepest: along others there is little to be wrong, and kinks nearby
    allowed = AGREE[smooth] * steepest + CLEAR * noise / CENTRAL_STEP[smooth]
    clear = order is None or order > LEAST_ORDER[smooth]
    proved = error <= SURE * allowed  # kinks lie within the steps, or f'' all but vanishes, and the gradient is right all the same
    verdict = Verdict.right if error <= allowed and (clear or proved) else Verdict.wrong
    if verdict is Verdict.right and (control is None or control > LEAST_ORDER[False]):
        verdict = Verdict.unjudged
    return Check(name, verdict, order, control, error / steepest, steepest, rays, smooth)


def cast(function: Function, point: Point, direction: Point, derivative: float, here: float, noise: float, smooth: bool) -> Ray:
    """Follow the function along a direction, by ever smaller steps until rounding is all that is left."""

    def change(step: float) -> float:
        return float(function(stepped(point, direction, step))) - here

    floor = CLEAR * noise
    steps: list[float] = []
    changes: list[float] = []
    step = SMOOTH_STEP if smooth else KINKED_STEP
    below = 0
    while len(steps) < HALVINGS and below < BEYOND:
        steps.append(step)
        changes.append(change(step))
        below += abs(changes[-1] - step * derivative) < floor + rounded(changes[-1], step * derivative)
        step /= 2
    return Ray(derivative, central(function, point, direction, smooth), steps, changes, floor)


def central(function: Function, point: Point, direction: Point, smooth: bool) -> float:
    """The derivative along a direction by central differences; a smooth function's is extrapolated to step 0."""

    def slope(step: float) -> float:
        return float(function(stepped(point, direction, step)) - function(stepped(point, direction, -step))) / (2 * step)

    wide = CENTRAL_STEP[smooth]
    return (4 * slope(wide / 2) - slope(wide)) / 3 if smooth else slope(wide)


def rounding(function: Function, point: Point, here: float, draw: Generator, least: float) -> float:
    """How far an evaluation of the function may be off: what second differences leave, over steps too small for anything else to be left."""
    along = unit({key: torch.randn(value.shape, generator=draw, dtype=torch.float64) for key, value in point.items()})
    spread = [torch.finfo(torch.float64).eps * abs(here)]
    for count in range(1, 9):
        beside = [float(function(stepped(point, along, side * count * least))) for side in (-1, 1)]
        spread.append(abs(sum(beside) - 2 * here) / 2)
    return max(spread)


def stepped(point: Point, direction: Point, step: float) -> Point:
    """Where one comes to along a direction that some of the tensors have."""
    return {**point, **{key: point[key] + step * value for key, value in direction.items()}}


def norm(tensors: Point) -> float:
    return math.sqrt(sum(float(value.square().sum()) for value in tensors.values()))


def unit(tensors: Point) -> Point:
    length = norm(tensors)
    return {key: value / length for key, value in tensors.items()}


# --------------------------------------------------------------------------------------------------------------- modules


@dataclass(frozen=True)
class Subject:
    """A module as a function of its parameters and of its input, in float64, with dropout off and batch statistics of the very batch."""

    function: Function
    point: Point
    layers: dict[str, list[str]]
    smooth: bool
    coarse: bool  # something in it is rounded to less than float64

    @property
    def gradient(self) -> Point:
        """By backpropagation."""
        leaves = {key: value.detach().requires_grad_() for key, value in self.point.items()}
        found = torch.autograd.grad(self.function(leaves), list(leaves.values()), allow_unused=True)
        return {
            key: torch.zeros_like(leaf) if value is None else value.detach()
            for (key, leaf), value in zip(leaves.items(), found, strict=True)
        }


def subject(module: nn.Module, inputs: tuple[Any, ...], loss: Callable[[Any], Tensor] | None = None) -> Subject:
    """`loss` makes a scalar of what the module answers; a fixed random projection if it is not given. The module itself is left as it is.

    Raises UsageError for one that answers differently each time, or with no tensor where no `loss` is given.
    """
    own = deterministic(module)
    inputs = tuple(exact(value) for value in inputs)
    if loss is None:
        loss = projection(own(*inputs))
    parameters = {name: parameter.detach().clone() for name, parameter in own.named_parameters()}
    buffers = {name: buffer.detach().clone() for name, buffer in own.named_buffers()}
    floating = {
        f"{DATA}{place or ''}": value
        for place, value in enumerate(inputs)
        if isinstance(value, Tensor) and value.is_floating_point()
    }

    def function(point: Point) -> Tensor:
        given = [point.get(f"{DATA}{place or ''}", value) for place, value in enumerate(inputs)]
        weights = {name: point[name] for name in parameters}
        kept = {name: buffer.clone() for name, buffer in buffers.items()}  # batch norm counts in them
        assert loss is not None
        return loss(functional_call(own, (weights, kept), tuple(given)))

    layers: dict[str, list[str]] = {}
    for name in parameters:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    for key in floating:
        name = key.replace(DATA, INPUT)
        layers[key if name in layers else name] = [key]
    point = {**parameters, **floating}
    with Witness() as witness, torch.no_grad():
        first = function(point)
    if not torch.equal(first, function(point)):
        raise UsageError("the module answers differently to the same input: what is drawn at random cannot be judged")
    return Subject(function, point, layers, smooth=not witness.seen & KINKS, coarse=witness.coarse)


def deterministic(module: nn.Module) -> nn.Module:
    """A copy in float64 and in training mode, of which nothing is drawn at random."""
    own = copy.deepcopy(module).double().train()
    for part in own.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.eval()
        elif isinstance(getattr(part, "dropout", None), float):  # recurrent layers and attention
            part.dropout = 0.0  # type: ignore[assignment]
    return own


def exact(value: Any) -> Any:
    return value.detach().double() if isinstance(value, Tensor) and value.is_floating_point() else value


def projection(answer: Any, dtype: torch.dtype = torch.float64) -> Callable[[Any], Tensor]:
    """A fixed random weight for every number of an answer, or of the first part of one that has several (as recurrent layers give)."""

    def first(answer: Any) -> Tensor:
        while isinstance(answer, tuple | list) and len(answer):
            answer = answer[0]
        if not isinstance(answer, Tensor):
            raise UsageError(f"the module answers with {type(answer).__name__}, and not with a tensor")
        return answer

    shape = first(answer).shape
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) / math.sqrt(max(1, shape.numel()))
    return lambda answer: (first(answer) * weights).sum()


class Witness(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The names of the operations that take place."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()
        self.coarse = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.overloadpacket.__name__.rstrip("_"))
        self.coarse |= (kwargs or {}).get("dtype") in (torch.float32, torch.float16, torch.bfloat16)
        return func(*args, **(kwargs or {}))

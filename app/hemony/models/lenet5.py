"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998), whose third layer sees its inputs through k-of-n combinations.

C1 makes 6 maps; each of C3's 16 maps sees only some of them. Historically 6 maps see 3 neighbouring inputs, 9 see 4 and one sees
all 6: 60 of 96 links, 1,516 parameters. Which combinations those are is table I of the paper.
"""

import itertools
import re

import torch
from torch import Tensor, nn

from hemony.errors import UsageError

HISTORICAL = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),  # 6 of the C(6,3) = 20 triples: neighbours
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),  # 6 of the C(6,4) = 15 quadruples: neighbours
    *((i, (i + 1) % 6, (i + 3) % 6, (i + 4) % 6) for i in range(3)),  # 3 more: two pairs
    tuple(range(6)),  # C(6,6)
)


def combinations_of(count: int, inputs: int, chosen: int) -> list[tuple[int, ...]]:
    """`count` of the C(inputs, chosen) combinations, spread evenly over their lexicographic order; again from the start if more."""
    every = list(itertools.combinations(range(inputs), chosen))
    return [every[(index * len(every) // count) if count <= len(every) else index % len(every)] for index in range(count)]


def connection_table(rule: str, inputs: int = 6) -> list[tuple[int, ...]]:
    """The inputs that each output map sees.

    `rule` is `historical`, `dense`, or COUNTxK parts joined by commas: `6x3,9x4,1x6` is 6 maps that see 3 inputs each, 9 that see
    4 and one that sees 6, drawn from C(6, K). Raises UsageError for anything else.
    """
    if rule == "historical":
        return list(HISTORICAL)
    if rule == "dense":
        return [tuple(range(inputs))] * 16
    table = []
    for part in rule.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})x(\d)\s*", part)
        if not match or not int(match[1]) or not 1 <= int(match[2]) <= inputs:
            raise UsageError(
                f"model.connections={rule} is not historical, dense, or COUNTxK parts with K from 1 to {inputs}, such as 6x3,9x4,1x6"
            )
        table += combinations_of(int(match[1]), inputs, int(match[2]))
    return table


class ConnectedConv(nn.Module):
    """A convolution whose output map i sees only the inputs `table[i]`: (N, n, H, W) -> (N, len(table), H-4, W-4).

    Only the weights of the links exist: 25 for each link, and a bias for each map.
    """

    places: Tensor

    def __init__(self, inputs: int, table: list[tuple[int, ...]], kernel_px: int = 5) -> None:
        super().__init__()
        self.inputs = inputs
        self.table = table
        self.kernel_px = kernel_px
        self.weight = nn.Parameter(torch.empty(self.links, kernel_px, kernel_px))
        self.bias = nn.Parameter(torch.zeros(len(table)))
        fans = torch.cat([torch.full((len(seen),), float(len(seen))) for seen in table]) * kernel_px**2
        with torch.no_grad():  # standard deviation fan-in ** -1/2 (LeCun et al. 1998, Efficient BackProp, section 4.6)
            self.weight.uniform_(-(3**0.5), 3**0.5).div_(fans[:, None, None].sqrt())
        places = [output * inputs + seen for output, inputs_seen in enumerate(table) for seen in inputs_seen]
        self.register_buffer("places", torch.tensor(places), persistent=False)

    @property
    def links(self) -> int:
        return sum(map(len, self.table))

    def forward(self, maps: Tensor) -> Tensor:
        dense = self.weight.new_zeros(len(self.table) * self.inputs, self.kernel_px, self.kernel_px)
        dense = dense.index_copy(0, self.places, self.weight)  # (outputs * inputs, k, k); absent links stay zero
        weight = dense.view(len(self.table), self.inputs, self.kernel_px, self.kernel_px)
        return nn.functional.conv2d(maps, weight, self.bias)


class Subsample(nn.Module):
    """The mean of each 2 x 2, scaled and shifted by a trained coefficient and bias for each map: (N, C, H, W) -> (N, C, H/2, W/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(maps, 2) * self.scale + self.bias


class LeNet5(nn.Module):
    """Normalised images (N, channels, S, S), S of any size, to logits (N, classes): S is brought to the paper's 32 pixels.

    The output layer is linear with softmax cross-entropy in place of the paper's radial basis functions.
    """

    def __init__(self, channels: int, classes: int, connections: str = "historical") -> None:
        super().__init__()
        self.table = connection_table(connections)
        self.c1 = nn.Conv2d(channels, 6, 5)
        self.s2 = Subsample(6)
        self.c3 = ConnectedConv(6, self.table)
        self.s4 = Subsample(len(self.table))
        self.c5 = nn.Conv2d(len(self.table), 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        images = self.to_32_pixels(images)
        maps = torch.tanh(self.s2(self.c1(images)))  # (N, 6, 14, 14)
        maps = torch.tanh(self.s4(self.c3(maps)))  # (N, 16, 5, 5)
        features = torch.tanh(self.c5(maps)).flatten(1)  # (N, 120)
        logits: Tensor = self.output(torch.tanh(self.f6(features)))
        return logits

    def to_32_pixels(self, images: Tensor) -> Tensor:
        """28-pixel images get the paper's border of 2; others are scaled."""
        side = images.shape[-1]
        if side == 28:
            return nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
        if side == 32:
            return images
        return nn.functional.interpolate(images, (32, 32), mode="bilinear", antialias=True)

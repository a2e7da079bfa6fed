"""Numbers that half precision is too coarse for, at the precision that they need, and no less than they have."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision as float32. float64 stays: in it gradients are verified."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

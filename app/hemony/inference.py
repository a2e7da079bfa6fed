"""Running a recogniser over batches of inputs: the same way while training, evaluating and classifying."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from hemony.models import Recogniser


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


@torch.inference_mode()
def predict_logits(recogniser: Recogniser, batches: Iterable[Tensor], device: torch.device, bf16: bool) -> Tensor:
    """Logits, float32 (N, classes) on the CPU, for batches of what its view sees."""
    recogniser.eval().to(device).to(memory_format=torch.channels_last)
    parts = []
    for inputs in batches:
        inputs = inputs.to(device)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with autocast(device, bf16):
            parts.append(recogniser.predict(inputs).float().cpu())
    return torch.cat(parts) if parts else torch.empty(0)

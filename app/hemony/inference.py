"""Running a recogniser over batches of images: the same way while training, evaluating and classifying."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from hemony.models import Recogniser


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


@torch.inference_mode()
def predict_logits(recogniser: Recogniser, batches: Iterable[Tensor], device: torch.device, bf16: bool) -> Tensor:
    """Logits, float32 (N, classes) on the CPU, for batches of uint8 (B, C, S, S)."""
    recogniser.eval().to(device).to(memory_format=torch.channels_last)
    parts = []
    for images in batches:
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        with autocast(device, bf16):
            parts.append(recogniser.predict(images).float().cpu())
    return torch.cat(parts) if parts else torch.empty(0)

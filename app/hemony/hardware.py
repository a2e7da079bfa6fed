"""What this machine is and what it is good at."""

import ctypes
import functools
import os
import platform
import sys
from contextlib import AbstractContextManager
from importlib import metadata

import torch
from threadpoolctl import ThreadpoolController
from torch import nn

from hemony.config import Accelerator, Precision
from hemony.errors import UsageError


def pick_device(accelerator: Accelerator) -> torch.device:
    """The GPU where there is one and it is not refused, else the CPU. Raises UsageError for `gpu` without one."""
    if accelerator is Accelerator.cpu:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if accelerator is Accelerator.gpu:
        raise UsageError("a GPU is asked for, but torch sees none; `hemony doctor` says why, `auto` uses the CPU")
    return torch.device("cpu")


def gains_by_bf16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 ones: GPUs since Ampere, CPUs with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def use_bf16(precision: Precision, device: torch.device) -> bool:
    return precision is Precision.bf16 or (precision is Precision.auto and gains_by_bf16(device))


def trains_in_bf16(precision: Precision, device: torch.device, network: nn.Module) -> bool:
    """`use_bf16`, but on a CPU not by choice for a network with depthwise convolutions.

    oneDNN 3 reads memory that nobody has written when it computes the gradient of a 5x5 depthwise filter over a 1x1 map in bfloat16:
    a weight that should rest gets a random step, NaN now and then (seen with torch 2.14 and MobileNetV3 on 16-pixel images: half of
    the resumed runs ended elsewhere, none in float32).
    """
    depthwise = any(isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels for layer in network.modules())
    return use_bf16(precision, device) and not (precision is Precision.auto and device.type == "cpu" and depthwise)


def keep_freed_memory() -> None:
    """Let the C library keep the memory that tensors free, for the next ones; glibc only, elsewhere nothing happens.

    A step then finds its memory mapped already instead of asking the system for each large tensor anew: 5 to 10 % of a training
    step on two cores.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for parameter, value in ((-4, 0), (-1, 2**31 - 1)):  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
            library.mallopt(parameter, value)


def one_blas_thread() -> AbstractContextManager[object]:
    """Linear algebra by one thread: between many small products, those of OpenBLAS spend their time on waiting for each other."""
    limited: AbstractContextManager[object] = _thread_pools().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def describe(device: torch.device) -> dict[str, str]:
    """The machine, for the record beside every figure."""
    return {
        "processor": f"{torch.cpu.get_capabilities().get('cpu_name') or platform.processor()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """What was installed, by distribution."""
    names = ("hemony", "torch", "torchvision", "lightning", "hydra-core", "numpy", "pillow", "soundfile", "soxr")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def log(message: str) -> None:
    """A line of progress, on stderr."""
    print(message, file=sys.stderr, flush=True)

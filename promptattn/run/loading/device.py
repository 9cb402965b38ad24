"""Devices and number formats by name, checked against what this machine has."""

import warnings
from typing import Any

import torch

from promptattn.errors import ConfigError, PromptAttnWarning

__all__ = ["resolve_device", "resolve_dtype"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: Any) -> torch.device:
    """The torch device that `auto`, `cpu`, `cuda`, `cuda:1`, `mps` or a torch.device means; None is the CPU.

    Raises:
        ConfigError: for a name that is none, or a device that this machine or this torch does not have.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        found = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError):
        raise ConfigError(f"device={device!r} is no device; choose auto, cpu, cuda, cuda:1 or mps.") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={device}: torch {torch.__version__} finds no CUDA GPU here; use cpu, or auto.")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={device}: there are only {torch.cuda.device_count()} GPUs, counted from 0.")
    if found.type == "mps" and not _has_mps():
        raise ConfigError(f"device={device}: torch {torch.__version__} finds no Apple GPU here; use cpu, or auto.")
    return found


def resolve_dtype(dtype: Any, device: torch.device) -> torch.dtype:
    """The torch dtype that a name or a torch.dtype means; `auto` is float32 on the CPU, bfloat16 on a GPU that has it.

    Warns of float16 on the CPU, and raises ConfigError for a name that is none.
    """
    if dtype == "auto":
        if device.type == "cpu":
            return torch.float32
        old = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.float16 if old else torch.bfloat16
    found = _DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigError(f"dtype={dtype!r} is no number format for weights; choose auto, {', '.join(_DTYPES)}.")
    if found == torch.float16 and device.type == "cpu":
        warnings.warn(
            "float16 on the CPU is many times slower than bfloat16 or float32, and some layers have none; choose one of"
            " these (dtype: auto does).",
            PromptAttnWarning,
            stacklevel=3,
        )
    return found


def _has_mps() -> bool:
    return torch.backends.mps.is_available()

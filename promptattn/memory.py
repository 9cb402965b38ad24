"""How much memory is in use and how much there is. Imports torch only if somebody has done so already."""

import sys
from typing import Any

__all__ = ["free", "readable", "total", "used"]


def used() -> int:
    """Bytes that this process holds: on the GPU where it uses one, and else in main memory."""
    torch = _torch_on_gpu()
    if torch is not None:
        return int(torch.cuda.memory_reserved())
    import psutil

    return int(psutil.Process().memory_info().rss)


def free(device: Any = "cpu") -> int:
    """Bytes that can still be had on a device."""
    if str(device).startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def total(device: Any = "cpu") -> int:
    """Bytes of memory that a device has."""
    if str(device).startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[1])
    import psutil

    return int(psutil.virtual_memory().total)


def readable(size: float) -> str:
    """`850 MB`, `4.9 GB`: bytes for people, in powers of 1000."""
    for unit, digits in (("B", 0), ("KB", 0), ("MB", 0), ("GB", 1)):
        if size < 999.5 or unit == "GB":
            return f"{size:.{digits}f} {unit}"
        size /= 1000
    raise AssertionError


def _torch_on_gpu() -> Any:
    torch = sys.modules.get("torch")
    # A progress bar asks while another thread is still importing torch, and it has only some of its parts.
    started = getattr(getattr(torch, "cuda", None), "is_initialized", None)
    return torch if started is not None and started() else None

"""Where images can be made: the CPU and what torch finds beside it, and how much memory there is."""

import os
import platform
from collections.abc import Iterator

from promptattn.doctor.checks import Check
from promptattn.memory import free, readable, total

__all__ = ["look_at_devices"]

_GROUP = "devices"


def look_at_devices() -> Iterator[Check]:
    """The CPU, every GPU, and what `--device auto` is here."""
    import torch

    name = platform.processor() or platform.machine()
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads in torch"
    yield Check(_GROUP, "cpu", "fine", f"{name}, {cores}, {_room('cpu')}")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = f"cuda:{index}"
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        formats = "bfloat16 and float16" if bfloat16 else "float16, no bfloat16"
        yield Check(_GROUP, device, "fine", f"{torch.cuda.get_device_name(index)}, {_room(device)}, {formats}")
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        why = f"torch is built for it ({built}) and finds none" if built else "this torch is built without"
        advice = "check the driver with nvidia-smi" if built else "with an NVIDIA GPU, choose a torch at pytorch.org"
        yield Check(_GROUP, "cuda", "absent", why, advice)
    mps = torch.backends.mps.is_available()
    if mps or platform.system() == "Darwin":
        yield Check(_GROUP, "mps", "fine" if mps else "absent", "Apple GPU" if mps else "torch finds no Apple GPU")
    from promptattn.run.loading.device import resolve_device, resolve_dtype

    auto = resolve_device("auto")
    dtype = str(resolve_dtype("auto", auto)).removeprefix("torch.")
    yield Check(_GROUP, "auto", "fine", f"--device auto is {auto}, in {dtype} unless the preset says otherwise")
    yield _several_processes()


def _room(device: str) -> str:
    return f"{readable(free(device))} of {readable(total(device))} free"


def _several_processes() -> Check:
    import torch

    if not torch.distributed.is_available():
        return Check(_GROUP, "processes", "absent", "this torch runs one process only (accelerate launch cannot work)")
    nccl = torch.cuda.is_available() and torch.distributed.is_nccl_available()
    backend = "nccl" if nccl else "gloo" if torch.distributed.is_gloo_available() else ""
    if not backend:
        return Check(_GROUP, "processes", "absent", "torch has no backend for several processes")
    return Check(_GROUP, "processes", "fine", f"several with accelerate launch, over {backend}")

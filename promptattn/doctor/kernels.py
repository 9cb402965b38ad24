"""Which attention kernels give back their log-sum-exp here, each tried and held against plain softmax."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from promptattn.doctor.checks import Check, State

if TYPE_CHECKING:
    from promptattn.core.kernels import Kernel

__all__ = ["look_at_kernels"]

_GROUP = "attention"
_SHAPE = (1, 2, 64, 32)


def look_at_kernels() -> Iterator[Check]:
    """Every fused kernel of the core, and which of them is used for which number format."""
    import torch

    from promptattn.core.kernels import KERNELS

    for kernel in KERNELS.values():
        there = kernel.device == "cpu" or torch.cuda.is_available()
        if not there:
            yield Check(_GROUP, kernel.name, "absent", f"needs {kernel.device}")
            continue
        yield _tried(kernel)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        yield Check(_GROUP, f"chosen on {device}", "fine", "; ".join(_choices(device)))


def _tried(kernel: "Kernel") -> Check:
    import torch

    from promptattn.core.kernels import run_with_lse

    dtype = torch.float32 if kernel.device == "cpu" else torch.float16
    generator = torch.Generator("cpu").manual_seed(0)
    exact = [torch.randn(_SHAPE, generator=generator, dtype=torch.float64) for _ in range(3)]
    query, key, value = (each.to(kernel.device, dtype) for each in exact)
    try:
        output, lse = run_with_lse(kernel, query, key, value, None, False, None)
    # An operator that this build or this GPU lacks says so in its own way.
    except Exception as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        # On a GPU another kernel serves in its place; on the CPU there is no other.
        state: State = "broken" if kernel.device == "cpu" else "absent"
        return Check(_GROUP, kernel.name, state, f"does not run here: {first}"[:160])
    query, key, value = (each.to("cpu", torch.float64) for each in (query, key, value))
    scores = query @ key.transpose(-2, -1) * _SHAPE[-1] ** -0.5
    wrong = max(
        float((scores.softmax(-1) @ value - output.cpu()).abs().max()),
        float((scores.logsumexp(-1) - lse.cpu()).abs().max()),
    )
    if not wrong < 64 * torch.finfo(dtype).eps:  # NaN is wrong too
        advice = "its maps would be wrong: report it, and use another --device"
        return Check(_GROUP, kernel.name, "broken", f"is off by {wrong:.2g} from plain softmax", advice)
    return Check(_GROUP, kernel.name, "fine", f"gives back its log-sum-exp, within {wrong:.0e} of plain softmax")


def _choices(device: str) -> Iterator[str]:
    import torch

    from promptattn.core.kernels import chosen_by_sdpa

    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        sample = torch.empty(_SHAPE, device=device, dtype=dtype)
        kernel = chosen_by_sdpa(sample, sample, sample, None, False, None, False)
        yield f"{str(dtype).removeprefix('torch.')}: {'plain softmax' if kernel is None else kernel.name}"

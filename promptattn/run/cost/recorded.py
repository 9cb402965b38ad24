"""How much memory the maps of a run take."""

from collections.abc import Mapping
from typing import Any

from promptattn.maps.capture import Capture
from promptattn.maps.recorder import ALL_STEPS, Recorder
from promptattn.selection import in_steps

__all__ = ["bytes_recorded"]


def bytes_recorded(recorders: Mapping[Any, Recorder], capture: Capture, steps: int) -> int:
    """Bytes of all sums, once every one of `steps` that is to be recorded is; exact from the first of these on."""
    wanted = sum(in_steps(capture.steps, step, steps) for step in range(steps))
    held = 0
    for recorder in recorders.values():
        for layer in recorder.layers.values():
            apart = {step for step, _ in layer.sums if step != ALL_STEPS}
            for (step, _), part in layer.sums.items():
                size = part.total.numel() * part.total.element_size()
                held += size if step == ALL_STEPS else size * wanted // len(apart)
    return held

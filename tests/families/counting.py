"""Counting the attention calls of a whole pipeline from outside, in whatever guise they come.

Twice: by the functions that are called (`scaled_dot_product_attention` and its like), and by what these come to in the
end, the kernels and the softmaxes. Where the two disagree, somebody attends without being seen.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from promptattn.processors import site

Place = tuple[str, str]
"""A component of the pipeline and the name of the module in it that attends: the layer with a processor, if any."""

FUNCTIONS = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
KERNELS = ("_scaled_dot_product", "_flash_attention", "_efficient_attention", "flex_attention", "sdpa")
SOFTMAXES = ("_softmax", "_safe_softmax")


@dataclass
class Tally:
    """Attention calls by where they were made.

    Attributes:
        functions: by the function called.
        kernels: by the kernel run, or the softmax where attention is worked out in steps.
        recorded: those of which promptattn kept columns.
    """

    functions: Counter[Place] = field(default_factory=Counter)
    kernels: Counter[Place] = field(default_factory=Counter)
    recorded: Counter[Place] = field(default_factory=Counter)


@contextlib.contextmanager
def counted(pipe: Any) -> Iterator[Tally]:
    """Count what the components of a pipeline attend to, inside the block."""
    tally = Tally()
    running: list[tuple[Place, torch.nn.Module]] = []

    def place() -> Place:
        layers = [here for here, module in running if hasattr(module, "processor")]
        return layers[-1] if layers else running[-1][0] if running else ("", "")

    own = site.attention

    def attention(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("capture"):
            tally.recorded[place()] += 1
        return own(*args, **kwargs)

    with contextlib.ExitStack() as stack:
        for component, model in pipe.components.items():
            for name, module in model.named_modules() if isinstance(model, torch.nn.Module) else ():
                here = (component, name), module
                stack.callback(module.register_forward_pre_hook(lambda *_, here=here: running.append(here)).remove)
                stack.callback(module.register_forward_hook(lambda *_: running.pop() and None, always_call=True).remove)
        site.attention = attention
        stack.callback(setattr, site, "attention", own)
        stack.enter_context(_Functions(tally.functions, place))
        stack.enter_context(_Kernels(tally.kernels, place))
        yield tally


class _Functions(TorchFunctionMode):
    def __init__(self, calls: Counter[Place], place: Any) -> None:
        super().__init__()
        self.calls, self.place = calls, place

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in FUNCTIONS:
            self.calls[self.place()] += 1
        return function(*args, **(kwargs or {}))


class _Kernels(TorchDispatchMode):
    def __init__(self, calls: Counter[Place], place: Any) -> None:
        super().__init__()
        self.calls, self.place = calls, place

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.rpartition("::")[2]
        if name in SOFTMAXES or any(part in name for part in KERNELS):
            self.calls[self.place()] += 1
        return function(*args, **(kwargs or {}))

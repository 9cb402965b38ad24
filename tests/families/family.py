"""What a family of text-to-image pipelines is for the tests: how to build one, and how to call it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest
import torch

PROMPT = "a photo of a red cat and a gray mouse"
NEGATIVE = "an ugly blurry picture"
# The same words in another order: as many tokens, whatever the tokenizer.
REORDERED = "a photo of a gray mouse and a red cat"
REORDERED_NEGATIVE = "an blurry ugly picture"
UNLIKE = "dog"
# For models that read texts in quotes by themselves, to write them into the image.
QUOTED = ('a photo of a red cat and "a sign"', 'a photo of a cat red and "a gins"')
STEPS = 2
HEIGHT, WIDTH = 32, 48


@dataclass(frozen=True)
class Family:
    """One family of pipelines.

    Attributes:
        build: makes a tiny random pipeline, the same one every time.
        call: keyword arguments of the pipeline's `__call__`, beyond prompt, negative prompt and generator.
        negative: whether the call takes a negative prompt.
        requires: a module without which diffusers does not have this pipeline.
        steps: name of the argument with the number of steps, where there is one.
        prompts: the usual prompt, and another one of as many tokens.
    """

    build: Callable[[], Any]
    call: dict[str, Any] = field(default_factory=dict)
    negative: bool = True
    requires: str | None = None
    steps: str = "num_inference_steps"
    prompts: tuple[str, str] = (PROMPT, REORDERED)

    @property
    def missing(self) -> bool:
        return self.requires is not None and find_spec(self.requires) is None

    def make(self) -> Any:
        """A new pipeline, without a progress bar. Skips the test where diffusers has none."""
        if self.missing:
            pytest.skip(f"{self.requires} is not installed")
        pipe = self.build()
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def arguments(self, prompt: Any = None, negative: Any = NEGATIVE, **changed: Any) -> dict[str, Any]:
        """Keyword arguments of a call. A fresh generator each time, so that two calls give the same image."""
        arguments = dict(prompt=prompt or self.prompts[0], generator=torch.Generator().manual_seed(0), output_type="pt")
        if self.negative:
            arguments["negative_prompt"] = negative
        sizes = dict(height=HEIGHT, width=WIDTH)
        return {
            name: value
            for name, value in (arguments | sizes | {self.steps: STEPS} | self.call | changed).items()
            if value is not ABSENT
        }


class _Absent:
    """Stands for an argument that a pipeline does not take."""


ABSENT = _Absent()


def opened(model: Any) -> Any:
    """The model with noise where its weights begin at zero, so that no text would come through before it is trained."""
    noise = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data.normal_(std=0.2, generator=noise)
    return model


def seeded(kind: type, **options: Any) -> Any:
    """A model with random weights that do not depend on what was built before."""
    torch.manual_seed(0)
    return kind(**options).eval()

"""What a run of the page does: an image, a sweep or a comparison, told step by step, and stopped at any of them."""

import gc
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, get_ident
from typing import Any, TextIO

from promptattn.app.samplers import OWN, scheduler_of
from promptattn.app.turns import Stopped
from promptattn.errors import PromptAttnError, PromptAttnWarning
from promptattn.export import Comparison, compare
from promptattn.run import Generation, generate, load
from promptattn.run.cost.estimate import Estimate
from promptattn.run.cost.shortage import is_shortage
from promptattn.run.loading.schedulers import set_scheduler
from promptattn.run.progress import overall
from promptattn.sweeps import Sweep, sweep

__all__ = ["MOST_SWEPT", "Pipelines", "Told", "Wish", "compared", "heard", "made", "swept"]

MOST_SWEPT = 36
"""Images of one sweep: somebody else may be waiting."""


@dataclass(frozen=True)
class Wish:
    """The settings that all tabs share; None is what suits the model, and for the seed any."""

    model: str
    negative: str = ""
    sampler: str = OWN
    seed: int | None = 0
    steps: int | None = None
    guidance: float | None = None
    height: int | None = None
    width: int | None = None
    syntax: str = "a1111"
    method: str = "attention"
    where: str = "auto"
    strength: float | str | None = None

    def options(self) -> dict[str, Any]:
        """As keyword arguments of :func:`promptattn.generate`."""
        return {
            "negative_prompt": self.negative or None,
            "seed": self.seed,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "height": self.height,
            "width": self.width,
            "syntax": self.syntax,
            "weighting": self.method,
            "where": self.where,
            "strength": self.strength,
        }


@dataclass(frozen=True)
class Told:
    """How a run speaks to the page that asked for it.

    Attributes:
        step: called with (steps done, steps in all, what is expected of the run so far as it is known).
        stopped: set when the run is to end at its next step.
        warnings: what the run had to say.
    """

    step: Callable[[int, int, Estimate | None], None]
    stopped: Event
    warnings: list[str]


class Pipelines:
    """The pipelines that are loaded, for one run at a time; see :class:`promptattn.app.turns.Turns`.

    Args:
        device: where pipelines go, as for :func:`promptattn.load`.
        most: how many to keep; the one that was not used for the longest time goes first.
    """

    def __init__(self, device: str = "auto", most: int = 2) -> None:
        self._device, self._most = device, most
        self._loaded: OrderedDict[str, Any] = OrderedDict()

    def holds(self, model: str) -> bool:
        """Whether a run of the model need not load it first."""
        return model in self._loaded

    @contextmanager
    def taken(self, model: str, sampler: str = OWN) -> Iterator[Any]:
        """The pipeline of a model, with that sampler until the context is left."""
        pipe = self._pipe(model)
        before = pipe.scheduler
        try:
            if sampler != OWN:
                set_scheduler(pipe, *scheduler_of(sampler))
            yield pipe
        finally:
            pipe.scheduler = before

    def _pipe(self, model: str) -> Any:
        if model not in self._loaded:
            # Made room for first, so that two large models are not in memory where one would fit.
            self._drop_all_but(self._most - 1)
            try:
                self._loaded[model] = load(model, device=self._device)
            except PromptAttnError as error:
                if not self._loaded or error.__cause__ is None or not is_shortage(error.__cause__):
                    raise
                self._drop_all_but(0)
                self._loaded[model] = load(model, device=self._device)
        self._loaded.move_to_end(model)
        return self._loaded[model]

    def _drop_all_but(self, kept: int) -> None:
        while len(self._loaded) > kept:
            self._loaded.popitem(last=False)
        gc.collect()  # modules refer to one another: their memory is free when this has run


def made(pipelines: Pipelines, wish: Wish, prompt: str, told: Told) -> Generation:
    """One image with its maps."""
    with pipelines.taken(wish.model, wish.sampler) as pipe, heard(told):
        return generate(pipe, prompt, **wish.options(), **_followed(told))


def swept(pipelines: Pipelines, wish: Wish, template: str, told: Told) -> Sweep:
    """Every image of a template such as `a (red:{0.5..2:0.5}) cat`."""
    with pipelines.taken(wish.model, wish.sampler) as pipe, heard(told):
        return sweep(pipe, template, limit=MOST_SWEPT, **wish.options(), **_followed(told))


def compared(pipelines: Pipelines, wish: Wish, before: str, after: str, told: Told) -> Comparison:
    """Two prompts with all else alike, side by side."""
    with pipelines.taken(wish.model, wish.sampler) as pipe, heard(told):
        followed = _followed(told)
        pair = [
            generate(pipe, prompt, **wish.options(), **followed | {"on_step": overall(followed["on_step"], number, 2)})
            for number, prompt in enumerate((before, after))
        ]
    return compare(*pair)


def _followed(told: Told) -> dict[str, Any]:
    """`on_step` and `on_estimate` of a run: the page hears of each step, and a step is where a run can be stopped."""
    expected: list[Estimate] = []

    def on_step(done: int, total: int) -> None:
        if told.stopped.is_set():
            raise Stopped
        told.step(done, total, expected[0] if expected else None)

    return {"on_step": on_step, "on_estimate": expected.append}


@contextmanager
def heard(told: Told) -> Iterator[None]:
    """Keep this thread's warnings for the page; those of other threads are somebody else's, and go where they went.

    What is done about warnings holds for the whole process, so that there is one at a time: a run that has its turn.
    """
    mine = get_ident()
    with warnings.catch_warnings():
        warnings.simplefilter("always", PromptAttnWarning)
        elsewhere = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if get_ident() != mine or not issubclass(category, PromptAttnWarning):
                elsewhere(message, category, filename, lineno, file, line)
            elif str(message) not in told.warnings:
                told.warnings.append(str(message))

        warnings.showwarning = show
        yield

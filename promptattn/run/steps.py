"""Following a pipeline through its denoising steps, from what its denoiser is called with."""

import functools
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["StepCounter", "StepFollower", "calls_per_step", "step_of_call"]


class StepCounter:
    """Counts how often a pipeline's scheduler is asked to step, through its `step` method, until it is released.

    Runs in each other share one wrapper round that method; it goes with the last of them, whichever that is.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._scheduler: Any = None

    def count(self, scheduler: Any) -> int:
        """How many steps were taken so far by `scheduler`, and those that stood in its place before."""
        if scheduler is not self._scheduler:
            self.release()
            if scheduler not in _followed:
                _followed[scheduler] = _Followed(scheduler)
            _followed[scheduler].counters.append(self)
            self._scheduler = scheduler
        return self.taken

    def release(self) -> None:
        """Give the scheduler back the very method it had, unless another run still counts."""
        if self._scheduler is None:
            return
        followed = _followed[self._scheduler]
        followed.counters.remove(self)
        if not followed.counters:
            followed.restore(self._scheduler)
            del _followed[self._scheduler]
        self._scheduler = None


class _Followed:
    """A scheduler's `step`, wrapped to tell counters."""

    def __init__(self, scheduler: Any) -> None:
        self.counters: list[StepCounter] = []
        self._own = scheduler.__dict__.get("step")
        stock, counters = scheduler.step, self.counters

        # Pipelines look at the signature of `step` to see what it takes.
        @functools.wraps(stock)
        def step(*args: Any, **kwargs: Any) -> Any:
            for counter in counters:
                counter.taken += 1
            return stock(*args, **kwargs)

        self._wrapper = scheduler.step = step

    def restore(self, scheduler: Any) -> None:
        if scheduler.__dict__.get("step") is not self._wrapper:
            return  # somebody wrapped it further since; what is left under that only passes calls on
        if self._own is None:
            del scheduler.step
        else:
            scheduler.step = self._own


_followed: MutableMapping[Any, _Followed] = WeakIdKeyDictionary()


@dataclass
class StepFollower:
    """Counts steps. A scheduler of order 2 (Heun, DPM2) calls the denoiser twice in a step, which counts as one.

    Nothing here reads a timestep's value but once a generation: on an accelerator that would wait for the device.

    Attributes:
        step: the current step, from 0; -1 before the first call.
        total: the number of steps of this generation.
        generations: how many times a pipeline started from the first step while being followed.
        calls_of_steps: how many calls each step of this generation makes.
        call: a number for all that is asked of the denoiser between two calls of the scheduler; it only rises.
    """

    step: int = -1
    total: int = 0
    generations: int = 0
    calls_of_steps: Counter[int] = field(default_factory=Counter)
    call: int = 0
    _calls: int = 0
    _taken: int | None = None
    _taken_before: int | None = None
    _expected: int = 0
    _begin: int = 0
    _timestep: Any = None
    _schedule: Any = None

    def advance(self, timestep: Any, scheduler: Any, taken: int | None = None) -> bool:
        """Take note of a denoiser call. Returns True when it is the first of a new generation.

        timestep: as the denoiser was given it.
        taken: how often the scheduler has been asked to step so far. Calls between which it was not belong to one
            step: that is how a pipeline asks for the prompt and for the negative prompt one after the other, or for a
            prediction with layers left out. Where it is never asked, calls with equal timesteps do.
        """
        # Every generation sets timesteps anew, and makes as many calls as there are timesteps.
        schedule = getattr(scheduler, "timesteps", None)
        again = schedule is not self._schedule
        same = not again and self._same_step(timestep, taken)
        self._taken = taken
        if same:
            return False
        fresh = again or self._calls >= self._expected
        if fresh:
            self.generations += 1
            self._calls = 0
            self._taken_before = taken
            self._schedule = schedule
            calls = 1 if schedule is None else max(len(schedule), 1)
            self._begin = _begin(timestep, scheduler, schedule)
            self._expected = calls - self._begin
            self.calls_of_steps = calls_per_step(scheduler, self._expected, self._begin)
            self.total = max(self.calls_of_steps) + 1
        self.step = step_of_call(self._calls, scheduler, self._begin)
        self._calls += 1
        self.call += 1
        self._timestep = timestep
        return fresh

    def _same_step(self, timestep: Any, taken: int | None) -> bool:
        """Whether this call belongs to the step of the call before."""
        if self._timestep is None or taken != self._taken:
            return False
        if taken is not None and taken != self._taken_before:
            return True  # this loop steps through the scheduler, and has not since
        if timestep is self._timestep:
            return isinstance(timestep, torch.Tensor)
        # In the first step it is not known yet whether the loop uses the scheduler: one made by hand need not.
        return taken is not None and _equal(timestep, self._timestep)


def _equal(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return False
    return torch.equal(one.flatten()[:1].float(), other.flatten()[:1].float())


def step_of_call(call: int, scheduler: Any, begin: int = 0) -> int:
    """The step that a denoiser call belongs to, both from 0; `begin` timesteps of the schedule were left out."""
    if hasattr(scheduler, "plms_timesteps") and scheduler.num_inference_steps:
        return _pndm_step(begin + call, scheduler) - _pndm_step(begin, scheduler)
    return call // max(int(getattr(scheduler, "order", 1)), 1)


def calls_per_step(scheduler: Any, calls: int, begin: int = 0) -> Counter[int]:
    """How many of so many denoiser calls, the first of which may not be the schedule's, belong to each step."""
    return Counter(step_of_call(call, scheduler, begin) for call in range(calls))


def _pndm_step(index: int, scheduler: Any) -> int:
    """The step of a timestep of PNDM.

    It begins with Runge-Kutta, four calls a step; where that is skipped, a second call corrects the first one.
    """
    if runge_kutta := len(scheduler.prk_timesteps):
        return index // 4 if index < runge_kutta else runge_kutta // 4 + index - runge_kutta
    corrections = max(len(scheduler.timesteps) - int(scheduler.num_inference_steps), 0)
    return max(index - corrections, 0)


def _begin(timestep: Any, scheduler: Any, schedule: Any) -> int:
    """How many timesteps of the schedule an image-to-image pipeline leaves out before the first call."""
    begin = getattr(scheduler, "begin_index", None)
    if begin is not None:
        return min(int(begin), len(schedule) - 1)
    if schedule is None or timestep is None:
        return 0
    # Not every scheduler is told where to begin (DDIM is not): then the first timestep says it.
    first = torch.as_tensor(timestep, device=schedule.device).flatten()[:1]
    found = (schedule == first).nonzero()
    return int(found[0]) if len(found) else 0

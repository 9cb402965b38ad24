"""Following a pipeline through its denoising steps, from what its denoiser is called with."""

from dataclasses import dataclass
from typing import Any

__all__ = ["StepFollower"]


@dataclass
class StepFollower:
    """Counts steps. A scheduler of order 2 (Heun, DPM2) calls the denoiser twice in a step, which counts as one.

    Attributes:
        step: the current step, from 0; -1 before the first call.
        total: the number of steps of this generation.
        generations: how many times a pipeline started from the first step while being followed.
    """

    step: int = -1
    total: int = 0
    generations: int = 0
    _calls: int = 0
    _expected: int = 0
    _timestep: float = 0.0

    def advance(self, timestep: float, scheduler: Any) -> bool:
        """Take note of a denoiser call. Returns True when it is the first of a new generation."""
        # Timesteps never rise within one generation, and every generation makes as many calls as there are timesteps.
        fresh = self._calls >= self._expected or timestep > self._timestep
        order = max(int(getattr(scheduler, "order", 1)), 1)
        if fresh:
            self.generations += 1
            self._calls = 0
            timesteps = getattr(scheduler, "timesteps", None)
            begin = getattr(scheduler, "begin_index", None) or 0
            self._expected = max((0 if timesteps is None else len(timesteps)) - begin, 1)
            self.total = -(-self._expected // order)
        self.step = self._calls // order
        self._calls += 1
        self._timestep = timestep
        return fresh

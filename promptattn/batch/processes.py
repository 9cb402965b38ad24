"""The processes of one run, as `accelerate launch` starts them: who does what, and what all of them agree on."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from promptattn.errors import ConfigError, PromptAttnError

__all__ = ["Processes", "launched_as", "launched_in_vain"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

# A process that is done waits for the slowest, which may take days; one that dies ends the others through the launcher.
_PATIENCE = timedelta(days=30)


def launched_as() -> tuple[int, int]:
    """(rank, number of processes) as a launcher says in the environment; (0, 1) without one. Imports nothing."""
    count = os.environ.get("WORLD_SIZE", "1")
    rank = os.environ.get("RANK", "0")
    if not (rank.isdigit() and count.isdigit()) or int(count) <= 1:  # a rank alone, as some clusters set it
        return 0, 1
    return int(rank), int(count)


def launched_in_vain() -> bool:
    """Whether `accelerate launch` was asked for several processes and started one, as it does where there is no GPU."""
    asked = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ
    return asked and "WORLD_SIZE" not in os.environ


@contextmanager
def _in_company() -> Iterator[None]:
    """Tell in a sentence that another process is gone, of which the connection knows no more than that it is closed."""
    try:
        yield
    except RuntimeError as error:
        _log.info("waiting for the others", exc_info=error)
        raise PromptAttnError(
            "another process of this run has ended before its time, and should have told why. What is done is kept: run"
            " the same command again to go on."
        ) from error


class Processes:
    """This process among those of the run, through accelerate's `PartialState`; alone without a launcher."""

    def __init__(self, device: str, threads: int = 1) -> None:
        """Join the others.

        threads: that each process works with on the CPU. Fixed, because a sum over other parts rounds differently, and
            what is made would depend on how many processes share the cores.
        """
        import torch
        from accelerate import PartialState

        from promptattn.run.loading.device import resolve_device

        on_cpu = resolve_device(device).type == "cpu"
        # Without a GPU it must be told so: it would take itself to be alone.
        self._state = PartialState(cpu=on_cpu, timeout=_PATIENCE)
        self.count: int = self._state.num_processes
        self.rank: int = self._state.process_index
        self.is_first = self.rank == 0
        self.device = self._own_device(device)
        self.threads = threads if on_cpu else None
        self._threads_before = torch.get_num_threads()
        if on_cpu:
            torch.set_num_threads(threads)  # PartialState has just set it as it thinks fit

    def _own_device(self, device: str) -> str:
        if self.count == 1:
            return device
        if device in ("auto", "cuda"):
            return str(self._state.device)
        if device != "cpu":
            raise ConfigError(f"--device {device} is one device for {self.count} processes; use auto, cuda or cpu.")
        return device

    def share(self, work: Sequence[T]) -> list[T]:
        """This process's share of the work, as `PartialState.split_between_processes` splits it."""
        with self._state.split_between_processes(list(work)) as own:
            return list(own)

    def wait(self) -> None:
        """Wait until all have come so far.

        Raises:
            PromptAttnError: when one of the others has ended before.
        """
        with _in_company():
            self._state.wait_for_everyone()

    def agreed(self, decide: Callable[[], T]) -> T:
        """What the first process decides, in all of them; what it raises is raised in all of them.

        Raises:
            PromptAttnError: also when one of the others has ended before.
        """
        if self.count == 1:
            return decide()
        from accelerate.utils import broadcast_object_list

        told: list[Any] = [None, None]
        if self.is_first:
            try:
                told = [decide(), None]
            except PromptAttnError as error:
                told = [None, error]
        with _in_company():
            broadcast_object_list(told)
        decision, refusal = told
        if refusal is not None:
            raise refusal
        return decision

    def close(self) -> None:
        """Leave the others, in good order."""
        import torch

        if self.threads is not None:
            torch.set_num_threads(self._threads_before)
        if self.count > 1:
            self._state.destroy_process_group()

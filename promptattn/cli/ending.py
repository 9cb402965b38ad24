"""Ending in good order when it is asked for by a signal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from promptattn.console import failed, note

__all__ = ["TERMINATED", "terminable"]

TERMINATED = 128 + signal.SIGTERM
"""The exit code, as shells say of what SIGTERM ended."""


@contextmanager
def terminable(said: str, *, as_json: bool = False) -> Iterator[None]:
    """Leave the context as under an exception on SIGTERM, which else ends a process where it stands.

    Args:
        said: what to say of it, after "stopped: by SIGTERM".
    """

    def end(number: int, frame: Any) -> None:
        message = f"by SIGTERM{said}"
        note("stopped", message)
        if as_json:
            failed("Terminated", message, TERMINATED)
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():  # which alone may have handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""What one open page has to itself: a folder for its files, and the run that it is waiting for."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock

from promptattn.errors import ConfigError

__all__ = ["Session", "Sessions"]

_KEPT = 4  # folders of results: the page shows one of each tab


class Session:
    """One open page. Its files lie in a folder of their own, which goes with it.

    Args:
        folder: where the folders of all pages lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / f"page-{secrets.token_hex(16)}"
        self._results: list[Path] = []
        self._lock = Lock()
        self._stopped: Event | None = None  # of the run that is on

    @contextmanager
    def running(self) -> Iterator[Event]:
        """The run of this page, of which there is one at a time; gives what is set when it is to stop.

        Raises:
            ConfigError: when another run of the page is not over yet.
        """
        stopped = Event()
        with self._lock:
            if self._stopped is not None:
                raise ConfigError("Another run of yours is not over yet: wait for it, or stop it in its tab.")
            self._stopped = stopped
        try:
            yield stopped
        finally:
            self._stopped = None

    def stop(self) -> bool:
        """End the page's run at its next step; whether there is one."""
        stopped = self._stopped
        if stopped is not None:
            stopped.set()
        return stopped is not None

    def fresh(self) -> Path:
        """Where the next result may be written; the folder does not exist, and the oldest result is removed."""
        # Not earlier: a page that was taken for closed, such as a laptop's that slept, may come back.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while len(self._results) >= _KEPT:
            shutil.rmtree(self._results.pop(0), ignore_errors=True)
        self._results.append(self.folder / secrets.token_hex(8))
        return self._results[-1]

    def close(self) -> None:
        """Stop what runs for the page, and remove its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """The open pages, by what the server calls them.

    Args:
        folder: where their folders lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Session] = {}

    def open(self, name: str) -> Session:
        """The session of a page that has just been opened."""
        return self._open.setdefault(name, Session(self._folder))

    def close(self, name: str) -> None:
        """End the session of a page that has been closed."""
        session = self._open.pop(name, None)
        if session is not None:
            session.close()

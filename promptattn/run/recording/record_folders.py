"""Where the records of a config's runs go, and what a config cannot ask of them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from promptattn.config import RunConfig
from promptattn.errors import ConfigError
from promptattn.export.atomic import refuse_occupied
from promptattn.maps.capture import Capture
from promptattn.maps.stream import Stream
from promptattn.records import INDEX, RecordsSize

__all__ = ["capture_of", "check_record_folders", "refuse_stream"]


def check_record_folders(config: RunConfig) -> None:
    """Refuse, before anything is loaded, folders for records that cannot be.

    Raises:
        ConfigError: when one lies in the folder of the export or round it: that one appears as a whole, at the end.
        ExportError: when one exists and may not be replaced.
    """
    out = config.export.folder
    for seed in config.seed:
        stream = _stream(capture_of(config, seed))
        if stream is None:
            return
        records, export = (Path(os.path.realpath(Path(each).expanduser())) for each in (stream.folder, out))
        if records == export or export in records.parents or records in export.parents:
            raise ConfigError(
                f"records cannot go to '{stream.folder}': the results go to '{out}', which is made as a whole"
                " at the end; give records a folder of their own, such as out-records."
            )
        refuse_occupied(records, stream.force, INDEX)


def capture_of(
    config: RunConfig, seed: int, on_size: Callable[[str, RecordsSize], None] | None = None
) -> Capture | bool:
    """What the run with this seed records; several seeds have records in a folder each, `seed_7`, `seed_8` ...

    on_size: called with the folder and with how much goes there, before the first step.
    """
    capture = False if config.capture is None else config.capture.capture()
    stream = _stream(capture)
    if not isinstance(capture, Capture) or stream is None:
        return capture
    folder = str(stream.folder if len(config.seed) == 1 else Path(stream.folder) / f"seed_{seed}")
    told = None if on_size is None else lambda size: on_size(folder, size)
    force = stream.force or config.export.force
    return replace(capture, stream=replace(stream, folder=folder, force=force, on_size=told))


def refuse_stream(capture: Capture | bool, what: str) -> None:
    """Raise ConfigError for a capture that streams where many images are made in calls that nobody sees."""
    if _stream(capture) is not None:
        raise ConfigError(f"records are of one run, and {what} is many; leave out the capture's stream (--record).")


def _stream(capture: Capture | bool) -> Stream | None:
    return capture.stream if isinstance(capture, Capture) and isinstance(capture.stream, Stream) else None

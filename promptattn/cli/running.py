"""Running a config while a person watches: progress, and what became of every word."""

import time
import warnings
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from promptattn.console import emit, note, out, progress
from promptattn.errors import PromptAttnWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promptattn.config import RunConfig
    from promptattn.config.reading import Option
    from promptattn.maps import HeatMap
    from promptattn.records import RecordsSize
    from promptattn.run.cost.estimate import Estimate
    from promptattn.run.from_config import Finished

__all__ = ["Estimates", "made_again", "run"]


LONG = 10.0  # seconds from which on a run is worth an estimate


def run(config: "RunConfig", *, as_json: bool = False) -> None:
    """Do what the config says, and say what it made."""
    began, told = time.monotonic(), Estimates()
    with progress() as bar:
        bar.stage("Starting")
        from promptattn.run.from_config import run_config

        finished = run_config(
            config, on_stage=bar.stage, on_step=bar.step, on_records=_tell_size, on_estimate=told.take
        )
    if as_json:
        runs = [_run_as_dict(one) for one in finished]
        emit({"runs": runs, "seconds": round(time.monotonic() - began, 3), "estimate": told.as_dict()})
        return
    for one in finished:
        _summary(one)


class Estimates:
    """Takes the estimate of a run: says it at once where the run is long, and keeps it for JSON."""

    def __init__(self) -> None:
        self._taken: Estimate | None = None

    def take(self, estimate: "Estimate") -> None:
        """To be called with the estimate."""
        self._taken = estimate
        if estimate.seconds >= LONG:
            note("estimate", f"{estimate}.")

    def as_dict(self) -> dict[str, Any] | None:
        """The estimate as plain values, if there was one."""
        return None if self._taken is None else self._taken.as_dict()


def made_again(image: str, config: str | None, sets: "Sequence[str]", options: "Sequence[Option]") -> "RunConfig":
    """The config that makes an image again; says what it cannot do as the image says."""
    from promptattn.run.from_image import config_from_image

    wanted, notes = config_from_image(image, config, sets, options)
    for each in notes:
        note(each.severity, str(each))
    return wanted


def _tell_size(folder: str, size: "RecordsSize") -> None:
    note("records", f"{size} go to {folder}; promptattn.open_records({folder!r}) reads them.")


def _run_as_dict(finished: "Finished") -> dict[str, Any]:
    made, folder = finished.generation, finished.folder
    words: list[list[dict[str, Any]]] = []
    for index in range(len(made.images) if made.maps is not None else 0):
        assert made.maps is not None
        maps = made.maps.image(index)
        recorded = [word for word in maps.words if maps.state(word) == "recorded"]
        words.append([{"word": w.text, "weight": w.weight, "share": _share(maps[w])} for w in recorded])
    return {
        "folder": str(folder),
        "seed": made.seed,
        "images": sorted(path.relative_to(folder).as_posix() for path in folder.rglob("image*.png")),
        "words": words,
        "settings": made.settings,
    }


def _share(heat: "HeatMap") -> float:
    """The map's share; that a map is empty has been told when its files were written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        return heat.share


def _summary(finished: "Finished") -> None:
    made, folder = finished.generation, finished.folder
    if made.maps is None:
        out.print(Text(f"Wrote {len(made.images)} image{'s' if len(made.images) > 1 else ''} to {folder}."))
        return
    first = made.maps.image(0)
    page = folder / "index.html"
    shown = f"Open {page} in a browser" if page.is_file() else f"Wrote {folder}"
    if not any(first.state(word) == "recorded" for word in first.words):
        out.print(Text(f"{shown}. The prompt has no words, so there are no maps."))
        return
    table = Table("word", "weight", "share")
    for word in first.words:
        if first.state(word) == "recorded":
            heat = first[word]
            table.add_row(Text(word.text), f"{word.weight:g}", f"{_share(heat):.1%}")
    out.print(Text(f"Where the words went in the image of seed {made.seed}:"))
    out.print(table)
    out.print(Text(f"{shown}; hover a word to see where it went." if page.is_file() else f"{shown}."))

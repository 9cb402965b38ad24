"""Running a config while a person watches: progress, and what became of every word."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from promptattn.console import note, out, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promptattn.config import RunConfig
    from promptattn.config.reading import Option
    from promptattn.records import RecordsSize
    from promptattn.run.from_config import Finished

__all__ = ["made_again", "run"]


def run(config: "RunConfig") -> None:
    """Do what the config says, and say what it made."""
    from promptattn.run.from_config import run_config

    with progress() as bar:
        finished = run_config(config, on_stage=bar.stage, on_step=bar.step, on_records=_tell_size)
    for one in finished:
        _summary(one)


def made_again(image: str, config: str | None, sets: "Sequence[str]", options: "Sequence[Option]") -> "RunConfig":
    """The config that makes an image again; says what it cannot do as the image says."""
    from promptattn.run.from_image import config_from_image

    wanted, notes = config_from_image(image, config, sets, options)
    for each in notes:
        note(each.severity, str(each))
    return wanted


def _tell_size(folder: str, size: "RecordsSize") -> None:
    note("records", f"{size} go to {folder}; promptattn.open_records({folder!r}) reads them.")


def _summary(finished: "Finished") -> None:
    made, folder = finished.generation, finished.folder
    if made.maps is None:
        out.print(Text(f"Wrote {len(made.images)} image{'s' if len(made.images) > 1 else ''} to {folder}."))
        return
    first = made.maps.image(0)
    table = Table("word", "weight", "share")
    for word in first.words:
        if first.state(word) == "recorded":
            heat = first[word]
            table.add_row(Text(word.text), f"{word.weight:g}", f"{heat.share:.1%}")
    out.print(Text(f"Where the words went in the image of seed {made.seed}:"))
    out.print(table)
    page = folder / "index.html"
    shown = f"Open {page} in a browser; hover a word to see where it went." if page.is_file() else f"Wrote {folder}."
    out.print(Text(shown))

"""What a batch is made of: each line of the file checked against the config of the whole, and given a name."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from promptattn.batch.lines import NAME, Line
from promptattn.config import RunConfig, with_options
from promptattn.errors import ConfigError, PromptSyntaxError
from promptattn.export.names import slug
from promptattn.prompt import parse
from promptattn.run.recording.record_folders import refuse_stream

__all__ = ["RESERVED", "Item", "check_base", "items_of", "refuse_unreadable"]

# What holds for the whole batch: one pipeline is loaded for it, and one folder is written.
_COMMON = ("model", "dtype", "device", "scheduler", "export.folder", "export.force")
RESERVED = ("manifest.jsonl", "batch.json")
"""The files of a batch that stand beside the folders of its lines."""

_MOST_SHOWN = 20
_LONGEST_NAME = 100
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)( *\..*)?")  # which Windows takes for a file of that name


@dataclass(frozen=True)
class Item:
    """One line of the file, ready to be made; or why it cannot be.

    Attributes:
        line: as it stands in the file.
        name: of its folder; "" where the line cannot be read.
        config: everything that makes it, with one prompt, one negative prompt at most, and one seed.
        problem: why it cannot be made; None where it can.
    """

    line: Line
    name: str
    config: RunConfig
    problem: str | None = None

    @property
    def prompt(self) -> str:
        """The prompt as written."""
        return self.config.prompt[0] if self.config.prompt else ""

    @property
    def negative(self) -> str | None:
        """The negative prompt as written, if any."""
        return self.config.negative_prompt[0] if self.config.negative_prompt else None

    @property
    def seed(self) -> int:
        """The seed of the first image."""
        return self.config.seed[0]

    @cached_property
    def request(self) -> dict[str, Any]:
        """What is asked for, as plain values: the config without where it is made and where it is written."""
        plain = self.config.plain()
        export = {key: value for key, value in plain.get("export", {}).items() if key not in ("folder", "force")}
        return {**{key: value for key, value in plain.items() if key != "device"}, "export": export}

    @cached_property
    def digest(self) -> str:
        """A hash of `request`: the same if and only if the same is asked for."""
        return hashlib.sha256(json.dumps(self.request, sort_keys=True, default=str).encode()).hexdigest()


def check_base(config: RunConfig) -> RunConfig:
    """The config that all lines share, without a prompt.

    Raises:
        ConfigError: where it holds what each line has one of.
    """
    if len(config.seed) > 1:
        raise ConfigError(
            f"a batch has one seed for all lines, not {len(config.seed)}; give a line a seed of its own, or ask for"
            " several images with seeds counting up (--images)."
        )
    if config.negative_prompt is not None and len(config.negative_prompt) > 1:
        raise ConfigError("a batch has one negative prompt for all lines; others are given in the lines themselves.")
    _refuse_records(config)
    return config.model_copy(update={"prompt": None})


def items_of(lines: Sequence[Line], base: RunConfig) -> list[Item]:
    """Every line as an item, in the same order; those that cannot be made say why."""
    return list(_named_once([_item(line, base) for line in lines]))


def refuse_unreadable(items: Sequence[Item], file: str) -> None:
    """Raise ConfigError with every line that cannot be made, if there is one."""
    wrong = [item for item in items if item.problem is not None]
    if wrong:
        told = "".join(f"\n  line {item.line.number}: {item.problem}" for item in wrong[:_MOST_SHOWN])
        more = f"\n  and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
        count = f"{len(wrong)} line{'' if len(wrong) == 1 else 's'}"
        raise ConfigError(f"{count} of {file} cannot be used, and nothing was made (--strict):{told}{more}")


def _item(line: Line, base: RunConfig) -> Item:
    if line.problem is not None:
        return Item(line, "", base, line.problem)
    try:
        settings = {path: value for path, value in line.settings.items() if path != NAME}
        _check_own(settings)
        config = with_options(base, [("", path, value) for path, value in settings.items()])
        _check_single(config)
        for text in (*(config.prompt or ()), *(config.negative_prompt or ())):
            parse(text, config.syntax)
        name = _name(line, config)
    except (ConfigError, PromptSyntaxError) as error:
        return Item(line, "", base, str(error).rstrip("."))
    return Item(line, name, config)


def _check_own(settings: dict[str, Any]) -> None:
    nested = {f"export.{key}" for key in settings["export"]} if isinstance(settings.get("export"), dict) else set()
    for path in (*settings, *nested):
        if common := next((each for each in _COMMON if path == each or path.startswith(f"{each}.")), None):
            raise ConfigError(f"{common} is of the whole batch, not of one line; give it on the command line")


def _check_single(config: RunConfig) -> None:
    for what, values in (
        ("prompt", config.prompt or [""]),
        ("negative prompt", config.negative_prompt or [""]),
        ("seed", config.seed),
    ):
        if len(values) > 1:
            raise ConfigError(f"it has {len(values)} {what}s; give each a line of its own")
    _refuse_records(config)


def _refuse_records(config: RunConfig) -> None:
    refuse_stream(False if config.capture is None else config.capture.capture(), "a batch")


def _name(line: Line, config: RunConfig) -> str:
    """The folder of a line: the name that it gives, or its number and what its prompt begins with."""
    given = line.settings.get(NAME)
    if given is None:
        beginning = slug((config.prompt or [""])[0])
        return f"{line.number:05d}_{beginning}" if beginning else f"{line.number:05d}"
    # In one of the two forms of an accented letter, which some file systems take for the same.
    name = unicodedata.normalize("NFC", given) if isinstance(given, str) else ""
    fits = re.fullmatch(r"\w[\w .+-]*(?<![ .])", name) and name.casefold() not in RESERVED
    if not fits or _DEVICES.fullmatch(name) or len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"name {str(given)[:40]!r} cannot be a folder's; use letters, digits, and . _ - + or blanks between them,"
            f" {_LONGEST_NAME} bytes at most, and none that Windows keeps for itself such as con"
        )
    return name


def _named_once(items: Sequence[Item]) -> Iterator[Item]:
    """The items, those whose name an earlier one has turned into problems."""
    taken: dict[str, int] = {}
    for item in items:
        number = taken.setdefault(item.name.casefold(), item.line.number) if item.name else item.line.number
        if number == item.line.number:
            yield item
        else:
            yield replace(item, name="", problem=f"name {item.name!r} is that of line {number} too")

"""Files of prompts: one prompt a line as text, or with settings of its own as JSON lines or CSV."""

import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from promptattn.config import value_of
from promptattn.errors import ConfigError

__all__ = ["FORMATS", "NAME", "PROMPT", "STANDARD_INPUT", "Line", "named", "read_lines"]

PROMPT, NAME = "prompt", "name"
STANDARD_INPUT = "-"
"""In place of a file: what is piped into the command."""

# What a line may call a setting, as on the command line.
_SHORT = {
    "negative": "negative_prompt",
    "height": "size.height",
    "width": "size.width",
    "method": "weighting.method",
    "where": "weighting.where",
    "strength": "weighting.strength",
}
_SEPARATORS = (",", ";", "\t")  # spreadsheets of countries with a decimal comma write semicolons
_LONGEST = 100_000  # characters, for which parsing takes seconds


@dataclass(frozen=True)
class Line:
    """One line of a file of prompts.

    Attributes:
        number: of the line in the file, from 1; where several lines make one record of a CSV, the first.
        settings: what it says, by the dotted path of the setting; also the `name` of its result.
        problem: why it cannot be read, a sentence without its end; None where it can.
        text: its beginning as it stands there.
    """

    number: int
    settings: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    text: str = ""


def read_lines(file: str | PathLike[str], kind: str | None = None) -> list[Line]:
    """Every line of a file of prompts that is not blank, those that cannot be read among them.

    In a `txt` each line is a prompt, and one that begins with `#` a comment. In a `jsonl` each is an object with a
    `prompt` and any setting of a config, nested or by its dotted path; in a `csv` the first line names them, and an
    empty field is not given.

    Args:
        file: its path, or `-` for what is piped into the command.
        kind: one of `FORMATS`; without it, what the name ends in, and `txt` for `-`.

    Raises:
        ConfigError: when the file cannot be read as a whole, or holds no prompt at all.
    """
    name, reader = named(file), _READERS[_kind_of(file, kind)]
    try:
        data = sys.stdin.buffer.read() if str(file) == STANDARD_INPUT else Path(file).expanduser().read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"there is no file of prompts {name}.") from None
    except OSError as error:
        raise ConfigError(f"the prompts {name} cannot be read: {error.strerror}.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{name} is text in UTF-16; save it in UTF-8.")
    lines = list(reader(name, _decoded(data.removeprefix(b"\xef\xbb\xbf"))))
    if not lines:
        raise ConfigError(f"{name} holds no prompts.")
    return lines


def named(file: str | PathLike[str]) -> str:
    """What messages call a file of prompts."""
    return "standard input" if str(file) == STANDARD_INPUT else str(Path(file).expanduser())


def _kind_of(file: str | PathLike[str], kind: str | None) -> str:
    if kind is None:
        kind = "txt" if str(file) == STANDARD_INPUT else Path(file).suffix.lower().removeprefix(".")
        if kind not in _READERS:
            raise ConfigError(
                f"{named(file)} is no file of prompts: its name must end in .{', .'.join(FORMATS)}, or --format must"
                " say which of them it is."
            )
    if kind not in _READERS:
        raise ConfigError(f"--format {kind}: it must be one of {', '.join(FORMATS)}.")
    return kind


def _decoded(data: bytes) -> list[str]:
    """The lines without their ends; bytes that are not UTF-8 are kept as surrogates, to be told of line by line."""
    end = b"\n" if b"\n" in data else b"\r"  # as some spreadsheets still write for the Macintosh
    return [line.removesuffix(b"\r").decode("utf-8", "surrogateescape") for line in data.removesuffix(end).split(end)]


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:80]


def _unreadable(text: str) -> str | None:
    """What is wrong with a line before it is looked at more closely."""
    if len(text) > _LONGEST:
        return f"it has {len(text)} characters; {_LONGEST} are read at most"
    for at, letter in enumerate(text):
        if "\udc80" <= letter <= "\udcff":
            return f"character {at + 1} is not UTF-8 (byte 0x{ord(letter) - 0xDC00:02x})"
    return "it holds a zero byte" if "\0" in text else None


def _read_text(file: str, lines: Sequence[str]) -> Iterator[Line]:
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            problem = _unreadable(text) or _no_text(text)
            yield Line(number, {PROMPT: text}, problem, _shown(text))


def _no_text(line: str) -> str | None:
    if line.startswith("{"):  # as a prompt can in some syntaxes
        with suppress(ConfigError):
            _settings_of_object(line)
            return "this is JSON with a prompt in it; name the file .jsonl, or say --format jsonl"
    return None


# --- JSON lines -----------------------------------------------------------------------------------


def _read_jsonl(file: str, lines: Sequence[str]) -> Iterator[Line]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        settings: dict[str, Any] = {}
        problem = _unreadable(line)
        if problem is None:
            try:
                settings = _settings_of_object(line)
            except ConfigError as error:
                problem = str(error)
        yield Line(number, settings, problem, _shown(line))


def _settings_of_object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ConfigError(f"this is not JSON: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; nested a thousand deep
        raise ConfigError(f"this cannot be read as JSON: {error}") from error
    if isinstance(value, str):
        return {PROMPT: value}
    if not isinstance(value, dict):
        raise ConfigError(f'it must be an object with a prompt, such as {{"prompt": "a cat"}}, not {_kind(value)}')
    settings: dict[str, Any] = value
    return _with_prompt(_once([(_SHORT.get(key, key), each) for key, each in settings.items()]))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ConfigError(f"{key} is given a second time")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key} is too large a number")
        found[key] = value
    return found


def _no_number(text: str) -> Any:
    raise ConfigError(f"{text} is no number that a setting can have")


def _kind(value: Any) -> str:
    return {list: "a list", bool: "a truth value", type(None): "null"}.get(type(value), "a number")


def _with_prompt(settings: dict[str, Any]) -> dict[str, Any]:
    if settings.get(PROMPT) is None:
        raise ConfigError("it has no prompt")
    if "" in settings:
        raise ConfigError(f"{settings['']!r} is given without the name of a setting")
    return settings


# --- CSV ------------------------------------------------------------------------------------------


def _read_csv(file: str, lines: Sequence[str]) -> Iterator[Line]:
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return
    separator, columns = _header(file, first + 1, lines[first])
    # With the ends of the lines, which a field in quotes may hold.
    rows = csv.reader((f"{line}\n" for line in lines[first + 1 :]), delimiter=separator, strict=True)
    before = first + 2
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            last = first + 1 + rows.line_num
            yield Line(before, {}, _csv_problem(error, before, last), _shown(lines[before - 1]))
            before = last + 1
            continue
        if row is None:
            return
        number, before = before, first + 2 + rows.line_num
        if not any(cell.strip() for cell in row):
            continue
        settings: dict[str, Any] = {}
        problem = _unreadable(separator.join(row))
        if problem is None:
            try:
                settings = _settings_of_row(columns, row)
            except ConfigError as error:
                problem = str(error).rstrip(".")
        yield Line(number, settings, problem, _shown(lines[number - 1]))


def _header(file: str, number: int, line: str) -> tuple[str, list[str]]:
    """The separator and the columns: that separator which makes one of them `prompt`."""
    for separator in _SEPARATORS:
        with suppress(csv.Error):
            row = next(csv.reader([line], delimiter=separator, strict=True), [])
            columns = [_SHORT.get(name.strip(), name.strip()) for name in row]
            if PROMPT in columns:
                if twice := {name for name in columns if name and columns.count(name) > 1}:
                    raise ConfigError(f"{file}, line {number}: two columns are called {min(twice)}.")
                return separator, columns
    raise ConfigError(
        f"{file}, line {number}: no column is called prompt; the first line of a CSV names the columns, such as"
        " prompt,seed,steps."
    )


def _csv_problem(error: csv.Error, first: int, last: int) -> str:
    if "unexpected end of data" in str(error):
        swallowed = f", so that lines {first} to {last} are one" if last > first else ""
        return f"a field begins with a quote that is never closed{swallowed}"
    if "field limit" in str(error):
        return f"a field has more than {csv.field_size_limit()} characters"
    return f"this is not CSV: {error}"


def _settings_of_row(columns: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    if len(row) != len(columns):
        raise ConfigError(
            f"it has {len(row)} fields and the first line names {len(columns)} columns; text with a separator or a"
            " quote in it must stand in quotes"
        )
    given = {column: cell for column, cell in zip(columns, row, strict=True) if cell.strip()}
    return {path: cell if path == NAME else value_of(path, cell) for path, cell in _with_prompt(given).items()}


_READERS = {"txt": _read_text, "jsonl": _read_jsonl, "csv": _read_csv}
FORMATS = tuple(_READERS)
"""What a file of prompts can be."""

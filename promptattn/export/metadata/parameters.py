"""The text that A1111 keeps in its images: prompt, negative prompt, and one last line of `Name: value` pairs.

    a (red:1.4) cat, which may
    have several lines
    Negative prompt: ugly, likewise
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Lora hashes: "a: 1, b: 2"

The format is what A1111 itself writes and reads (AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py and
create_infotext in modules/processing.py): the last line counts as settings if it holds three pairs or more, lines are
stripped, and a value with a comma, colon or line break is a JSON string.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Parameters", "format_parameters", "parse_parameters"]

NEGATIVE = "Negative prompt:"
FEWEST_PAIRS = 3
"""A last line with fewer pairs is part of the prompt."""

_SPOILT = re.compile("[\0\ud800-\udfff]")  # what neither a PNG's text nor UTF-8 can hold
_NEEDS_QUOTES = re.compile(r'[,:\n]|^"|^\s|\s$')


@dataclass(frozen=True)
class Parameters:
    """What a `parameters` text says. `fields` are the pairs of its last line, in order, values without quotes."""

    prompt: str
    negative_prompt: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def parse_parameters(text: str) -> Parameters:
    """Read a `parameters` text as A1111 does. Any text is one: at worst, all of it is a prompt. Takes linear time."""
    *lines, last = text.strip().split("\n")
    pairs = list(_pairs(last))
    if len(pairs) < FEWEST_PAIRS:
        lines, pairs = [*lines, last], []
    parts: tuple[list[str], list[str]] = [], []
    negative = False
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE):
            negative, line = True, line.removeprefix(NEGATIVE).strip()
        if line or parts[negative]:  # what is blank before the first line is dropped
            parts[negative].append(line)
    return Parameters("\n".join(parts[0]), "\n".join(parts[1]), dict(pairs))


def format_parameters(prompt: str, negative_prompt: str, fields: Iterable[tuple[str, object]]) -> str:
    """The text from which A1111, and :func:`parse_parameters`, read back these prompts and fields.

    A1111 keeps no space at the ends of lines. A line of a prompt that begins with "Negative prompt:" gets a backslash
    before it, which A1111's prompt syntax drops again.
    """
    shown = "\n" + f"{NEGATIVE} {_prompt(negative_prompt)}" if negative_prompt.strip() else ""
    last = ", ".join(f"{name}: {_quoted(_storable(str(value)))}" for name, value in fields)
    return f"{_prompt(prompt)}{shown}\n{last}".strip()


def _prompt(text: str) -> str:
    lines = (line.strip() for line in re.sub("\r\n?", "\n", _storable(text).strip()).split("\n"))
    return "\n".join("\\" + line if line.startswith(NEGATIVE) else line for line in lines)


def _storable(text: str) -> str:
    return _SPOILT.sub("\ufffd", text)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if _NEEDS_QUOTES.search(value) else value


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return found if isinstance(found, str) else value


_QUOTED = re.compile(r'\s*("(?:\\.|[^\\"])+")(?:,|$)')


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """The pairs of a line; what is none is passed over. Each character is looked at a fixed number of times."""
    place = 0
    while place < len(line):
        comma = line.find(",", place)
        stop = len(line) if comma < 0 else comma
        found = _name(line, place, stop)
        if found is None:
            place = stop + 1
            continue
        name, start = found
        quoted = _QUOTED.match(line, start)
        if quoted:
            yield name, _unquoted(quoted[1])
            place = quoted.end()
        else:
            yield name, _unquoted(line[start:stop].strip())
            place = stop + 1


def _name(line: str, place: int, stop: int) -> tuple[str, int] | None:
    """The first name in `line[place:stop]` that a colon follows, and where its value starts."""
    while (colon := line.find(":", place, stop)) >= 0:
        before = line[place:colon]
        # From the right, so that the name is found without trying every place where it could start.
        start = len(before)
        while start and (before[start - 1].isalnum() or before[start - 1] in "_ -/"):
            start -= 1
        name = before[start:].lstrip(" -/")
        if len(name) > 1:
            return name.rstrip(" "), colon + 1
        place = colon + 1
    return None

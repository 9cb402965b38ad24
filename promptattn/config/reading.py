"""Reading a config: a YAML file or a preset, what `--set` and options put over it, and one error for all mistakes."""

from collections.abc import Iterable
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from promptattn.config.presets import preset_names, presets_folder
from promptattn.config.problems import Place, dotted, field_at, refusal, section_of
from promptattn.config.sections import RunConfig, Section
from promptattn.config.values import VERBATIM, nearest
from promptattn.errors import ConfigError

__all__ = ["Option", "load_config", "preset", "read_section", "value_of", "with_options"]

Option = tuple[str, str, Any]
"""A command-line option: its name, the dotted path of the setting that it gives, and the value; None is not given."""

S = TypeVar("S", bound=Section)


def load_config(
    source: str | PathLike[str] | None = None,
    sets: Iterable[str] = (),
    options: Iterable[Option] = (),
    *,
    found: Iterable[Option] = (),
) -> RunConfig:
    """A checked config.

        load_config("configs/sdxl.yaml", ["weighting.strength=4", "size.width=768"])

    Args:
        source: a YAML file, or a preset by name; None is an empty config.
        sets: settings of the form `weighting.strength=4` put over it. The value is read as in the file, prompts and
            folders as they stand.
        options: command-line options put over both.
        found: settings that something else than the user says, such as an image; they are put over `source` and under
            `sets`. Here a None is a value: the setting's default.

    Raises:
        ConfigError: for a file that cannot be read, and for unknown keys and unfit values: one error that lists all of
            them, each with its file and line or its option, and the nearest valid key.
    """
    data, places = ({}, {}) if source is None else _read(_found(source))
    for name, path, value in found:
        place = tuple(path.split("."))
        _put(data, place, value)
        places[place] = name
    for text in sets:
        place, value = _setting(text)
        _put(data, place, value)
        places[place] = f"--set {dotted(place)}"
    for name, path, value in options:
        if value is not None:
            place = tuple(path.split("."))
            _put(data, place, value)
            places[place] = name
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data, places) from error


def with_options(config: RunConfig, options: Iterable[Option]) -> RunConfig:
    """`config` with options put over it, checked once more; a None is a setting that is not given.

    Raises:
        ConfigError: as :func:`load_config`.
    """
    data: dict[str, Any] = config.plain()
    places: dict[Place, str] = {}
    for name, path, value in options:
        if value is not None:
            place = tuple(path.split("."))
            _put(data, place, value)
            places[place] = name
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data, places) from error


def value_of(path: str, text: str) -> Any:
    """The value that `text` is for the setting at `path`: as in a YAML file, prompts and folders as they stand.

    Raises:
        ConfigError: for what is not YAML; the message names neither file nor option.
    """
    field = field_at(tuple(path.split(".")))
    kind = None if field is None else section_of(field)
    if field is not None and VERBATIM in field.metadata:
        return text
    if kind is not None and kind.short is not None and not text.lstrip().startswith("{"):
        return {kind.short: text}
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {text!r} is not YAML: {_reason(error)}.") from error


def read_section(name: str, kind: type[S], options: Iterable[Option]) -> S:
    """The section `name` of a config from command-line options alone, checked in the same way; paths are its keys."""
    given = [option for option in options if option[2] is not None]
    data = {key: value for _, key, value in given}
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data, {(key,): option for option, key, _ in given}, kind, (name,)) from error


@cache
def preset(name: str) -> RunConfig | None:
    """The config of a preset, or None where there is no preset of that name."""
    return load_config(presets_folder() / f"{name}.yaml") if name in preset_names() else None


def _found(source: str | PathLike[str]) -> Path:
    path = Path(source).expanduser()
    preset = presets_folder() / f"{source}.yaml"
    if not path.exists() and path.name == str(source) and preset.is_file():
        return preset
    return path


def _read(file: Path) -> tuple[dict[str, Any], dict[Place, str]]:
    """What a YAML file holds, and where each value of it stands."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        close = nearest(str(file), preset_names())
        meant = f"; did you mean the preset {close}?" if close else "."
        raise ConfigError(f"there is no config file {file}{meant}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not a text file in UTF-8 (byte {error.start}).") from error
    except OSError as error:
        raise ConfigError(f"the config {file} cannot be read: {error.strerror}.") from error
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        places: dict[Place, str] = {(): f"{file}:"}
        if node is not None:
            _walk(node, (), str(file), places, ())
        data = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}{_spot(error)}: this is not YAML: {_reason(error)}.") from error
    except (RecursionError, ValueError) as error:  # nested a thousand deep; a date that does not exist
        raise ConfigError(f"{file} cannot be read as YAML: {error}.") from error
    if data is None:
        raise ConfigError(f"{file} is empty; a config has at least one setting, such as 'model: shapes'.")
    if not isinstance(data, dict):
        raise ConfigError(f"{file} must be made of settings such as 'steps: 30'; it holds {data!s:.40}.")
    return data, places


def _walk(node: yaml.Node, place: Place, file: str, places: dict[Place, str], above: tuple[yaml.Node, ...]) -> None:
    """Note the line of every value, and refuse what YAML's own loader lets pass: a key given twice."""
    if node in above:
        raise ConfigError(f"{_line(file, node)} this value holds itself.")
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            places[*place, index] = _line(file, item)
            _walk(item, (*place, index), file, places, above)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            if key.value in seen:
                raise ConfigError(f"{_line(file, key)} {dotted((*place, key.value))} is given a second time.")
            seen.add(key.value)
            places[*place, key.value] = _line(file, key)
            _walk(value, (*place, key.value), file, places, above)


def _line(file: str, node: yaml.Node) -> str:
    return f"{file}, line {node.start_mark.line + 1}:"


def _spot(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _reason(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).rstrip(".")


def _setting(text: str) -> tuple[tuple[str, ...], Any]:
    """The place and the value of `weighting.strength=4`."""
    path, equals, value = text.partition("=")
    place = tuple(part.strip() for part in path.split("."))
    if not equals or not all(place):
        raise ConfigError(f"--set {text} has not the form key=value, such as weighting.strength=4.")
    try:
        return place, value_of(".".join(place), value)
    except ConfigError as error:
        raise ConfigError(f"--set {error}") from error.__cause__


def _put(data: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    """Set the value at `place`, making the sections on the way; short forms are written out first."""
    *sections, last = place
    for depth, key in enumerate(sections, start=1):
        field = field_at(place[:depth])
        inner = data.get(key)
        kind = None if field is None else section_of(field)
        inner = inner if kind is None else kind.expand(inner)
        # A section that is off or blank (capture: false) is on again once something in it is set.
        data[key] = inner = dict(inner) if isinstance(inner, dict) else {}
        data = inner
    data[last] = value

"""What is wrong with a config, in the user's terms: one error that lists every problem with its place."""

from collections.abc import Collection, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from promptattn.config.sections import RunConfig, Section
from promptattn.config.values import nearest
from promptattn.errors import ConfigError

__all__ = ["Place", "Places", "dotted", "field_at", "refusal", "section_of", "setting_paths"]

Place = tuple[str | int, ...]
"""The keys and list indices that lead to a value: `("weighting", "strength")`."""

Places = Mapping[Place, str]
"""Where a value was given, for messages: `my.yaml, line 4:` or `--steps`."""

# What the same setting is called in diffusers and other tools.
_ELSEWHERE = {
    "batch_size": "images",
    "cfg": "guidance",
    "cfg_scale": "guidance",
    "guidance_scale": "guidance",
    "model_id": "model",
    "negative": "negative_prompt",
    "num_images_per_prompt": "images",
    "num_inference_steps": "steps",
    "out": "export.folder",
    "output": "export.folder",
    "sampler": "scheduler",
    "torch_dtype": "dtype",
    "true_cfg_scale": "true_cfg",
}


def refusal(
    error: ValidationError, data: Any, places: Places, root: type[Section] = RunConfig, prefix: Place = ()
) -> ConfigError:
    """A ConfigError with all problems of `data`, in the order in which they were given.

    `prefix` leads to `data` where it is only a section of a config.
    """
    order = list(places)
    found: dict[str, int] = {}
    for detail in error.errors():
        # What is missing, or is no text, is told of the section that it belongs to.
        part = detail["type"] in ("missing", "invalid_key")
        place = _within(detail["loc"][:-1] if part else detail["loc"], data)
        given = next((place[:cut] for cut in range(len(place), -1, -1) if place[:cut] in places), ())
        # A part that does not exist was given with what is in it.
        within = (each for each in places if each[: len(place)] == place)
        where = places.get(given) or places.get(next(within, ()), "")
        # An option of the command line is its own name; a file's line is not.
        path = "" if where.startswith("--") else f" {dotted((*prefix, *place)) or 'the config'}"
        message = f"{where}{path} {_told(detail, place, root)}".strip()
        found.setdefault(message, order.index(given) if given in places else -1)
    messages = [_ended(message) for message in sorted(found, key=lambda message: found[message])]
    if len(messages) == 1:
        return ConfigError(messages[0])
    return ConfigError(f"{len(messages)} settings cannot be used:" + "".join(f"\n  {message}" for message in messages))


def dotted(place: Place) -> str:
    """`capture.patches[1]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def setting_paths(section: type[Section] = RunConfig, prefix: str = "") -> list[str]:
    """The dotted path of every setting, sections included: `weighting`, `weighting.method` ..."""
    paths = []
    for name, field in section.model_fields.items():
        inner = section_of(field)
        paths.append(prefix + name)
        if inner is not None:
            paths += setting_paths(inner, f"{prefix}{name}.")
    return paths


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds, or None for a plain value."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


def field_at(place: Place, root: type[Section] = RunConfig) -> FieldInfo | None:
    """The field that `place` leads to, or None where there is none."""
    field: FieldInfo | None = None
    section: type[Section] | None = root
    for key in place:
        if section is None or key not in section.model_fields:
            return None
        field = section.model_fields[str(key)]
        section = section_of(field)
    return field


def _ended(message: str) -> str:
    return message if message.endswith("?") else f"{message}."


def _within(place: Place, data: Any) -> Place:
    """`place` without the steps that lead into values which the config wrote without a list round them."""
    kept: list[str | int] = []
    for part in place:
        inside = part < len(data) if isinstance(data, list) and isinstance(part, int) else part in _keys_of(data)
        if not inside:
            break
        data = data[part]
        kept.append(part)
    return tuple(kept)


def _keys_of(data: Any) -> Collection[Any]:
    return data if isinstance(data, Mapping) else ()


def _told(detail: ErrorDetails, place: Place, root: type[Section]) -> str:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    match kind:
        case "extra_forbidden":
            return f"is no setting{_meant(place, root)}"
        case "missing":
            return f"lacks its {detail['loc'][-1]}"
        case "value_error":
            return str(context["error"])
        case "string_type":
            quote = "" if isinstance(given, dict | list) else "; put it in quotes"
            return f"must be text, not {_shown(given)}{quote}"
        case "string_too_short":
            return "must not be empty"
        case "int_type" | "int_from_float" | "int_parsing" | "int_parsing_size":
            return f"must be a whole number, not {_shown(given)}"
        case "float_type" | "float_parsing":
            return f"must be a number, not {_shown(given)}"
        case "finite_number":
            return f"must be a finite number, not {_shown(given)}"
        case "bool_type" | "bool_parsing":
            return f"must be true or false, not {_shown(given)}"
        case "list_type":
            return f"must be a list, not {_shown(given)}"
        case "model_type" | "dict_type":
            return f"must be a section{_keys(place, root)}, not {_shown(given)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}, not {_shown(given)}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}, not {_shown(given)}"
        case "less_than":
            return f"must be below {context['lt']}, not {_shown(given)}"
        case "invalid_key":
            return f"has the key {_shown(given)}, which is no text"
        case _:
            return f"cannot be used: {detail['msg']}"


def _shown(value: Any) -> str:
    """A value as YAML has it, cut where it is long."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    text = repr(value) if isinstance(value, str | int | float | list | dict) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _section_at(place: Place, root: type[Section]) -> type[Section] | None:
    if not place:
        return root
    field = field_at(place, root)
    return None if field is None else section_of(field)


def _keys(place: Place, root: type[Section]) -> str:
    section = _section_at(place, root)
    return f" with the keys {', '.join(section.model_fields)}" if section else ""


def _meant(place: Place, root: type[Section]) -> str:
    """What the user may have meant by an unknown key: the same one elsewhere, or one like it."""
    *inside, name = (str(part) for part in place)
    section = _section_at(tuple(inside), root)
    here = [".".join([*inside, each]) for each in section.model_fields] if section else []
    paths = setting_paths(root)
    other = _ELSEWHERE.get(name.lower())
    meant = [path for path in paths if _leaf(path) == name] + ([other] if other in paths else [])
    if not meant and (close := nearest(name, [_leaf(path) for path in here])):
        meant = [path for path in here if _leaf(path) == close]
    if not meant and (close := nearest(name, [_leaf(path) for path in paths])):
        meant = [path for path in paths if _leaf(path) == close]
    return f"; did you mean {' or '.join(meant)}?" if meant else f"; there are {', '.join(here)}"


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]

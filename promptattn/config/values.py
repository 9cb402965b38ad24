"""Values of a config: from what YAML can say to what the API takes, checked, and back again."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from promptattn.errors import ConfigError
from promptattn.selection import Steps, check_steps

__all__ = ["VERBATIM", "Exponent", "Listed", "Number", "Patch", "StepChoice", "WordChoice", "nearest", "one_of"]

T = TypeVar("T")

VERBATIM: Final = "verbatim"
"""Metadata of a field whose text `--set` takes as it stands: a prompt such as `[small] cat` is no YAML list."""


def nearest(name: str, known: Collection[str], also: Mapping[str, str] = {}) -> str:
    """The one of `known` that `name` is most like, or that `also` says is meant by it; empty if there is none."""
    low = name.lower()
    close = get_close_matches(low, [each.lower() for each in known], n=1)
    return also.get(low) or next((each for each in known if close and each.lower() == close[0]), "")


def one_of(known: Collection[str], also: Mapping[str, str] = {}) -> AfterValidator:
    """A validator for text that must be one of `known`; `also` are other names for them, to be proposed only."""

    def check(name: str) -> str:
        if name not in known:
            close = nearest(name, known, also)
            meant = f"; did you mean {close}?" if close else ""
            raise ValueError(f"must be one of {', '.join(known)}, not {name!r}{meant}")
        return name

    return AfterValidator(check)


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e3 as text, because it has no point; here it is meant as a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
"""A finite number."""


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


def _unlisted(values: Any) -> Any:
    return values[0] if values and len(values) == 1 and not isinstance(values[0], list | tuple) else values


Listed = Annotated[list[T], BeforeValidator(_listed), PlainSerializer(_unlisted)]
"""A list that may be written without its brackets when there is only one."""


def _word(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and len(value) == 2:
        text, occurrence = value
        if isinstance(text, str) and isinstance(occurrence, int) and not isinstance(occurrence, bool):
            return text, occurrence
    raise ValueError(f'must be a text in quotes, or a text and its occurrence from 0 such as ["a", 1], not {value!r}')


def _word_in_yaml(word: Any) -> Any:
    return word if isinstance(word, str) else list(word)


WordChoice = Annotated[Any, BeforeValidator(_word), PlainSerializer(_word_in_yaml)]
"""A word or phrase of the prompt: `cat`, or `[a, 1]` for the second "a"."""


def _patch(value: Any) -> Any:
    numbers = isinstance(value, list | tuple) and all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in value
    )
    if not numbers or len(value) != 2:
        raise ValueError(f"must be a list of places [row, column], such as [[0.5, 0.25]]; {value!r} is no place")
    return float(value[0]), float(value[1])


Patch = Annotated[Any, BeforeValidator(_patch), PlainSerializer(list)]
"""A place of the image: `[row, column]`, as shares of its height and width."""


def _exponent(value: Any) -> Any:
    if value == "exact":
        return value
    number = _number(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
        raise ValueError(f'must be "exact" or a positive number, not {value!r}')
    return float(number)


Exponent = Annotated[Any, BeforeValidator(_exponent)]
"""The `strength` of weights: a positive number, or `exact`."""

_RANGE = "{start: 0, stop: 10} or, as shares of the run, {start: 0.0, stop: 0.4}"


def _steps(value: Any) -> Steps:
    """A mapping is a range and a list is single steps: a Python tuple, which tells them apart there, has no YAML."""
    steps: Any = value
    if isinstance(value, dict):
        if set(value) != {"start", "stop"}:
            raise ValueError(f"takes start and stop and nothing else, as in {_RANGE}")
        ends = _number(value["start"]), _number(value["stop"])
        if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
            raise ValueError(f"must have numbers as start and stop, as in {_RANGE}")
        steps = ends if all(isinstance(end, int) for end in ends) else (float(ends[0]), float(ends[1]))
    elif isinstance(value, int) and not isinstance(value, bool):
        steps = [value]
    elif not isinstance(value, list) or any(isinstance(step, bool) or not isinstance(step, int) for step in value):
        raise ValueError(f"must be a list of step numbers such as [0, 5, 10], or a range {_RANGE}; it is {value!r}")
    try:
        check_steps(steps, "steps")
    except ConfigError as error:
        raise ValueError(f"selects no step: {value!r}; write {_RANGE}, or a list of step numbers from 0") from error
    return steps


def _steps_in_yaml(steps: Steps) -> Any:
    return {"start": steps[0], "stop": steps[1]} if isinstance(steps, tuple) else steps


StepChoice = Annotated[Any, BeforeValidator(_steps), PlainSerializer(_steps_in_yaml)]
"""Denoising steps: `[0, 5, 10]` are these three, `{start: 0, stop: 10}` the first ten, and
`{start: 0.0, stop: 0.4}` the first 40 % of the run. In Python a :data:`promptattn.selection.Steps`."""

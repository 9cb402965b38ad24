"""`0.5..2.0:0.25`: the numbers from one end to the other, exactly, as they are written into a prompt."""

import re
from decimal import Context, Decimal

__all__ = ["RangeError", "looks_like_range", "range_values"]

LARGEST = Decimal("1e12")
DECIMALS = 12

_PARTS = re.compile(r"\s*([^\s,:]*?)\s*\.\.\s*([^\s,:]*)\s*(?::\s*([^\s,]*)\s*)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NUMERIC = re.compile(r"\d|nan|inf", re.IGNORECASE)
_EXACT = Context(prec=60)  # LARGEST with all its decimals, and their products, fit twice over


class RangeError(ValueError):
    """What is wrong with a range, as the end of a sentence."""


def looks_like_range(text: str) -> bool:
    """Whether `text` is meant as a range, right or wrong: two dots between things of which one is like a number."""
    parts = _PARTS.fullmatch(text)
    return parts is not None and any(part and _NUMERIC.search(part) for part in parts.groups())


def range_values(text: str, most: int) -> tuple[str, ...]:
    """The numbers of `from..to:step`, both ends included where the step meets them, down as well as up.

    All have as many decimals as the range was written with, so that `{0..1.0:0.5}` gives 0.0, 0.5 and 1.0: in a
    schedule 1.0 is all steps, and 1 is one step. The step may be left out between whole numbers: then it is 1.

    Raises `RangeError` for what is no number, is too large or too fine, for a step of 0 or away from the end, and for
    more than `most` values.
    """
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise RangeError("is no range; write {from..to:step}")
    start, end = _number(parts[1]), _number(parts[2])
    step = _step(parts[3], start, end)
    count = int(_EXACT.divide_int(abs(_EXACT.subtract(end, start)), abs(step))) + 1 if start != end else 1
    if count > most:
        raise RangeError(f"has {count} values, and {most} are the most; take a larger step, or raise the limit")
    decimals = max(_decimals(each) for each in (start, end, step))
    values = (_EXACT.fma(step, Decimal(index), start) for index in range(count))
    return tuple(f"{abs(value) if value == 0 else value:.{decimals}f}" for value in values)


def _number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise RangeError(f"needs a number where it has {text!r}; write {{from..to:step}}, such as {{0.5..2:0.25}}")
    value = Decimal(text)
    if abs(value) > LARGEST or _decimals(value) > DECIMALS:
        raise RangeError(f"cannot hold {text}: numbers go up to {LARGEST:.0e}, with up to {DECIMALS} decimals")
    return value


def _step(text: str | None, start: Decimal, end: Decimal) -> Decimal:
    if text is None:
        if _decimals(start) or _decimals(end):
            raise RangeError("needs a step between numbers that are not whole, such as :0.25")
        return Decimal(1 if end >= start else -1)
    step = _number(text)
    if step == 0:
        raise RangeError("has a step of 0, which leads nowhere")
    if end < start:
        return -abs(step)
    if step < 0 and end > start:
        raise RangeError(f"has the step {text}, which leads away from {end}")
    return step


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # not infinite: that is no _NUMBER
    return max(0, -exponent)

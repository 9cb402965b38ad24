"""Numbers of the study as texts: in tables, and in JSON."""

import json
import re
from collections.abc import Mapping
from math import isfinite, isnan
from typing import Any

from promptattn.shapes.study.statistics import Estimate

__all__ = ["compact", "interval", "rounded", "shown"]

_PERCENT = ("own_present", "other_present", "shape", "broken", "backwards", "gathered", "gone")
_SHARES = ("rises", "monotone", "turns_back")


def interval(measure: str, value: Estimate | None) -> str:
    """A value with the ends of its interval; empty for None, the value alone where the interval has no width."""
    if value is None:
        return ""
    middle, low, high = (shown(measure, each) for each in value)
    return middle if low == middle == high else f"{middle} ({low} to {high})"


def shown(measure: str, value: float | str | None) -> str:
    """A value of this measure: shares in percent, others with two digits; a text is an infinity that was rounded."""
    if value is None or isinstance(value, str):
        return "none" if value is None else "above all" if value == "inf" else "below all"
    if measure in (*_PERCENT, *_SHARES):
        return f"{100 * value:.0f} %"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def rounded(value: Any) -> Any:
    """Four significant digits. JSON has no infinity, which becomes a text, and no nan, which becomes null."""
    if isinstance(value, Mapping):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if isfinite(value) else None if isnan(value) else f"{value}"


def compact(found: Mapping[str, Any]) -> str:
    """JSON with one line for each list of numbers."""
    text = json.dumps(found, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + re.sub(r"\s+", " ", match[1]) + "]", text) + "\n"

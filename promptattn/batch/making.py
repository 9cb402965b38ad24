"""Making the lines of one call, and writing each to a folder of its own."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promptattn.batch.folder import ITEM
from promptattn.batch.grouping import Group
from promptattn.batch.items import Item
from promptattn.errors import PromptAttnError, PromptAttnWarning
from promptattn.run.cost.estimate import SHORT_OF_MEMORY
from promptattn.run.from_config import CONFIG_FILE, filled_in, options_of, write_made
from promptattn.run.generate import Generation, generate

__all__ = ["Made", "Outcome", "make", "write"]

_log = logging.getLogger(__name__)

OnStep = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Outcome:
    """What became of one line: what was made, or the reason why nothing was; and what was warned of meanwhile."""

    item: Item
    made: Generation | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()


Made = list[Outcome]


def make(pipe: Any, group: Group, on_step: OnStep = None, **more: Any) -> Made:
    """Make the lines of a group in one call; where that fails, each alone, so that only those fail that must.

    `more` is passed on to :func:`promptattn.generate`.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PromptAttnWarning)
        error: str | None = None
        made: list[Generation] = []
        try:
            made = _call(pipe, group, on_step, more)
        # Whatever a prompt can make of a pipeline: the other lines go on, and this one says what it was.
        except Exception as problem:
            error = _said(problem)
            _log.info("lines %s", [item.line.number for item in group], exc_info=problem)
    told = tuple(dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, PromptAttnWarning)))
    if error is None:
        return [Outcome(item, one, None, told) for item, one in zip(group, made, strict=True)]
    if len(group) == 1:
        return [Outcome(group[0], None, error, told)]
    return [outcome for item in group for outcome in make(pipe, [item], on_step, **more)]


def write(outcome: Outcome, pipe: Any, folder: Path) -> Outcome:
    """Write what one line made into `folder/NAME`; a line whose maps cannot be written as it asks has failed.

    Raises:
        OSError: where the disk does not take it.
    """
    item, made = outcome.item, outcome.made
    assert made is not None
    into = folder / item.name
    into.mkdir()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PromptAttnWarning)
        try:
            write_made(made, into, item.config.export)
        except OSError:
            raise
        except Exception as problem:
            shutil.rmtree(into)
            return replace(outcome, made=None, error=_said(problem))
    later = (str(each.message) for each in caught if issubclass(each.category, PromptAttnWarning))
    outcome = replace(outcome, warnings=tuple(dict.fromkeys((*outcome.warnings, *later))))
    export = item.config.export.model_copy(update={"folder": item.name})
    text = filled_in(item.config.model_copy(update={"export": export}), pipe, made).to_yaml()
    (into / CONFIG_FILE).write_text(text, encoding="utf-8")
    said = {
        "prompt": item.prompt,
        "negative_prompt": item.negative,
        "seed": item.seed,
        "images": sorted(path.relative_to(into).as_posix() for path in into.rglob("image*.png")),
        # What is kept does not depend on how full the machine was.
        "warnings": [each for each in outcome.warnings if not each.startswith(SHORT_OF_MEMORY)],
        "digest": item.digest,
        "request": item.request,
    }
    readable = json.dumps(said, ensure_ascii=False, indent=1, default=str)
    (into / ITEM).write_bytes(readable.encode("utf-8", "backslashreplace"))
    return outcome


def _call(pipe: Any, group: Group, on_step: OnStep, more: dict[str, Any]) -> list[Generation]:
    first, options = group[0], options_of(group[0].config)
    if len(group) == 1:
        return [
            generate(
                pipe,
                first.prompt,
                first.negative,
                seed=first.seed,
                num_images_per_prompt=first.config.images,
                on_step=on_step,
                **options,
                **more,
            )
        ]
    made = generate(
        pipe,
        [item.prompt for item in group],
        None if first.negative is None else [item.negative or "" for item in group],
        seed=[item.seed for item in group],
        on_step=on_step,
        **options,
        **more,
    )
    return [_alone(made, index, item) for index, item in enumerate(group)]


def _alone(made: Generation, index: int, item: Item) -> Generation:
    """One image of a call as if it had been made alone."""
    negative = None if item.negative is None else [item.negative]
    own: dict[str, Any] = {"prompt": [item.prompt], "negative_prompt": negative, "seed": item.seed}
    maps = None if made.maps is None else made.maps.image(index)
    if maps is not None:
        weighted = {"weighted_prompts": [maps.meta["weighted_prompts"][index]]}
        call = {key: value for key, value in maps.meta.items() if key != "image"}
        maps = replace(maps, meta={**call, **weighted, **own})
    return Generation([made.images[index]], maps, item.seed, {**made.settings, **own})


def _said(error: Exception) -> str:
    """One sentence of what went wrong."""
    if isinstance(error, PromptAttnError):
        return str(error)
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def tell_of(outcomes: Sequence[Outcome]) -> dict[str, list[Item]]:
    """Which warning concerns which lines, in the order in which they came."""
    found: dict[str, list[Item]] = {}
    for outcome in outcomes:
        for warning in outcome.warnings:
            found.setdefault(warning, []).append(outcome.item)
    return found

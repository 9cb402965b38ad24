"""`explain`: all that can be said of a prompt before an image is made."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from promptattn.explanation.acting import Note, notes
from promptattn.explanation.model import ModelFacts, model_facts
from promptattn.explanation.reading import read
from promptattn.explanation.readings import PromptReading
from promptattn.prompt import Diagnostic, Prompt
from promptattn.prompt.parsing import as_prompt
from promptattn.prompt.timeline import check_steps
from promptattn.weighting import Method, Strength, chosen

__all__ = ["Explanation", "Finding", "explain"]

_STEPS = 20  # where neither the user nor a preset says how many


@dataclass(frozen=True)
class Finding:
    """What the prompt's reader found: see :class:`promptattn.prompt.Diagnostic`.

    `pointer` are two lines: the place in the text as written, and a caret under it.
    """

    code: str
    severity: str
    message: str
    source: str
    start: int
    end: int
    pointer: str


@dataclass(frozen=True)
class Explanation:
    """How a model reads a prompt, and what its weights will do there.

    Attributes:
        model: what is known of the model without its weights.
        syntax: how the prompts were written.
        method: the weighting, by its options.
        steps: of the run that schedules are resolved for.
        prompt, negative: the prompts' readings; None without a negative prompt.
        notes: what will and what will not act on this model, and why.
        findings: what is odd about the texts themselves, with a caret under the place.
    """

    model: ModelFacts
    syntax: str
    method: dict[str, Any] = field(hash=False)
    steps: int
    prompt: PromptReading
    negative: PromptReading | None
    notes: tuple[Note, ...]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists, strings and numbers, for JSON."""
        return _plain(asdict(self))


def explain(
    prompt: str | Prompt,
    pipe_or_name: Any = "shapes",
    negative_prompt: str | Prompt | None = None,
    *,
    syntax: str = "a1111",
    weighting: str | Method = "attention",
    where: str = "auto",
    strength: Strength = None,
    steps: int | None = None,
) -> Explanation:
    """Tell how a model reads a prompt: its tree, its timeline, its tokens, and what each weight becomes where.

        explained = promptattn.explain("a (red:1.4) [cat:dog:0.5]", "sdxl")
        [note.message for note in explained.notes]

    No weights are loaded for a model given by name: tokenizers and configs are enough.

    Args:
        pipe_or_name: a pipeline, or a preset, folder or hub id.
        weighting, where, strength: as for :func:`promptattn.attend`.
        steps: of the run; None is what suits the preset, or else 20.

    Raises:
        ConfigError: for a syntax, method, place, strength or number of steps that there is not.
        UnsupportedModelError: when there is no such model, or its tokenizers cannot tell which characters a token is.
    """
    method = chosen(weighting, where, strength)
    if steps is not None:
        check_steps(steps)
    parsed = as_prompt(prompt, syntax)
    against = None if negative_prompt is None else as_prompt(negative_prompt, syntax)
    model, source = model_facts(pipe_or_name)
    count = steps or int(model.settings.get("num_inference_steps", _STEPS))
    options: dict[str, Any] = dict(steps=count, syntax=syntax)
    positive, found, plain = read(parsed, source, model, method, **options)
    negative, others, more = (None, [], []) if against is None else read(against, source, model, method, **options)
    return Explanation(
        model=model,
        syntax=syntax,
        method={"name": method.name, **asdict(method)},
        steps=count,
        prompt=positive,
        negative=negative,
        notes=notes(model, method, positive, negative, [*plain, *more]),
        findings=(
            *_findings(found, positive.source, "prompt"),
            *(_findings(others, negative.source, "negative_prompt") if negative else ()),
        ),
    )


def _findings(found: Sequence[Diagnostic], text: str, source: str) -> list[Finding]:
    order = sorted(found, key=lambda each: (each.start, each.end))
    return [
        Finding(each.code, each.severity, each.message, source, each.start, each.end, each.pointer(text))
        for each in order
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value

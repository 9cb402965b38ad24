"""Reading a prompt: which text holds in which steps, and its tokens and words in every text encoder."""

from itertools import pairwise
from typing import Any

from promptattn.errors import PromptSyntaxError
from promptattn.explanation.model import ModelFacts
from promptattn.explanation.readings import (
    EncoderReading,
    Moment,
    PartReading,
    PromptReading,
    Text,
    TokenReading,
    WordReading,
)
from promptattn.explanation.tree import tree_of
from promptattn.prompt import Blend, Diagnostic, EncoderPlan, Part, Prompt, find_in_timeline, plan
from promptattn.prompt.diagnostics import few_of_each
from promptattn.prompt.mixture import mixture
from promptattn.weighting import Method, Weighting

__all__ = ["read"]


def read(
    prompt: Prompt, source: Any, model: ModelFacts, method: Method, *, steps: int, syntax: str
) -> tuple[PromptReading, list[Diagnostic], list[Prompt]]:
    """The reading of a prompt, all findings about it, and every plain prompt that it comes to.

    `source` is what :func:`promptattn.prompt.plan` takes, `syntax` the one to write moments in where it can say them.
    """
    found = dict.fromkeys([*prompt.diagnostics, *find_in_timeline(prompt, steps)])
    plain: dict[Prompt, None] = {}
    length = model.settings.get("max_sequence_length")

    def texts(moment: Prompt) -> tuple[Text, ...]:
        blended = []
        for mixed, weight in mixture(moment):
            part = Part(mixed, weight)  # which refuses a weight that is not finite
            planned = plan(source, part.prompt, max_sequence_length=length)
            found.update(dict.fromkeys(planned.diagnostics))
            plain[part.prompt] = None
            encoders = tuple(_encoder(each, model, method) for each in planned.encoders)
            blended.append(Text(part.prompt.text, part.weight, encoders))
        return tuple(blended)

    parts = []
    for part in prompt.parts:
        moments = tuple(
            Moment(ranges, _written(moment, syntax), texts(moment))
            for moment, ranges in _moments(part.prompt, steps).items()
        )
        parts.append(PartReading(part.weight, moments))
    written = prompt.source if prompt.source is not None else _written(prompt, syntax)
    return PromptReading(written, tree_of(prompt, steps), tuple(parts)), list(few_of_each(found)), list(plain)


def _moments(prompt: Prompt, steps: int) -> dict[Prompt, tuple[tuple[int, int], ...]]:
    """Each prompt of the timeline once, with the ranges of steps (first, last) in which it holds."""
    changes = prompt.timeline(steps)
    ends = [(start, end - 1) for (start, _), (end, _) in pairwise([*changes, (steps, prompt)])]
    found: dict[Prompt, tuple[tuple[int, int], ...]] = {}
    for (_, moment), range_ in zip(changes, ends, strict=True):
        found[moment] = (*found.get(moment, ()), range_)
    return found


def _written(prompt: Prompt, syntax: str) -> str:
    """The prompt in `syntax`, or else in A1111's, or compel's, which alone has blends."""
    try:
        return prompt.render(syntax)
    except PromptSyntaxError:
        return prompt.render("compel" if isinstance(prompt.nodes[0], Blend) else "a1111")


def _encoder(planned: EncoderPlan, model: ModelFacts, method: Method) -> EncoderReading:
    role = next((encoder.role for encoder in model.encoders if encoder.name == planned.name), "rows")
    in_rows = role == "rows"
    tokens = tuple(
        TokenReading(
            token.index,
            token.id,
            token.text,
            None if token.word is None else planned.words[token.word].text,
            token.weight,
            method.in_denoiser(token.weight) if in_rows else None,
            method.in_text_encoder(token.weight),
            token.chunk,
            token.slot,
        )
        for token in planned.tokens
    )
    lost = {word.index for word in planned.cut}
    words = tuple(
        WordReading(
            word.text,
            word.occurrence,
            word.weight,
            word.tokens,
            ("partly" if word.tokens else "cut") if word.index in lost else "read" if word.tokens else "no token",
            _acts(word.weight, in_rows, method) if word.tokens else (),
        )
        for word in planned.words
    )
    chunks = tuple(len(chunk.tokens) for chunk in planned.chunks)
    cut = tuple(word.text for word in planned.cut)
    return EncoderReading(planned.name, role, planned.window, chunks, tokens, words, cut)


def _acts(weight: float, in_rows: bool, method: Method) -> tuple[str, ...]:
    if weight == 1.0:
        return ()
    if not isinstance(method, Weighting):
        return ("embeddings",) if in_rows or method.pooled else ()
    places = {
        "denoiser": in_rows and method.in_denoiser(weight) != 1.0,
        "text encoder": method.in_text_encoder(weight) != 1.0,
    }
    return tuple(place for place, there in places.items() if there)

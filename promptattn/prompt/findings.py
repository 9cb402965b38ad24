"""Findings about tokens: weights that cannot act, words that are cut, text that the tokenizer does not know."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.nodes import Break
from promptattn.prompt.numbers import plain_decimal
from promptattn.prompt.tokens import Frame, TextToken, Tokenizer
from promptattn.prompt.tree import Prompt
from promptattn.prompt.weights import SpanWeights
from promptattn.prompt.words import Word

if TYPE_CHECKING:
    from promptattn.prompt.encoder_plan import EncoderPlan

__all__ = ["find_in_tokens"]

_SHOWN = 60  # words named in one message


def find_in_tokens(plan: "EncoderPlan", tokenizer: Tokenizer, frame: Frame, can_chunk: bool) -> Iterator[Diagnostic]:
    """Every finding about the tokens of one encoder. Positions are those of the text as the user wrote it."""
    prompt, tokens = plan.prompt, (*plan.tokens, *plan.lost)
    yield from _straddling(prompt, tokens)
    yield from _without_token(prompt, tokens, plan.words)
    yield from _unknown(prompt, tokenizer, tokens, frame)
    yield from _all_zero(prompt, tokens)
    yield from _split_words(plan)
    yield from _cut_words(plan)
    if not can_chunk:
        yield from _ignored_breaks(plan)


def _straddling(prompt: Prompt, tokens: Sequence[TextToken]) -> Iterator[Diagnostic]:
    weights = SpanWeights(prompt)
    for token in tokens:
        held = weights.within(token.start, token.end)
        if len(held) > 1:
            text = prompt.text[token.start : token.end]
            values = " and ".join(plain_decimal(weight) for weight in held)
            message = f"{text!r} is one token across the weights {values}; it takes {plain_decimal(token.weight)}"
            yield Diagnostic("straddling-token", message, *prompt.locate(token.start, token.end))


def _without_token(prompt: Prompt, tokens: Sequence[TextToken], words: Sequence[Word]) -> Iterator[Diagnostic]:
    """Visible text that no token stands for: it is not seen by the model, whatever its weight."""
    covered = [False] * len(prompt.text)
    for token in tokens:
        covered[token.start : token.end] = [True] * (token.end - token.start)
    for word in words:
        if not any(covered[word.start : word.end]):
            message = f"the tokenizer makes no token of {word.text!r}, so the model does not see it"
            yield Diagnostic("no-token", message, *prompt.locate(word.start, word.end))
    for span, (start, end) in zip(prompt.spans, prompt.ranges, strict=True):
        if span.weight != 1.0 and not span.text.isspace() and not any(covered[start:end]):
            message = f"weight {plain_decimal(span.weight)} cannot act: {_short(span.text)} makes no token of its own"
            yield Diagnostic("weight-without-token", message, *prompt.locate(start, end))


def _unknown(prompt: Prompt, tokenizer: Tokenizer, tokens: Sequence[TextToken], frame: Frame) -> Iterator[Diagnostic]:
    """Text that the tokenizer reads as one of its marks: literally, or because it has no token for it."""
    # Of a template only what no text is read as is a mark.
    marks = {*frame.before, *frame.after} & {*tokenizer.added_tokens_decoder}
    unknown = getattr(tokenizer, "unk_token_id", None)
    for _, row in groupby(tokens, key=lambda token: token.id if token.id == unknown or token.id in marks else None):
        run = list(row)
        if run[0].id != unknown and run[0].id not in marks:
            continue
        start, end = run[0].start, run[-1].end
        text, mark = prompt.text[start:end], tokenizer.convert_ids_to_tokens(run[0].id)
        if run[0].id in marks and mark in text:
            message = f"{_short(text)} is the tokenizer's own mark for the start or end of a prompt, and is read as one"
            yield Diagnostic("special-token", message, *prompt.locate(start, end))
        else:
            message = f"the tokenizer does not know {_short(text)}; the model sees {mark!r} in its place"
            yield Diagnostic("unknown-text", message, *prompt.locate(start, end))


def _all_zero(prompt: Prompt, tokens: Sequence[TextToken]) -> Iterator[Diagnostic]:
    if tokens and all(token.weight == 0.0 for token in tokens):
        message = "every word has weight 0, so nothing of the prompt is left to follow"
        yield Diagnostic("all-zero", message, *prompt.locate(0, len(prompt.text)))


def _split_words(plan: "EncoderPlan") -> Iterator[Diagnostic]:
    for left, right in pairwise(plan.tokens):
        if left.chunk != right.chunk and left.word is not None and left.word == right.word:
            word = plan.words[left.word]
            message = f"{_short(word.text)} is longer than a chunk and is split between two"
            yield Diagnostic("split-word", message, *plan.prompt.locate(word.start, word.end))


def _cut_words(plan: "EncoderPlan") -> Iterator[Diagnostic]:
    if not plan.lost:
        return
    named = " ".join(_short(word.text, quoted=False) for word in plan.cut[:_SHOWN])
    more = f" and {len(plan.cut) - _SHOWN} more" if len(plan.cut) > _SHOWN else ""
    message = f"{plan.name} takes {len(plan.tokens)} tokens of text; {len(plan.lost)} more do not fit: {named}{more}"
    start, end = min(token.start for token in plan.lost), max(token.end for token in plan.lost)
    yield Diagnostic("cut-words", message, *plan.prompt.locate(start, end))


def _ignored_breaks(plan: "EncoderPlan") -> Iterator[Diagnostic]:
    first = next((node for node in plan.prompt.nodes if isinstance(node, Break)), None)
    if first is not None:
        place = (first.start, first.end) if first.start >= 0 else (plan.prompt.breaks[0],) * 2
        yield Diagnostic(
            "break-ignored", f"{plan.name} reads one chunk only, so BREAK does nothing there", *place, "info"
        )


def _short(text: str, quoted: bool = True) -> str:
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    return repr(shown) if quoted else shown

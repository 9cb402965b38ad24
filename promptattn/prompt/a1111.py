"""The prompt syntax of the Stable Diffusion web UI (A1111, and Forge after it).

    (word)      weight x 1.1               \\( \\) \\[ \\] \\\\   the character itself
    [word]      weight / 1.1               BREAK           the text after it starts a new chunk
    (word:1.2)  weight x 1.2               <lora:x:0.8>    taken out of the text and reported

Nesting multiplies. Round and square brackets pair up among their own kind, so they may cross. A bracket that is never
closed holds to the end, one that was never opened is text. A number is decimal, with sign and surrounding spaces
allowed; what is no number stays text, and its bracket counts as a plain one. A lone backslash is dropped.

Where this reader deliberately differs from A1111's:

* `(word:1.2.3)`, `(word:.)`: A1111 crashes; here the number is text, as in `(word:1,2)`.
* A number too large for a float is text, and a nested product too large for one gives weight 1; both are reported.
  A1111 goes on with infinity.
* Weights multiply in decimal: `((word))` is 1.21, not 1.2100000000000002. Neighbours whose weights A1111 tells apart
  by such a last digit are one span here.
* `BREAK` is a node, not a text of weight -1, so text of weight -1 never fuses with it. Whitespace next to it is
  dropped across brackets too.
* Empty spans are left out; the empty prompt has none.
* Only `<lora:...>`, `<lyco:...>` and `<hypernet:...>` are taken for tags; A1111 takes out every `<name:...>`.
* Half a surrogate pair becomes U+FFFD, since no tokenizer can encode it.
* `[from:to:when]`, `[a|b]` and `AND`, which A1111 resolves before it reads weights, are read as text and reported.

Everything runs in linear time and without recursion, whatever the nesting.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from math import isfinite

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.mistakes import find_mistakes
from promptattn.prompt.nodes import Break, Span
from promptattn.prompt.render import plain_decimal
from promptattn.prompt.source import CleanSource, clean_source
from promptattn.prompt.syntax import DECIMAL, BreakWord, Close, Event, Open, Text, read_syntax
from promptattn.prompt.tree import Prompt

__all__ = ["ABSURD_WEIGHT", "parse_a1111"]

ABSURD_WEIGHT = 100.0  # by magnitude; above it a weight is reported, and still used


def parse_a1111(written: str) -> Prompt:
    """Read `written` in A1111 syntax (this module's docstring). Never fails; what looks wrong is in `.diagnostics`."""
    source = clean_source(written)
    events = read_syntax(source.text)
    found = find_mistakes(source.text, events)
    nodes: list[Span | Break] = []
    for event, weight in _weighted(events):
        nodes.append(_node(source, event, weight, found))
    prompt = Prompt(tuple(nodes), source=written)
    placed = [_placed(source, diagnostic) for diagnostic in found]
    every = dict.fromkeys([*source.diagnostics, *placed, *_absurd(prompt)])
    return replace(prompt, diagnostics=tuple(sorted(every, key=lambda d: (d.start, d.end))))


def _weighted(events: list[Event]) -> Iterator[tuple[Text | BreakWord, Decimal]]:
    """Texts and breaks, each with the product of the factors of the brackets round it.

    The two kinds of bracket may cross, but each nests in itself, so one running product per kind and level will do.
    """
    products = {"(": [Decimal(1)], "[": [Decimal(1)]}
    for event in events:
        if isinstance(event, Open):
            levels = products[event.bracket.kind]
            levels.append(DECIMAL.multiply(levels[-1], event.bracket.factor))
        elif isinstance(event, Close):
            products[event.bracket.kind].pop()
        elif isinstance(event, Text | BreakWord):
            yield event, DECIMAL.multiply(products["("][-1], products["["][-1])


def _node(source: CleanSource, event: Text | BreakWord, exact: Decimal, found: list[Diagnostic]) -> Span | Break:
    start, end = source.origins[event.start], source.origins[event.end - 1] + 1
    if isinstance(event, BreakWord):
        return Break(start, end)
    weight = float(exact)
    if not isfinite(weight):
        message = "the weights round this text multiply to more than a number can hold; it keeps weight 1"
        found.append(Diagnostic("infinite-weight", message, event.start, event.end))
        weight = 1.0
    elif weight == 0.0 and exact != 0:
        message = "the weights round this text multiply to less than a number can hold; it has weight 0"
        found.append(Diagnostic("vanished-weight", message, event.start, event.end))
    origins = tuple(source.origins[event.start : event.end])
    return Span(source.text[event.start : event.end], weight, start, end, origins)


def _placed(source: CleanSource, diagnostic: Diagnostic) -> Diagnostic:
    """The same diagnostic, its positions moved from the text without tags to the text as written."""
    start, end = source.origins[diagnostic.start], source.origins[diagnostic.end - 1] + 1
    return replace(diagnostic, start=start, end=end)


def _absurd(prompt: Prompt) -> Iterator[Diagnostic]:
    for span in prompt.spans:
        if abs(span.weight) > ABSURD_WEIGHT:
            message = f"weight {plain_decimal(span.weight)} is far beyond what a model was trained to follow"
            yield Diagnostic("absurd-weight", f"{message} (more than {ABSURD_WEIGHT:g})", span.start, span.end)

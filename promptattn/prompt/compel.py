"""The prompt syntax of compel (as InvokeAI uses it), version 2.

    word+  word++    weight x 1.1 a sign          (a b)1.3  "a b"1.3      weight x 1.3
    word-  word--    weight x 0.9 a sign          (a b)+  (a b)--         likewise for several words
    word.attend(1.3), (a b).attend(++)            the same, spelt out
    ("a", "b").and()   ("a", "b").and(1, 0.5)     embeddings one after the other, as with A1111's BREAK
    ("a", "b").blend(1, 0.5)                      embeddings mixed; no_normalize as the last argument
    \\( \\) \\" \\+ \\- \\. \\, \\=               the character itself

Nesting multiplies. A weight stands right behind what it weighs, and a word that is to be weighed or a bracket starts
after a blank or another bracket: `super(cat)+` is all text. So is a bracket that cannot be read to its end, a number
behind a single word, and a sign that has a character right behind it: `x-ray`. Round brackets hold words, `,` and `.`;
a loose `-`, `+` or `=` in one makes it text.

compel hands its encoder a list of pieces, and joins those of equal weight with blanks. Here the pieces become one text:
between two of them stands one blank, but none before `, . ; : ! ?` right behind a word. The blank has weight 1 where
either neighbour has. Other blanks are one blank. A comma is followed by one.

`.and(w, ...)` moves the whole embedding of a part away from that of the empty prompt, w times as far. Weights do the
same for single words, so each is multiplied by that of its part; this is the same for weights from 1 up.

Where this reader deliberately differs from compel's:

* `\\+ \\- \\. \\, \\=` lose their backslash; compel keeps it in the text that the model sees.
* A prompt goes on behind `.and()`, so that the operator is text and reported; compel drops what follows.
* Arguments that are no weights, too many or too few of them, and weights of a blend that sum to 0: the operator is
  text and reported. compel crashes, or mixes with infinite weights.
* Weights multiply in decimal; a number too large for a float is text. Half a surrogate pair becomes U+FFFD.
* `.swap()` is refused with `PromptSyntaxError`: it edits an image and cannot be said with weights.
* `\\n` and `\\t` in a quotation stay what they are; compel makes them blanks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from promptattn.prompt.assembly import exact_weight
from promptattn.prompt.compel_reader import BLANK, NUMBER, Reader, Run, skip_blanks
from promptattn.prompt.diagnostics import Diagnostic, in_order
from promptattn.prompt.foreign import find_foreign
from promptattn.prompt.limits import find_absurd
from promptattn.prompt.nodes import Blend, Break, Node, Part, Span
from promptattn.prompt.source import CleanSource, clean_characters, unescaped
from promptattn.prompt.syntax import DECIMAL
from promptattn.prompt.tree import Prompt

__all__ = ["CLOSING", "ESCAPE", "parse_compel"]

CLOSING = ",.;:!?"  # right behind a word, these need no blank before them
ESCAPE = re.compile(r'\\(?=[()",.+\-=])')
_COMMA = re.compile(r",(?=\S)")
_OPERATOR = re.compile(rf"[{BLANK}]*\.(?P<name>and|add|blend)[{BLANK}]*\((?P<options>[^()]*)\)[{BLANK}]*")
_LOOKS_LIKE_OPERATOR = re.compile(r"\)\s*\.(?:and|add|blend)\s*\(")
_A1111_WEIGHT = re.compile(r"(?<!\\):\s*[+-]?[.\d]+\s*\)")


def parse_compel(written: str) -> Prompt:
    """Read `written` in compel syntax (this module's docstring). What looks wrong is in `.diagnostics`.

    Raises `PromptSyntaxError` for `.swap()`.
    """
    clean = clean_characters(written)
    source = _with_blanks(clean)
    found: list[Diagnostic] = []
    late: list[Diagnostic] = []
    combined = _combination(source.text, found)
    if combined is None:
        reader = Reader(source.text, found)
        nodes: list[Node] = [*_spans(source, reader.prompt(0, len(source.text)), Decimal(1), late)]
    elif combined.blend:
        texts = (tuple(_spans(source, runs, Decimal(1), late)) for runs in combined.parts)
        prompts = [Prompt(text, source=written) for text in texts]
        weighed = (Part(prompt, float(weight)) for prompt, weight in zip(prompts, combined.weights, strict=True))
        nodes = [Blend(tuple(weighed), combined.normalise)]
    else:
        nodes = []
        for number, (runs, weight) in enumerate(zip(combined.parts, combined.weights, strict=True)):
            nodes += [Break()] if number else []
            nodes += _spans(source, runs, weight, late)
    found += [*_mistaken(source.text, combined), *find_foreign(source.text, "compel")]
    prompt = Prompt(tuple(nodes), source=written)
    placed = (source.placed(one) for one in found)
    return replace(prompt, diagnostics=in_order([*clean.diagnostics, *placed, *late, *find_absurd(prompt)]))


def _with_blanks(clean: CleanSource) -> CleanSource:
    """The text with a blank after every comma; that blank has the comma's place."""
    pieces: list[str] = []
    origins: list[int] = []
    start = 0
    for comma in _COMMA.finditer(clean.text):
        pieces += [clean.text[start : comma.end()], " "]
        origins += [*range(start, comma.end()), comma.start()]
        start = comma.end()
    pieces.append(clean.text[start:])
    origins += range(start, len(clean.text) + 1)
    return CleanSource("".join(pieces), origins)


@dataclass(frozen=True, slots=True)
class _Combination:
    parts: list[list[Run]]
    weights: list[Decimal]
    blend: bool
    normalise: bool


def _combination(text: str, found: list[Diagnostic]) -> _Combination | None:
    """What `("a", "b").and()` or `.blend()` combines, where that is all there is."""
    place = skip_blanks(text, 0, len(text))
    if text[place : place + 1] != "(" or not _LOOKS_LIKE_OPERATOR.search(text):
        return None
    about: list[Diagnostic] = []
    reader = Reader(text, about)
    parts: list[list[Run]] = []
    while text[place : place + 1] in ("(", ",") and (place == 0 or not parts or text[place] == ","):
        place = skip_blanks(text, place + 1, len(text))
        target = reader.target(place, len(text)) if place < len(text) else None
        if target is None:
            return None
        parts.append(target[0])
        place = skip_blanks(text, target[1], len(text))
    operator = _OPERATOR.fullmatch(text, place + 1) if text[place : place + 1] == ")" else None
    weights = _weights(operator["options"], len(parts)) if operator else None
    if operator is None or weights is None:
        return None
    normalise = "no_normalize" not in operator["options"]
    blend = operator["name"] == "blend"
    if (blend and normalise and sum(float(weight) for weight in weights) == 0.0) or (not blend and not normalise):
        return None
    found += about
    return _Combination(parts, weights, blend, normalise)


def _weights(options: str, count: int) -> list[Decimal] | None:
    """The weights between an operator's brackets, one for each part; None where they are not that."""
    given = [option.strip(BLANK) for option in options.split(",")] if options.strip(BLANK) else []
    if given and given[-1] == "no_normalize":
        given.pop()
    if not all(NUMBER.fullmatch(option.removeprefix("-")) for option in given):
        return None
    weights = [DECIMAL.create_decimal(option) for option in given] or [Decimal(1)] * count
    return weights if len(weights) == count and all(abs(float(weight)) < float("inf") for weight in weights) else None


def _spans(source: CleanSource, runs: Sequence[Run], factor: Decimal, found: list[Diagnostic]) -> list[Span]:
    """The runs as spans, blanks put between them."""
    spans: list[Span] = []
    before = 0  # where the last run ended
    for run in runs:
        places = unescaped(source.text, ESCAPE, run.start, run.end)
        origins = tuple(source.origins[place] for place in places)
        weight = exact_weight(DECIMAL.multiply(run.weight, factor), source.place(run.start, run.end), found)
        text = "".join(source.text[place] for place in places)
        if spans:
            gap = source.text[before : run.start]
            blank = next((at for at, character in enumerate(gap) if character in BLANK), None)
            if blank is not None or text[0] not in CLOSING:
                place = source.origins[before + blank] if blank is not None else source.origins[run.start - 1]
                owner = weight if weight == 1.0 and spans[-1].weight != 1.0 else spans[-1].weight
                spans.append(Span(" ", owner, place, place + 1, (place,)))
        spans.append(Span(text, weight, origins[0], origins[-1] + 1, origins))
        before = run.end
    return spans


def _mistaken(text: str, combined: _Combination | None) -> list[Diagnostic]:
    """Operators that could not be read, and weights written as in other syntaxes."""
    found: list[Diagnostic] = []
    if combined is None:
        for operator in _LOOKS_LIKE_OPERATOR.finditer(text):
            message = (
                "this operator is read as text: it needs quoted parts in one bracket before it, as many weights as "
                "parts or none (not summing to 0 in a blend), and nothing behind it"
            )
            found.append(Diagnostic("bad-operator", message, *operator.span()))
    for weight in _A1111_WEIGHT.finditer(text):
        message = f"{weight[0]!r:.60} is text in compel syntax; write the weight behind the bracket: (word)1.2"
        found.append(Diagnostic("foreign-weight", message, *weight.span()))
    return found

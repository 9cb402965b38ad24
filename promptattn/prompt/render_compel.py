"""Writing a prompt in compel syntax, so that parsing what was written gives the same words under the same weights.

compel parts every weighted run from its neighbours by a blank and makes one blank of several, so blanks do not survive
to the letter. Words that a weight holds together with their neighbours, `(fe:1.2)male`, cannot be written.
"""

import re
from collections.abc import Sequence

from promptattn.errors import PromptSyntaxError
from promptattn.prompt.compel import CLOSING
from promptattn.prompt.compel_reader import BLANK, Reader
from promptattn.prompt.letters import join_to_one_word
from promptattn.prompt.nodes import Blend, Break, Node, Span
from promptattn.prompt.numbers import plain_decimal
from promptattn.prompt.render_comfy import missing_in
from promptattn.prompt.tree import Prompt

__all__ = ["render_compel"]

_WORDS = re.compile(rf"[^{BLANK}]+")
_AT_COMMAS = re.compile(r"(?<=,)(?!\Z)")  # where reading puts a blank
_SYMBOL = re.compile(r'[()",.+\-=]')
# In brackets `,` and `.` may stand bare at the end of a word, signs before a character of one.
_NEEDS_ESCAPE = re.compile(rf'(?<=\\)[()",.+\-=]|[()"=]|[,.](?![,.]*\Z)|[+-](?=[{BLANK}()",.+\-=]|\Z)')


def render_compel(prompt: Prompt) -> str:
    """`prompt` with `(text)weight` for each span whose weight is not 1, `.and()` for breaks, `.blend()` for a blend.

    Raises `PromptSyntaxError` for schedules, `AND`, negative weights, and a weight that begins or ends inside a word.
    """
    only = prompt.nodes[0] if len(prompt.nodes) == 1 else None
    if isinstance(only, Blend):
        weights = ", ".join(plain_decimal(part.weight) for part in only.parts)
        parts = [_quoted(_spans(part.prompt.nodes)) for part in only.parts]
        return f"({', '.join(parts)}).blend({weights}{'' if only.normalise else ', no_normalize'})"
    chunks: list[list[Node]] = [[]]
    for node in prompt.nodes:
        if isinstance(node, Break):
            chunks.append([])
        else:
            chunks[-1].append(node)
    if len(chunks) == 1:
        return _text(_spans(chunks[0]), quoted=False)
    return f"({', '.join(_quoted(_spans(chunk)) for chunk in chunks)}).and()"


def _spans(nodes: Sequence[Node]) -> list[Span]:
    spans = [node for node in nodes if isinstance(node, Span)]
    for node in nodes:
        if not isinstance(node, Span):
            raise PromptSyntaxError(missing_in("compel", node))
    for span in spans:
        if span.weight < 0.0:
            raise PromptSyntaxError(
                f"compel syntax cannot say a negative weight: {plain_decimal(span.weight)} on {span.text.strip()!r:.60}"
            )
    return spans


def _quoted(spans: Sequence[Span]) -> str:
    text = _text(spans, quoted=True)
    return f'"{text} "' if text.endswith("\\") else f'"{text}"'


def _text(spans: Sequence[Span], quoted: bool) -> str:
    pieces: list[str] = []
    before = ""  # the last character so far that is no syntax; "" after a blank
    was_weighed = False
    for span in spans:
        words = _WORDS.findall(span.text)
        if not words:
            before = ""
            continue
        if before and span.text[0] not in BLANK:
            if join_to_one_word(before, span.text[0]):
                raise PromptSyntaxError(
                    "compel syntax cannot say a weight that begins or ends inside a word, since it parts what is "
                    f"weighed by a blank: {before + span.text!r:.60}"
                )
            pieces.append("" if span.text[0] in CLOSING and was_weighed else " ")
        elif pieces:
            pieces.append(" ")
        if span.weight == 1.0:
            pieces.append(" ".join(_bare(word, quoted) for word in words))
        else:
            inside = " ".join(_escaped(word) for word in words)
            pieces.append(f"({inside}{' ' if inside.endswith(chr(92)) else ''}){_number(span.weight)}")
        was_weighed = span.weight != 1.0
        before = "" if span.text[-1] in BLANK else words[-1][-1]
    return "".join(pieces)


def _bare(word: str, quoted: bool) -> str:
    """A word of weight 1: as it is where that is read as text, else escaped."""
    if word in ("useLora", "withLora"):  # with a bracket behind it, this would name a network
        return f"({word})1.0"
    if not quoted and not _SYMBOL.search(word):
        return word
    # A quotation mark may find its partner in another word, a backslash or a sign like `.` one in what stands beside.
    alone = not quoted and word[0] not in CLOSING and not {'"', "\\"} & set(word)
    return word if alone and all(map(_is_text, _AT_COMMAS.split(word))) else _escaped(word)


def _is_text(word: str) -> bool:
    reader = Reader(word)
    try:
        runs = reader.prompt(0, len(word))
    except PromptSyntaxError:  # .swap()
        return False
    return not reader.diagnostics and [(run.start, run.end, float(run.weight)) for run in runs] == [(0, len(word), 1.0)]


def _escaped(word: str) -> str:
    return _NEEDS_ESCAPE.sub(r"\\\g<0>", word)


def _number(weight: float) -> str:
    """A decimal with a point, so that a point behind it is not taken for its own."""
    written = plain_decimal(weight)
    return written if "." in written else f"{written}.0"

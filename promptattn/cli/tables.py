"""Tables of tokens, as `tokens` and `explain` print them."""

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from promptattn.console import out

if TYPE_CHECKING:
    from promptattn.explanation import EncoderReading

__all__ = ["token_table"]

_COLUMNS = ("#", "id", "token", "word", "weight", "denoiser", "text encoder", "chunk")
_LEFT = ("token", "word")
_ACTING = ("denoiser", "text encoder")
_WIDE = 64
_ONLY_WIDE = ("#", "id", "token", "chunk")


def token_table(title: str, encoder: "EncoderReading", *, acting: bool = True) -> Group:
    """One row for each token that the encoder reads, and the words that are cut off.

    With `acting`, also what a token's weight becomes in attention. A narrow terminal gets the words and weights alone.
    """
    chunks = len(encoder.chunks)
    used = f"{_counted(len(encoder.tokens), 'token')} in {_counted(chunks, 'chunk')} of {encoder.window}"
    table = Table()
    left_out = set() if acting else set(_ACTING)
    if out.width < _WIDE:
        untouched = all(token.text_encoder in (1.0, None) for token in encoder.tokens)
        left_out |= {*_ONLY_WIDE, *(["text encoder"] if untouched else [])}
    columns = [name for name in _COLUMNS if name not in left_out]
    for name in columns:
        table.add_column(name, justify="left" if name in _LEFT else "right", overflow="fold")
    before = 0
    for token in encoder.tokens:
        if token.chunk > before:
            table.add_section()
            before = token.chunk
        cells = {
            "#": str(token.index),
            "id": str(token.id),
            "token": token.text,
            "word": token.word or "",
            "weight": f"{token.weight:g}",
            "denoiser": _odds(token.denoiser),
            "text encoder": _odds(token.text_encoder),
            "chunk": str(token.chunk + 1),
        }
        # Text, not markup: a prompt may well hold square brackets.
        table.add_row(*(Text(cells[name]) for name in columns), style="bold" if token.weight != 1 else None)
    cut = [Text("cut off: " + " ".join(encoder.cut), style="bold red")] if encoder.cut else []
    # A title of the table's own would be wrapped to its width.
    return Group(Text(f"{title}: {used}", style="italic"), table, *cut)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _odds(weight: float | None) -> str:
    """What a key is weighted by; nothing where it is left alone, a dash where the word has no key."""
    return "-" if weight is None else "" if weight == 1.0 else f"x {weight:.3g}"

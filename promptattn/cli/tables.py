"""Tables of tokens, as `tokens` and `explain` print them."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from promptattn.prompt import EncoderPlan

__all__ = ["token_table"]


def token_table(title: str, encoder: "EncoderPlan") -> Table:
    """One row for each token that the encoder reads."""
    chunks = len(encoder.chunks)
    used = f"{len(encoder.tokens)} tokens in {chunks} chunk{'s' if chunks > 1 else ''} of {encoder.window}"
    table = Table(title=Text(f"{title}: {used}"), title_justify="left")
    for name, justify in (("#", "right"), ("id", "right"), ("token", "left"), ("word", "left"), ("weight", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("chunk", justify="right")
    for token in encoder.tokens:
        word = "" if token.word is None else encoder.words[token.word].text
        weight = f"{token.weight:g}"
        # Text, not markup: a prompt may well hold square brackets.
        cells = (str(token.index), str(token.id), token.text, word, weight, str(token.chunk + 1))
        table.add_row(*map(Text, cells), style="bold" if token.weight != 1 else None)
    return table

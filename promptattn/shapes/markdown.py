"""Tables in Markdown, as reports of the shapes world write them."""

from collections.abc import Iterable, Sequence

__all__ = ["table", "titled"]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, cells as they stand."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def titled(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table under a heading of the third level."""
    return f"### {title}\n\n{table(header, rows)}"

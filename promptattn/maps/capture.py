"""What to record, chosen before the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Literal

from promptattn.errors import ConfigError
from promptattn.maps.stream import Stream
from promptattn.selection import Steps, check_steps

__all__ = ["RELATIONS", "Capture", "Relation"]

Relation = Literal["image->text", "text->text", "text->image", "image->image"]
RELATIONS: tuple[Relation, ...] = ("image->text", "text->text", "text->image", "image->image")


@dataclass(frozen=True)
class Capture:
    """Which attention to read off during a run. The defaults record every word everywhere, averaged over the run.

    Attributes:
        words: the words or phrases to keep, as in `maps[...]` (a text, or a text and its occurrence); None keeps
            every token of the prompt, start, end, and one sum for padding.
        patches: places of the image, as (row, column) shares of its height and width in [0, 1); each gives a map of
            how much every other place attends to it in the denoiser's self-attention.
        relations: `image->text`: where each word is looked at, in the denoiser. `text->text`: word to word, in the
            text encoders and in joint attention. `text->image`: where each word itself looks, in joint attention.
            `image->image` is recorded for `patches`.
        steps: the denoising steps to record (see :data:`promptattn.selection.Steps`); None records all.
        layers: names or globs of the denoiser's attention layers; None records all.
        heads: the attention heads to average over; None averages over all.
        per_step: keep every step apart as well. Memory then grows with the number of steps.
        per_head: keep every one of those heads apart as well, for words (patches stay a mean over heads). Memory then
            grows with the number of heads.
        stream: a folder, or a :class:`Stream` with options, to write what every layer records in every step to, of all
            the relations; heads apart with `per_head`. Memory does not grow with the steps or the heads then (unless
            `per_step` has `run.maps` keep steps apart): `run.maps` are means, and :func:`promptattn.open_records` reads
            the rest.

    Raises:
        ConfigError: for values that select nothing.
    """

    words: Sequence[str | tuple[str, int]] | str | None = None
    patches: Sequence[tuple[float, float]] = ()
    relations: Sequence[str] | str = ("image->text", "text->text")
    steps: Steps = None
    layers: Sequence[str] | str | None = None
    heads: Sequence[int] | None = None
    per_step: bool = False
    per_head: bool = False
    stream: Stream | str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        # One word, relation or head may stand without a list round it; a word's letters are not meant.
        for name in ("words", "relations"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, (getattr(self, name),))
        if isinstance(self.heads, int):
            object.__setattr__(self, "heads", (self.heads,))
        if isinstance(self.stream, str | PathLike):
            object.__setattr__(self, "stream", Stream(self.stream))
        check_steps(self.steps, "Capture(steps=...)")
        for relation in self.relations:
            if relation not in RELATIONS:
                raise ConfigError(f"Capture(relations=...): {relation!r} is none of {', '.join(RELATIONS)}.")
        for patch in self.patches:
            if not _is_place(patch):
                raise ConfigError(
                    f"Capture(patches=...): {patch!r} is not a place; give a list of (row, column) as shares of the"
                    " image's height and width, from 0 up to but not including 1."
                )
        if "image->image" in self.relations and not self.patches:
            raise ConfigError("Capture(relations=...): image->image needs patches=[(row, column), ...] to look at.")
        if self.heads is not None and not self.heads:
            raise ConfigError("Capture(heads=()) selects no head; leave it out to average over all.")
        if self.words is not None and not self.words:
            raise ConfigError("Capture(words=()) selects no word; leave it out to keep them all.")
        for word in self.words or ():
            if not _is_word(word):
                raise ConfigError(
                    f"Capture(words=...): {word!r} is no word; give a list of texts, or of a text and its occurrence"
                    ' from 0, such as ["cat", ("a", 1)].'
                )


def _is_place(patch: object) -> bool:
    return isinstance(patch, Sequence) and len(patch) == 2 and all(0 <= share < 1 for share in patch)


def _is_word(word: object) -> bool:
    if isinstance(word, str):
        return True
    return isinstance(word, tuple) and len(word) == 2 and isinstance(word[0], str) and isinstance(word[1], int)

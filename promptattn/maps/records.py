"""What a run recorded, as plain numpy: the data that `HeatMaps` answers questions from.

All masses are probabilities after weighting, float32 in [0, 1], means over heads and recorded steps unless an axis says
otherwise. Images of a batch stand first, and columns (what is attended to) last.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import CaptureError
from promptattn.prompt import Token, Word, find

__all__ = ["ColumnInfo", "ColumnKind", "LayerMaps", "PatchMaps", "PromptInfo", "Reading", "TextAttention"]

ColumnKind = Literal["start", "token", "end", "padding"]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class ColumnInfo:
    """What one column of the maps stands for: a token, a start or end marker, or the sum of the padding."""

    kind: ColumnKind
    text: str
    token: int | None = None
    """Index into the prompt's tokens, for `kind == "token"`."""
    chunk: int = 0
    """Which window of the text encoder it belongs to, counted from 0."""
    encoder: str = ""
    """The text encoder that read it (`text_encoder_2`), or "" where no encoder did: rows of zeros, hand-made maps."""
    word: int | None = None
    """Index of the prompt's word that a token is of, the same in all encoders; None where it is of none."""


@dataclass(frozen=True)
class Reading:
    """How a further text encoder reads a prompt; its words are those of the prompt, one by one."""

    encoder: str
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    cut: tuple[int, ...] = ()
    """Indices of the words that this encoder does not take, or not whole."""


@dataclass(frozen=True)
class PromptInfo:
    """One prompt of the batch: its text, its tokens and words (see `promptattn.prompt`), and what each column is.

    Tokens, words and what is cut are as the first text encoder has them whose tokens the denoiser sees.
    """

    text: str
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    columns: tuple[ColumnInfo, ...]
    cut: tuple[int, ...] = ()
    """Indices of the words that do not fit into the text encoder, or not whole."""
    encoder: str = ""
    """The name of that text encoder."""
    others: tuple[Reading, ...] = ()
    """Further encoders whose tokens the denoiser sees in rows of their own; a word's map is the sum of its copies."""
    versions: tuple[tuple[int, ...], ...] = ()
    """Of a prompt that was not one text at every step: for each text that it was the indices of its words, in order.

    `words` are those of all of them then, by their place in `text`, which is the prompt as the user wrote it."""

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How each encoder reads the prompt, the first one first."""
        return (Reading(self.encoder, self.tokens, self.words, self.cut), *self.others)

    def find(self, phrase: str, occurrence: int = 0) -> tuple[Word, ...]:
        """The words of an occurrence (from 0) of a word or phrase, in any text that the prompt was.

        Raises `CaptureError` where there is none; the message lists the words there are.
        """
        if not self.versions:
            return find(self.words, phrase, occurrence)
        places: dict[tuple[int, ...], tuple[Word, ...]] = {}
        for version in self.versions:
            for words in _occurrences([self.words[index] for index in version], phrase):
                places.setdefault(tuple(word.index for word in words), words)
        if 0 <= occurrence < len(places):
            return places[sorted(places)[occurrence]]
        if not places:
            find(self.words, phrase)  # says which words there are
            raise CaptureError(f"there is no {phrase!r} in any one text of this prompt, though its words are there")
        raise CaptureError(
            f"{phrase!r} stands {len(places)} times in this prompt; occurrences count from 0, so {occurrence} is none"
            " of them"
        )

    def copies(self, word: int) -> list[tuple[str, int]]:
        """Every token of the word of this index, as (encoder, token): those of all encoders that read it."""
        return [(reading.encoder, token) for reading in self.readings for token in reading.words[word].tokens]


def _occurrences(words: Sequence[Word], phrase: str) -> Iterator[tuple[Word, ...]]:
    for occurrence in range(len(words)):
        try:
            yield find(words, phrase, occurrence)
        except CaptureError:
            return


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """How much each place of the image attends to each column of the prompt in one cross- or joint-attention layer."""

    name: str
    """The module's path in the denoiser, e.g. `mid_block.attentions.0.transformer_blocks.0.attn2`."""
    grid: tuple[int, int]
    """(height, width) of the layer's own grid of image places."""
    mass: Array
    """`[image, height, width, column]`. In cross-attention with every column kept the columns of a place sum to 1,
    unless every weight there was 0; in joint attention what is missing from 1 goes to the image."""
    per_step: Array | None = None
    """`[step, image, height, width, column]`, where steps were kept apart."""
    per_head: Array | None = None
    """`[image, head, height, width, column]`, where heads were kept apart."""
    steps: tuple[int, ...] | None = None
    """The numbers of the denoising steps in `per_step`, if they are not simply 0, 1, 2 ..."""
    heads: tuple[int, ...] | None = None
    """The numbers of the heads in `per_head`, if they are not simply 0, 1, 2 ..."""

    def __post_init__(self) -> None:
        height, width = self.grid
        _expect(self.mass, ("image", height, width, "column"), f"mass of layer {self.name}")
        images, columns = self.mass.shape[0], self.mass.shape[-1]
        if self.per_step is not None:
            steps = "step" if self.steps is None else len(self.steps)
            _expect(self.per_step, (steps, images, height, width, columns), f"per_step of layer {self.name}")
        if self.per_head is not None:
            heads = "head" if self.heads is None else len(self.heads)
            _expect(self.per_head, (images, heads, height, width, columns), f"per_head of layer {self.name}")

    @property
    def step_numbers(self) -> tuple[int, ...]:
        """The denoising steps that were kept apart."""
        if self.per_step is None:
            return ()
        return tuple(range(len(self.per_step))) if self.steps is None else self.steps

    @property
    def head_numbers(self) -> tuple[int, ...]:
        """The heads that were kept apart."""
        if self.per_head is None:
            return ()
        return tuple(range(self.per_head.shape[1])) if self.heads is None else self.heads


@dataclass(frozen=True, eq=False)
class PatchMaps:
    """How much each place of one image self-attention layer attends to a picked patch."""

    name: str
    grid: tuple[int, int]
    patch: tuple[float, float]
    """(row, column) of the patch as it was picked, relative to the image: (0, 0) top left, (1, 1) bottom right."""
    mass: Array
    """`[image, height, width]`."""

    def __post_init__(self) -> None:
        _expect(self.mass, ("image", *self.grid), f"mass of patch {self.patch} in layer {self.name}")


@dataclass(frozen=True, eq=False)
class TextAttention:
    """How much each token of one prompt attends to each other one, in a text encoder or in joint attention."""

    encoder: str
    columns: tuple[ColumnInfo, ...]
    """What each row and column of the matrix is, in order."""
    mass: Array
    """`[layer, query_token, key_token]`, mean over heads, summing to 1 over keys where every key is kept."""
    prompt: int = 0
    """Index of the prompt it belongs to."""
    image: int | None = None
    """Index of the image it belongs to, in joint attention; a text encoder reads a prompt before there is any."""

    def __post_init__(self) -> None:
        count = len(self.columns)
        _expect(self.mass, ("layer", count, count), f"text attention of {self.encoder}")

    @property
    def tokens(self) -> tuple[str, ...]:
        """The texts along both axes of the matrix."""
        return tuple(column.text for column in self.columns)

    def reads(self, words: Iterable[Word]) -> list[Word]:
        """Those of `words` (punctuation left out) that the encoder read here, at least in part."""
        read = {column.word for column in self.columns}
        return [word for word in words if not word.is_punctuation and word.index in read]

    def word_matrix(self, words: Sequence[Word]) -> Array:
        """How much each word attends to each other one, float32 `[query_word, key_word]`, mean over layers.

        The mean over the query word's tokens of the sum over the key word's; 0 for words that the encoder did not read.
        """
        # By the word and not by its tokens: each encoder counts those of its own.
        member = np.array([[column.word == word.index for column in self.columns] for word in words], dtype=float)
        member = member.reshape(len(words), len(self.columns))
        mean = member / np.maximum(member.sum(axis=1, keepdims=True), 1)
        matrix: Array = (mean @ self.mass.mean(axis=0, dtype=np.float64) @ member.T).astype(np.float32)
        return matrix

    def between(self, query: Sequence[Word], key: Sequence[Word]) -> float:
        """Mass that the tokens of `query` (mean) give to the tokens of `key` (sum), mean over layers."""
        matrix = self.mass.mean(axis=0, dtype=np.float64)
        rows, keys = (
            [i for i, column in enumerate(self.columns) if column.word in {word.index for word in words}]
            for words in (query, key)
        )
        if not rows or not keys:
            texts = [" ".join(word.text for word in words) for words in (query, key)]
            raise CaptureError(f"{self.encoder} recorded no attention between {texts[0]!r} and {texts[1]!r}.")
        return float(matrix[np.ix_(rows, keys)].sum(axis=1).mean())


def _expect(array: Array, shape: tuple[int | str, ...], what: str) -> None:
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, shape))
        raise CaptureError(f"The {what} must have shape [{wanted}]; it has {list(array.shape)}.")
    if array.dtype != np.float32:
        raise CaptureError(f"The {what} must be float32; it is {array.dtype}.")

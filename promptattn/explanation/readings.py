"""A prompt as a model reads it, as plain data: the text of each step, and its tokens and words in every encoder."""

from dataclasses import dataclass

from promptattn.explanation.tree import TreeNode

__all__ = ["EncoderReading", "Moment", "PartReading", "PromptReading", "Text", "TokenReading", "WordReading"]


@dataclass(frozen=True)
class TokenReading:
    """A token as the encoder reads it: its id, its text, the word it is of, its chunk and its row in the embedding.

    `denoiser` and `text_encoder` are what its key is weighted by there; 1 leaves it alone, None is no key there.
    """

    index: int
    id: int
    text: str
    word: str | None
    weight: float
    denoiser: float | None
    text_encoder: float
    chunk: int
    row: int


@dataclass(frozen=True)
class WordReading:
    """A word in one encoder: which occurrence of its text it is, its weight, its tokens, and what is lost of it.

    `state` is `read`, `cut` (not read), `partly` (some of its tokens are not) or `no token` (it makes none).
    `acts` names where its weight does something: `denoiser`, `text encoder`, `embeddings`.
    """

    text: str
    occurrence: int
    weight: float
    tokens: tuple[int, ...]
    state: str
    acts: tuple[str, ...]


@dataclass(frozen=True)
class EncoderReading:
    """One text encoder's reading: tokens and words in order, and how many tokens each chunk of `window` rows holds."""

    name: str
    role: str
    window: int
    chunks: tuple[int, ...]
    tokens: tuple[TokenReading, ...]
    words: tuple[WordReading, ...]
    cut: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """A plain text that the encoders read, and its weight in a blend (1 where it stands alone)."""

    text: str
    weight: float
    encoders: tuple[EncoderReading, ...]


@dataclass(frozen=True)
class Moment:
    """What holds in some steps: `steps` are ranges (first, last), counted from 0; `prompt` is it in the user's syntax.

    `texts` is one text, or several where embeddings are blended.
    """

    steps: tuple[tuple[int, int], ...]
    prompt: str
    texts: tuple[Text, ...]


@dataclass(frozen=True)
class PartReading:
    """One of the prompts whose predictions are added, with its weight; its moments in the order in which they begin."""

    weight: float
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class PromptReading:
    """A prompt as written (`source`), as a tree, and as it is read. Without `AND` it has one part."""

    source: str
    tree: tuple[TreeNode, ...]
    parts: tuple[PartReading, ...]

    @property
    def texts(self) -> tuple[Text, ...]:
        """Every text of every part and moment."""
        return tuple(text for part in self.parts for moment in part.moments for text in moment.texts)

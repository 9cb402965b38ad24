"""The words and tokens of one prompt over all its versions, each once.

A prompt that is scheduled, composed or blended is several plain prompts. A word of two of them is the same word where
it stands at the same place of what the user wrote, and a token where it is the same token of the same place.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from promptattn.maps.records import Reading
from promptattn.prompt import EncoderPlan, Prompt, Token, Word
from promptattn.prompt.words import occurrences

__all__ = ["Vocabulary", "vocabulary"]

Version = tuple[EncoderPlan, ...]

# Where a word starts and ends, and its text: "cat" and "cut" of c[a|u]t share a place.
_Place = tuple[int, int, str]
# Where a token starts and ends, its id, how many of the same stand there before it, its word.
_TokenKey = tuple[int, int, int, int, int | None]
# From a version and a range of its clean text to the range in the common text.
_Locate = Callable[[int, int, int], tuple[int, int]]


@dataclass(frozen=True)
class Vocabulary:
    """What one prompt says in any of its versions.

    Attributes:
        text: what `start` and `end` of words and tokens refer to. The clean text of a prompt of one version, else the
            text as the user wrote it; for prompts made in code, which have none, the versions' texts in a row.
        readings: of each text encoder whose rows the denoiser sees. A word's weight is that of the first version that
            has it; it is cut where no version that has it gives it whole.
        versions: for each version its words, as indices into the words, in the order of its own text.
    """

    text: str
    readings: tuple[Reading, ...]
    versions: tuple[tuple[int, ...], ...]
    _tokens: Mapping[tuple[int, str], Sequence[int]]

    def token(self, version: int, encoder: str, token: int) -> int:
        """The index in the vocabulary of a version's token."""
        return self._tokens[version, encoder][token]

    def word(self, version: int, word: int | None) -> int | None:
        """The index in the vocabulary of a version's word."""
        return None if word is None else self.versions[version][word]


def vocabulary(prompt: Prompt, versions: Sequence[Version], encoders: Sequence[str]) -> Vocabulary:
    """The vocabulary of what `prompt` is in these versions; `encoders` are those whose rows the denoiser sees."""
    text, locate = _common_text(prompt, versions)
    places: dict[_Place, Word] = {}
    said: list[list[_Place]] = []
    for number, version in enumerate(versions):
        located = [(*locate(number, word.start, word.end), word.text) for word in version[0].words]
        for place, word in zip(located, version[0].words, strict=True):
            places.setdefault(place, word)
        said.append(located)
    order = {place: index for index, place in enumerate(sorted(places) if len(versions) > 1 else places)}
    words = _renumbered([(place, places[place]) for place in order])
    readings: dict[str, Reading] = {}
    tokens: dict[tuple[int, str], Sequence[int]] = {}
    for plans in zip(*versions, strict=True):
        name = plans[0].name
        readings[name], own = _reading(plans, words, order, said, locate)
        tokens |= {(number, name): each for number, each in enumerate(own)}
    inside = tuple(tuple(order[place] for place in each) for each in said)
    return Vocabulary(text, tuple(readings[name] for name in encoders), inside, tokens)


def _common_text(prompt: Prompt, versions: Sequence[Version]) -> tuple[str, _Locate]:
    """A text that holds the words of all versions, and where in it a range of a version's clean text stands."""
    plain = [version[0].prompt for version in versions]
    if len(plain) == 1:
        return plain[0].text, lambda version, start, end: (start, end)
    if prompt.source is not None and all(len(span.origins) == len(span.text) for each in plain for span in each.spans):
        return prompt.source, lambda version, start, end: plain[version].locate(start, end)
    starts = [0]
    for each in plain:
        starts.append(starts[-1] + len(each.text) + len(_BETWEEN))
    joined = _BETWEEN.join(each.text for each in plain)
    return joined, lambda version, start, end: (starts[version] + start, starts[version] + end)


_BETWEEN = " | "


def _renumbered(placed: Sequence[tuple[_Place, Word]]) -> list[Word]:
    counted = zip(placed, occurrences(word.text for _, word in placed), strict=True)
    return [
        replace(word, index=index, start=start, end=end, occurrence=occurrence, tokens=())
        for index, (((start, end, _), word), occurrence) in enumerate(counted)
    ]


def _reading(
    plans: Sequence[EncoderPlan],
    words: Sequence[Word],
    order: Mapping[_Place, int],
    said: Sequence[Sequence[_Place]],
    locate: _Locate,
) -> tuple[Reading, list[list[int]]]:
    """One encoder's tokens and words, and for each version what its own tokens are among them."""
    found: dict[_TokenKey, Token] = {}
    keys: list[list[_TokenKey]] = []
    for number, plan in enumerate(plans):
        times: Counter[tuple[int, int, int]] = Counter()
        keys.append([])
        for token in plan.tokens:
            word = None if token.word is None else order[said[number][token.word]]
            start, end = locate(number, token.start, token.end)
            # One character may be several tokens, so the same one may stand at one place more than once.
            key = (start, end, token.id, times[start, end, token.id], word)
            times[key[:3]] += 1
            keys[-1].append(key)
            found.setdefault(key, replace(token, start=start, end=end, word=word))
    ordered = sorted(found, key=lambda key: key[:2]) if len(plans) > 1 else list(found)
    index = {key: at for at, key in enumerate(ordered)}
    members: list[list[int]] = [[] for _ in words]
    for key, at in index.items():
        if key[4] is not None:
            members[key[4]].append(at)
    reading = Reading(
        plans[0].name,
        tuple(replace(found[key], index=at) for key, at in index.items()),
        tuple(replace(word, tokens=tuple(members[word.index])) for word in words),
        _cut(plans, order, said),
    )
    return reading, [[index[key] for key in own] for own in keys]


def _cut(
    plans: Sequence[EncoderPlan], order: Mapping[_Place, int], said: Sequence[Sequence[_Place]]
) -> tuple[int, ...]:
    """The words that no version of the encoder's text holds whole."""
    cut, whole = set[int](), set[int]()
    for number, plan in enumerate(plans):
        lost = {word.index for word in plan.cut}
        for word in plan.words:
            (cut if word.index in lost else whole).add(order[said[number][word.index]])
    return tuple(sorted(cut - whole))

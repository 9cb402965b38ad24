"""From wordings to the columns of the maps: which row of whose text is summed into which column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch

from promptattn.errors import CaptureError, UnsupportedModelError
from promptattn.maps import ColumnInfo, PromptInfo
from promptattn.maps.capture import Capture
from promptattn.processors.segments import Segment
from promptattn.prompt import EncoderPlan, Prompt, TokenPlan
from promptattn.run.text.slots import reader_of, slots_of
from promptattn.run.text.vocabulary import Version, Vocabulary, vocabulary
from promptattn.run.text.wordings import Wording, versions_of

if TYPE_CHECKING:
    from promptattn.maps.records import ColumnKind

__all__ = ["TextColumns", "check_words", "text_columns"]


@dataclass(frozen=True, eq=False)
class TextColumns:
    """What becomes of every row of the text embeddings, in every wording of a run.

    Attributes:
        prompts: for each prompt its words and what its columns are. A kept token of any wording has a column of its
            own; all start markers of an encoder share one, all its end markers one, and all its padding one, unless
            `Capture.words` chooses words.
        said: of each wording, for each strand and prompt, its vocabulary and the number of its version there.
        groups: of each wording, int64 `[strand, prompt, row]`: the column of each row of the text, -1 for none.
        missing: the words to capture that no wording has.
    """

    prompts: tuple[PromptInfo, ...]
    said: Mapping[Wording, "_Said"]
    groups: Mapping[Wording, torch.Tensor]
    missing: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of columns, of the prompt that has most."""
        return max(len(prompt.columns) for prompt in self.prompts)

    @cached_property
    def _is_token(self) -> list[torch.Tensor]:
        """For each prompt and column whether it is a token's; the last entry stands for no column."""
        return [torch.tensor([info.kind == "token" for info in each.columns] + [False]) for each in self.prompts]

    def text_rows(self, wording: Wording, strand: int) -> torch.Tensor:
        """int64 `[query]`: the rows of a wording that hold a kept token in any of the prompts."""
        groups = self.groups[wording][strand]
        kept = [is_token[row] for is_token, row in zip(self._is_token, groups, strict=True)]
        return torch.stack(kept).any(dim=0).nonzero().flatten()

    def token_rows(self, wording: Wording, strand: int, prompt: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Which of `text_rows` hold a token of this prompt, and the column of each."""
        groups = self.groups[wording][strand, prompt, self.text_rows(wording, strand)]
        rows = self._is_token[prompt][groups].nonzero().flatten()
        return rows, groups[rows]


_Wanted = set[tuple[str, int]] | None  # tokens of encoders; None is all
_Said = tuple[tuple[tuple[Vocabulary, int], ...], ...]


def text_columns(prompts: Sequence[Prompt], wordings: Sequence[Wording], capture: Capture | None) -> TextColumns:
    """The columns of these prompts, which are said in these wordings.

    Raises:
        UnsupportedModelError: when encoders that share rows cut a prompt into different tokens.
    """
    segments = wordings[0].positive.segments
    for plan in {id(plan): plan for each in wordings for strand in each.strands for plan in strand.plans}.values():
        _agree(plan, segments)
    # An encoder whose rows stand there twice has one column for each of its tokens.
    own = {reader_of(segment): segment for segment in segments}
    said = _said(prompts, wordings, [name for name in own if name])
    infos = [_info(words) for words, _ in said[wordings[0]][0]]
    chosen, missing = _chosen(infos, capture)
    encoders = wordings[0].strands[0].plans[0].encoders
    infos = [
        replace(
            info, columns=tuple(each for segment in own.values() for each in _columns(info, segment, encoders, wanted))
        )
        for info, wanted in zip(infos, chosen, strict=True)
    ]
    place: list[dict[tuple[str, str, int | None], int]] = [
        {(column.encoder, column.kind, column.token): index for index, column in enumerate(info.columns)}
        for info in infos
    ]
    groups = {wording: _groups(wording, said[wording], place) for wording in wordings}
    return TextColumns(tuple(infos), said, groups, missing)


def check_words(prompts: Sequence[Prompt], said: Sequence[Sequence[Version]], capture: Capture) -> None:
    """Refuse words to capture that no version of any prompt has; raises `CaptureError`."""
    names = [plan.name for plan in said[0][0]]
    infos = [_info(vocabulary(prompt, each, names)) for prompt, each in zip(prompts, said, strict=True)]
    for phrase in _chosen(infos, capture)[1]:
        raise CaptureError(f"Capture(words=...): {phrase}")


def _said(prompts: Sequence[Prompt], wordings: Sequence[Wording], names: Sequence[str]) -> dict[Wording, _Said]:
    """The vocabulary of each prompt, and which of its versions stands where."""
    versions = versions_of((strand for wording in wordings for strand in wording.strands), len(prompts))
    words = [vocabulary(prompt, list(known.values()), names) for prompt, known in zip(prompts, versions, strict=True)]
    numbers = [{version: number for number, version in enumerate(known)} for known in versions]

    def of(plans: Sequence[TokenPlan]) -> tuple[tuple[Vocabulary, int], ...]:
        return tuple((words[at], numbers[at][id(plan.encoders)]) for at, plan in enumerate(plans))

    return {wording: tuple(of(strand.plans) for strand in wording.strands) for wording in wordings}


def _info(words: Vocabulary) -> PromptInfo:
    first, *others = words.readings
    versions = words.versions if len(words.versions) > 1 else ()
    return PromptInfo(
        words.text, first.tokens, first.words, (), first.cut, first.encoder, tuple(others), versions=versions
    )


def _columns(
    info: PromptInfo, segment: Segment, encoders: Sequence[EncoderPlan], wanted: _Wanted
) -> Iterator[ColumnInfo]:
    """The columns of one encoder's rows: start, tokens, end and padding; of `wanted` tokens only, if given."""
    name = reader_of(segment)
    reading = next((each for each in info.readings if each.encoder == name), None)
    if reading is None:
        if wanted is None:
            yield ColumnInfo("padding", "<zeros>")
        return
    empty = next(encoder for encoder in encoders if encoder.name == name).empty_chunk
    kinds = {slot.kind for slot in empty.slots} | {"padding"} if wanted is None else set[str]()
    marks = {kind: ColumnInfo(cast("ColumnKind", kind), f"<{kind}>", encoder=name) for kind in kinds}
    yield from (marks[kind] for kind in ("start",) if kind in marks)
    for token in reading.tokens:
        if wanted is None or (name, token.index) in wanted:
            yield ColumnInfo("token", token.text, token.index, token.chunk, name, token.word)
    yield from (marks[kind] for kind in ("end", "padding") if kind in marks)


def _groups(wording: Wording, said: _Said, place: Sequence[Mapping[tuple[str, str, int | None], int]]) -> torch.Tensor:
    def columns(prompt: int, plan: TokenPlan, words: Vocabulary, version: int) -> Iterator[int]:
        for segment in wording.positive.segments:
            name = reader_of(segment)
            for slot in slots_of(plan.encoders, segment, wording.chunks):
                token = None if slot.token is None else words.token(version, name, slot.token)
                yield place[prompt].get((name, slot.kind, token), -1)

    return torch.tensor(
        [
            [list(columns(at, plan, *spoken[at])) for at, plan in enumerate(strand.plans)]
            for strand, spoken in zip(wording.strands, said, strict=True)
        ],
        dtype=torch.int64,
    )


def _chosen(infos: Sequence[PromptInfo], capture: Capture | None) -> tuple[list[_Wanted], tuple[str, ...]]:
    """For each prompt the tokens to capture, and for words that have none in any prompt the reason."""
    if capture is None or capture.words is None:
        return [None] * len(infos), ()
    chosen: list[set[tuple[str, int]]] = [set() for _ in infos]
    missing: list[str] = []
    for word in capture.words:
        phrase, occurrence = (word, 0) if isinstance(word, str) else word
        reason, found = "", False
        for info, wanted in zip(infos, chosen, strict=True):
            try:
                words = info.find(phrase, occurrence)
            except CaptureError as error:
                reason = reason or str(error)
                continue
            copies = {copy for each in words for copy in info.copies(each.index)}
            wanted |= copies
            found |= bool(copies)
        if not found:
            missing.append(reason or f"{phrase!r} is cut off before it reaches the model.")
    return list(chosen), tuple(missing)


def _agree(each: TokenPlan, segments: Sequence[Segment]) -> None:
    """Encoders whose embeddings stand side by side in one text row must cut the prompt into the same slots."""
    for segment in segments:
        for plans in (each.encoders, each.negative):
            sharing = [plan for plan in plans if plan.name in segment.encoders]
            for first, other in pairwise(sharing):
                if [(slot.kind, slot.token) for slot in first.slots] != [(s.kind, s.token) for s in other.slots]:
                    raise UnsupportedModelError(
                        f"{first.name} and {other.name} cut the prompt into different tokens, so their embeddings do"
                        " not line up and no row of text is one word; words can be neither weighted nor watched in"
                        " this model."
                    )

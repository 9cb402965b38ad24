"""What the text encoders recorded of themselves: attention between words, in every text that a prompt was."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from promptattn.maps import ColumnInfo, TextAttention
from promptattn.prompt import EncoderPlan
from promptattn.run.text.encoding import EncoderMaps
from promptattn.run.text.script import Timeline
from promptattn.run.text.vocabulary import Vocabulary
from promptattn.run.text.wordings import Wording

if TYPE_CHECKING:
    from promptattn.maps.records import ColumnKind

__all__ = ["text_encoder_maps"]


def text_encoder_maps(timeline: Timeline) -> Iterator[TextAttention]:
    """One matrix per encoder, text of a prompt and chunk that holds text, over start, the chunk's tokens, and end."""
    seen: set[tuple[int, int]] = set()
    for wording, strand in timeline.texts:
        fresh = []
        for prompt, (words, version) in enumerate(timeline.columns.said[wording][strand]):
            if (prompt, version) not in seen:
                seen.add((prompt, version))
                fresh.append((prompt, words, version))
        for maps in wording.maps[strand]:
            for prompt, words, version in fresh:
                yield from _matrices(maps, wording, strand, prompt, words, version)


def _matrices(
    maps: EncoderMaps, wording: Wording, strand: int, prompt: int, words: Vocabulary, version: int
) -> Iterator[TextAttention]:
    plans = wording.strands[strand].plans[prompt]
    encoder = next(encoder for encoder in plans.encoders if encoder.name == maps.encoder)
    if maps.chunk >= len(encoder.chunks):
        return
    infos, slots = _chunk_columns(encoder, maps.chunk, words, version)
    mass = maps.mass[prompt].float().cpu().numpy()
    # Another prompt of the batch may have more rows than this one.
    kept = np.searchsorted(maps.rows.numpy(), slots)
    which = [f"chunk {maps.chunk + 1}"] if len(encoder.chunks) > 1 else []
    which += [f"text {version + 1} of {len(words.versions)}"] if len(words.versions) > 1 else []
    name = f"{maps.encoder} ({', '.join(which)})" if which else maps.encoder
    yield TextAttention(name, infos, np.ascontiguousarray(mass[:, kept][:, :, kept]), prompt)


def _chunk_columns(
    encoder: EncoderPlan, chunk: int, words: Vocabulary, version: int
) -> tuple[tuple[ColumnInfo, ...], list[int]]:
    """What the slots of a chunk are, padding left out, and their positions in the encoder's window."""
    infos, positions = [], []
    for position, slot in enumerate(encoder.slots[chunk * encoder.window : (chunk + 1) * encoder.window]):
        if slot.kind == "padding":
            continue
        token = None if slot.token is None else encoder.tokens[slot.token]
        kind, text = cast("ColumnKind", slot.kind), f"<{slot.kind}>"
        if token is None:
            infos.append(ColumnInfo(kind, text, None, chunk, encoder.name))
        else:
            index, word = words.token(version, encoder.name, token.index), words.word(version, token.word)
            infos.append(ColumnInfo(kind, token.text, index, chunk, encoder.name, word))
        positions.append(position)
    return tuple(infos), positions

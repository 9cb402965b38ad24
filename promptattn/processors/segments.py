"""Where each text encoder's output stands among the text rows that a denoiser is given."""

import inspect
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from promptattn.denoisers import denoiser_of
from promptattn.errors import UnsupportedModelError
from promptattn.prompt import EncoderPlan

__all__ = [
    "FOUND_TEXTS",
    "TEXT_LAYOUTS",
    "Plans",
    "Segment",
    "Spoken",
    "TextLayout",
    "check_encoders",
    "knows_text",
    "row_encoders",
    "segments_of",
    "spoken_of",
    "text_layout",
]

Plans = Sequence[tuple[EncoderPlan, ...]]
"""For every prompt of the batch, one plan per text encoder; all with the same number of chunks."""


@dataclass(frozen=True)
class Segment:
    """A run of rows `start:stop` of the text embeddings that the denoiser is given.

    encoders: the text encoders whose embeddings stand side by side (along channels) in these rows; () for the rows of
        zeros that a pipeline puts in the place of an encoder that is None.
    """

    encoders: tuple[str, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Spoken:
    """Where embeddings stand among the results of `encode_prompt`, for a pipeline that is given its prompts as text.

    negative: where those of the negative prompt stand if they come from the same call; None if it has its own call.
    rewriters: from an argument of the pipeline's call to the part of the pipeline that rewrites prompts unless that
        argument is False.
    first: what `encode_prompt` is given where it encodes the first rows of the text, and further ones in other calls.
    cut: whether negative prompts are cut to as many rows as the prompts have.
    """

    positive: int = 0
    negative: int | None = None
    rewriters: Mapping[str, str] = field(default_factory=dict)
    first: Mapping[str, Any] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True)
class TextLayout:
    """What a pipeline's `encode_prompt` makes of its text encoders.

    Attributes:
        rows: the encoders in the order in which their rows follow each other; those of one group share rows. One whose
            rows stand there twice is named twice.
        needed: the encoders without which `encode_prompt` fails, whether they have rows or only a pooled vector.
        pooled: where the pooled vector stands among the results, or None; the embeddings stand first.
        mask: where it stands which rows of the embeddings may be attended to, or None. A pipeline makes that of what
            its tokenizer gives, so such a pipeline is asked to encode the prompt itself.
        spoken: set where the pipeline is given its prompts as text, and not as embeddings.
    """

    rows: tuple[tuple[str, ...], ...]
    needed: tuple[str, ...] = ()
    pooled: int | None = None
    mask: int | None = None
    spoken: Spoken | None = None


_ONE = ("text_encoder",)
_CLIPS = ("text_encoder", "text_encoder_2")

# By the denoiser's class: pipelines of one model (image to image, inpainting, ControlNet ...) encode text alike.
TEXT_LAYOUTS: dict[str, TextLayout] = {
    "SD3Transformer2DModel": TextLayout(rows=(_CLIPS, ("text_encoder_3",)), needed=_CLIPS, pooled=2),
    "FluxTransformer2DModel": TextLayout(rows=(("text_encoder_2",),), needed=_CLIPS, pooled=1),
    "ChromaTransformer2DModel": TextLayout(rows=(_ONE,), needed=_ONE, mask=2),
    "AuraFlowTransformer2DModel": TextLayout(rows=(_ONE,), needed=_ONE, mask=1),
    "PixArtTransformer2DModel": TextLayout(rows=(_ONE,), needed=_ONE, mask=1),
    "QwenImageTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken()),
    "Flux2Transformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken()),
    "ZImageTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=1)),
    "Lumina2Transformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=2)),
    "CogView3PlusTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=1)),
    "CogView4Transformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=1)),
    "ErnieImageTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(rewriters={"use_pe": "pe"})),
    "OvisImageTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=1)),
    "BriaTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=1)),
    "BriaFiboTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=1)),
    "NucleusMoEImageTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken()),
    "QwenImage21Transformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken()),
    # What stands in quotes is read by ByT5 too, whose rows are left as they are.
    "HunyuanImageTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken()),
    "Krea2Transformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken()),
    "LongCatImageTransformer2DModel": TextLayout(
        rows=(_ONE,), spoken=Spoken(rewriters={"enable_prompt_rewrite": "text_processor"})
    ),
    "PRXTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=2)),
    "HiDreamImageTransformer2DModel": TextLayout(
        rows=(("text_encoder_3",), ("text_encoder_4",), ("text_encoder_4",)), spoken=Spoken(negative=1)
    ),
    "HunyuanDiT2DModel": TextLayout(
        rows=(_ONE, ("text_encoder_2",)), spoken=Spoken(negative=1, first={"text_encoder_index": 0})
    ),
    "LuminaNextDiT2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=2, cut=True)),
    "Kandinsky3UNet": TextLayout(rows=(_ONE,), spoken=Spoken(negative=1, cut=True)),
    "Kandinsky5Transformer3DModel": TextLayout(rows=(_ONE,), spoken=Spoken()),
    "SanaTransformer2DModel": TextLayout(rows=(_ONE,), spoken=Spoken(negative=2)),
}


def spoken_of(denoiser: Any) -> Spoken | None:
    """Set where the pipelines of this denoiser are given their prompts as text."""
    layout = _known(denoiser)
    return None if layout is None else layout.spoken


def text_layout(pipe: Any, plans: Plans) -> TextLayout:
    """The layout of the pipeline's denoiser; for one that the table does not know, all encoders side by side."""
    if layout := _known(denoiser_of(pipe)):
        return layout
    takes = inspect.signature(pipe.encode_prompt).parameters
    # As SDXL: prompt_embeds, negative_prompt_embeds, pooled_prompt_embeds, negative_pooled_prompt_embeds.
    return TextLayout(
        rows=(tuple(plan.name for plan in plans[0]),), pooled=2 if "pooled_prompt_embeds" in takes else None
    )


def row_encoders(denoiser: Any, plans: Sequence[EncoderPlan]) -> list[EncoderPlan]:
    """The plans whose slots tell what the text's rows hold, in the order of the rows; one for each run of rows."""
    layout = _known(denoiser)
    if layout is None:
        return [plans[0]]
    named = {plan.name: plan for plan in plans}
    return [named[group[0]] for group in layout.rows if group[0] in named]


FOUND_TEXTS: MutableMapping[Any, TextLayout] = WeakKeyDictionary()
"""By denoiser: for those that no table knows, as found by trying; see :mod:`promptattn.discovery`."""


def knows_text(denoiser: Any) -> bool:
    """Whether the table knows what the pipelines of this denoiser make of their text encoders."""
    return _known(denoiser) is not None


def _known(denoiser: Any) -> TextLayout | None:
    names = (cls.__name__ for cls in type(denoiser).__mro__)
    known = next((TEXT_LAYOUTS[name] for name in names if name in TEXT_LAYOUTS), None)
    return known if known is not None or denoiser is None else FOUND_TEXTS.get(denoiser)


def check_encoders(pipe: Any, plans: Plans) -> None:
    """Refuse what the pipeline's own `encode_prompt` cannot serve, in a sentence that names the missing part.

    Raises:
        UnsupportedModelError: for an encoder that is None and is needed, or one whose tokenizer is None.
    """
    layout = text_layout(pipe, plans)
    for name in dict.fromkeys([*layout.needed, *(name for group in layout.rows for name in group)]):
        tokenizer = name.replace("text_encoder", "tokenizer")
        loaded = getattr(pipe, name, None) is not None
        if loaded and getattr(pipe, tokenizer, None) is None:
            raise UnsupportedModelError(
                f"{type(pipe).__name__} has {name}, but {tokenizer} is None; load the tokenizer too."
            )
        if not loaded and name in (*layout.needed, *(plan.name for plan in plans[0])):
            raise UnsupportedModelError(
                f"{type(pipe).__name__} cannot encode a prompt without {name}, which is None; load it, or use a"
                " pipeline that has it."
            )


def segments_of(pipe: Any, plans: Plans, rows: int) -> tuple[Segment, ...]:
    """The segments of text embeddings `[prompt, rows, channel]` that the pipeline encoded for these plans.

    Raises:
        UnsupportedModelError: when the windows of the encoders do not add up to so many rows.
    """
    planned = {plan.name: len(plan.slots) for plan in plans[0]}
    groups = [tuple(name for name in group if name in planned) for group in text_layout(pipe, plans).rows]
    zeros = rows - sum(planned[group[0]] for group in groups if group)
    segments: list[Segment] = []
    stop = 0
    for group in groups:
        start, stop = stop, stop + (planned[group[0]] if group else zeros)
        segments.append(Segment(group, start, stop))
    side_by_side = all(planned[name] == part.stop - part.start for part in segments for name in part.encoders)
    if stop != rows or not side_by_side or any(part.stop <= part.start for part in segments):
        windows = ", ".join(f"{name} {length}" for name, length in planned.items())
        raise UnsupportedModelError(
            f"{type(pipe).__name__} gave {rows} rows of text, to which the windows of its encoders ({windows}) do not"
            " add up; promptattn cannot tell where the words stand in them."
        )
    return tuple(segments)

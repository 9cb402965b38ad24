"""Text encoders that read a prompt inside a template: which of their rows a pipeline keeps, by its denoiser.

Nothing here knows a template itself; :mod:`promptattn.prompt.framing` finds out where in it a prompt stands.
"""

from dataclasses import dataclass
from typing import Any, Literal

from promptattn.denoisers import denoiser_of

__all__ = ["ALL", "TEMPLATES", "Kept", "Template", "template_of"]


@dataclass(frozen=True)
class Kept:
    """Which of a text encoder's rows become rows of the text: the first `head`, and those from `first` to the last one
    but `cut`, of which there are `most` at most. A negative `first` counts from the end."""

    first: int = 0
    cut: int = 0
    head: int = 0
    most: int | None = None

    def rows(self, window: int) -> tuple[int, ...]:
        """Their numbers, of so many rows."""
        first = self.first if self.first >= 0 else max(self.head, window + self.first)
        stop = window - self.cut
        return (*range(self.head), *range(first, stop if self.most is None else min(stop, first + self.most)))


ALL = Kept()


@dataclass(frozen=True)
class Template:
    """How a pipeline has its prompts read.

    Attributes:
        encoder: the name of the text encoder whose rows the words are.
        first: name of the pipeline's attribute that says how many of the encoder's first rows are left out.
        limited: whether `max_sequence_length` is how many rows are kept at most, and not how many tokens are read.
        pooled: names of further text encoders, of which the denoiser gets a pooled vector alone. They read prompts as
            they stand.
        kept: which of the encoder's rows are kept otherwise.
        last: whether the first row is kept and the last ones, `max_sequence_length` together.
        bare: whether those of what stands round a prompt and its padding are left out, however many they are.
        side: where the shorter prompts of a batch are filled up, if not where the tokenizer does.
        negative: whether negative prompts are read in the template too; if not, they are tokenised as they stand and
            filled up to `max_sequence_length`.
    """

    encoder: str = "text_encoder"
    pooled: tuple[str, ...] = ()
    first: str | None = None
    limited: bool = False
    kept: Kept = ALL
    bare: bool = False
    last: bool = False
    side: Literal["left", "right"] | None = None
    negative: bool = True

    def keeps(self, pipe: Any, around: tuple[int, int], max_sequence_length: int | None) -> Kept:
        """Which of the encoder's rows are kept of a prompt.

        around: how many rows stand before the prompt and behind it with its padding.
        """
        if self.bare:
            return Kept(*around)
        if self.last and max_sequence_length is not None:
            return Kept(head=1, first=1 - max_sequence_length)
        if self.first is None:
            return self.kept
        return Kept(int(getattr(pipe, self.first)), most=max_sequence_length if self.limited else None)


# By the denoiser's class.
TEMPLATES: dict[str, Template] = {
    "QwenImageTransformer2DModel": Template(first="prompt_template_encode_start_idx", limited=True, side="right"),
    "Flux2Transformer2DModel": Template(),
    "ZImageTransformer2DModel": Template(),
    "Lumina2Transformer2DModel": Template(negative=False),
    "CogView3PlusTransformer2DModel": Template(),
    "CogView4Transformer2DModel": Template(),
    "ErnieImageTransformer2DModel": Template(side="right"),
    "OvisImageTransformer2DModel": Template(first="user_prompt_begin_id"),
    "BriaTransformer2DModel": Template(),
    "BriaFiboTransformer2DModel": Template(),
    "NucleusMoEImageTransformer2DModel": Template(),
    "QwenImage21Transformer2DModel": Template(first="_drop_idx", side="right"),
    "Krea2Transformer2DModel": Template(first="prompt_template_encode_start_idx"),
    "LongCatImageTransformer2DModel": Template(bare=True),
    "PRXTransformer2DModel": Template(),
    "LuminaNextDiT2DModel": Template(),
    "Kandinsky3UNet": Template(),
    "Kandinsky5Transformer3DModel": Template(pooled=("text_encoder_2",), first="prompt_template_encode_start_idx"),
    "SanaTransformer2DModel": Template(last=True, negative=False),
    "HunyuanImageTransformer2DModel": Template(first="prompt_template_encode_start_idx"),
}


def template_of(pipe: Any) -> Template | None:
    """The template of a pipeline's denoiser, or None where a prompt is tokenised as it stands."""
    return next((TEMPLATES[cls.__name__] for cls in type(denoiser_of(pipe)).__mro__ if cls.__name__ in TEMPLATES), None)

"""What each row of the text embeddings holds: a token, a start or end marker, or padding, and with what weight."""

from collections.abc import Sequence

from promptattn.errors import UnsupportedModelError
from promptattn.processors.segments import Segment
from promptattn.prompt import EncoderPlan
from promptattn.prompt.chunks import Slot

__all__ = ["reader_of", "slots_of", "text_weights"]


def reader_of(segment: Segment) -> str:
    """The encoder whose plan tells what a segment's rows hold: its first; "" for rows of zeros."""
    return segment.encoders[0] if segment.encoders else ""


def slots_of(encoders: Sequence[EncoderPlan], segment: Segment, chunks: int) -> Sequence[Slot]:
    """What the rows of a segment hold when a prompt planned by these encoders is given in this number of chunks.

    Raises:
        UnsupportedModelError: when the pipeline made another number of rows than was planned.
    """
    rows = segment.stop - segment.start
    plan = _plan(encoders, segment)
    slots = [Slot("padding")] * rows if plan is None else plan.padded(chunks).slots
    if len(slots) != rows:
        raise UnsupportedModelError(
            f"{reader_of(segment)} was planned for {len(slots)} rows of text, but the pipeline has {rows} of it, so no"
            " row is known to be one word."
        )
    return slots


def text_weights(encoders: Sequence[EncoderPlan], segments: Sequence[Segment], chunks: int) -> list[float]:
    """The prompt weight of every row of the text embeddings; 1 on all rows that hold no token."""
    weights: list[float] = []
    for segment in segments:
        plan, rows = _plan(encoders, segment), len(slots_of(encoders, segment, chunks))
        weights += [1.0] * rows if plan is None else plan.padded(chunks).weights
    return weights


def _plan(encoders: Sequence[EncoderPlan], segment: Segment) -> EncoderPlan | None:
    return next((encoder for encoder in encoders if encoder.name == reader_of(segment)), None)

"""Where text and image stand among the rows of one attention call."""

from dataclasses import dataclass

__all__ = ["Grid", "Places"]

Grid = tuple[int, int]


@dataclass(frozen=True)
class Places:
    """The rows of text and image in one attention call of a denoiser's layer.

    Attributes:
        grid: (height, width) of the image places; row `image.start + y * width + x` is the place (y, x).
        image: the image's rows among the queries, and among the keys as well unless said.
        text: the text's rows among the keys, and in joint attention among the queries as well; None where the layer
            sees no text.
        image_keys: the image's rows among the keys, where they stand elsewhere there.
    """

    grid: Grid
    image: slice
    text: slice | None
    image_keys: slice | None = None

"""One map: how much each place of the image attends to a token, word, phrase, marker or patch."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptattn.errors import CaptureError, PromptAttnWarning
from promptattn.maps.colormap import colorize
from promptattn.maps.paint import as_rgb, blend, gray16, level_of, own_scale
from promptattn.maps.resize import combine

__all__ = ["HeatMap"]


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Probability mass per place for one thing that can be attended to, raw: nothing is rescaled unless asked for.

    `array` is the map at image resolution, all layers in one; `at_layer(name)` is what one layer saw, at the layer's
    own grid. A phrase's map is the sum of its words' maps, and a word's the sum of its tokens'. Maps of other sizes
    come from `resized`.
    """

    label: str
    """What the map is of, as the user would write it."""
    size: tuple[int, int]
    """(height, width) of the image in pixels."""
    by_layer: Mapping[str, NDArray[np.float32]] = field(repr=False)
    """Layer name -> mass at the layer's own grid, float32 `[height, width]` in [0, 1]."""
    weight: float | None = None
    """The weight it had in the prompt, if it is a token or a word."""
    shares: Mapping[str, float] | None = field(default=None, repr=False)
    """Layer name -> the layer's share of the combined map, together 1; None for equal shares."""

    @cached_property
    def array(self) -> NDArray[np.float32]:
        """All layers at image resolution, float32 `[height, width]` in [0, 1]: the probability mass per pixel.

        Each layer's map is interpolated to the image and counts by its share (see :meth:`HeatMaps.combine`), a mean
        over layers, so that the masses of all columns sum to 1 at each pixel where they do in the layers. Warns once
        when there is no mass anywhere.
        """
        array = combine(self.by_layer, self.size, self.shares)
        if not array.any():
            reason = " Its weight is 0." if self.weight == 0 else ""
            warnings.warn(
                f"The map of {self.label!r} is zero everywhere: nothing attended to it.{reason}",
                PromptAttnWarning,
                stacklevel=2,
            )
        array.flags.writeable = False
        return array

    @property
    def share(self) -> float:
        """Mean of `array`: the part of all attention in the image that went here, in [0, 1]."""
        return float(self.array.mean(dtype=np.float64))

    @property
    def normalized(self) -> NDArray[np.float32]:
        """`array` divided by its largest value, so that it ends at 1; a map of zeros stays zeros."""
        top = self.array.max()
        return self.array / top if top > 0 else self.array

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the map is made of."""
        return tuple(self.by_layer)

    def at_layer(self, name: str) -> NDArray[np.float32]:
        """What the layer `name` saw: float32 `[height, width]` at its own grid; `CaptureError` if there is none."""
        if name not in self.by_layer:
            raise CaptureError(f"Layer {name!r} was not recorded. Recorded: {', '.join(self.by_layer) or 'none'}.")
        return self.by_layer[name]

    def resized(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The combined map at another (height, width), interpolated from the layers' grids, not from `array`."""
        return combine(self.by_layer, size, self.shares)

    def overlay(
        self,
        image: Any = None,
        *,
        alpha: float = 0.9,
        colormap: str = "ember",
        low: float | None = None,
        top: float | None = None,
    ) -> Image.Image:
        """The map laid over `image`, as an RGB picture of the image's size.

        Colour and opacity both follow the mass, from `low` (the image shows) to `top` (where opacity is `alpha`). By
        default they are the map's own least and largest mass, but a nearly flat map is not stretched beyond fourfold
        (see `promptattn.maps.own_scale`); give both to compare maps. `image` is a Pillow image or a uint8 array
        `[height, width, 3]`; without one the colours stand alone. `colormap` is one of `promptattn.maps.COLORMAPS`.
        """
        base = None if image is None else as_rgb(image)
        size = self.size if base is None else (base.height, base.width)
        mass = self.array if size == self.size else self.resized(size)
        least, most = own_scale(mass)
        level = level_of(mass, least if low is None else low, most if top is None else top)
        if base is None:
            return Image.fromarray(colorize(level, colormap))
        return blend(base, level, alpha=alpha, colormap=colormap)

    def image(self) -> Image.Image:
        """The map as a 16-bit gray picture (Pillow mode `I;16`): 65535 is the map's largest value, 0 is no mass."""
        return gray16(self.array)

    def _repr_png_(self) -> bytes:
        """What a notebook shows for the map, at least 256 pixels high."""
        buffer = BytesIO()
        factor = max(1, -(-256 // max(self.size)))
        mass = self.resized((self.size[0] * factor, self.size[1] * factor))
        Image.fromarray(colorize(level_of(mass, *own_scale(mass)))).save(buffer, format="PNG")
        return buffer.getvalue()

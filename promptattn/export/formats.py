"""The kinds of files that an export can be made of."""

from typing import Final

__all__ = ["FORMATS"]

FORMATS: Final = ("overlay", "gray16", "sheet", "npz", "safetensors", "viewer")
"""`overlay`: maps laid over the image; `gray16`: 16-bit gray pictures, 65535 at the map's largest value; `sheet`: the
contact sheet and the table between words; `npz` and `safetensors`: all masses; `viewer`: the HTML page. The images and
`maps.json`, which describes the rest, are always there."""

"""Writing results: pictures, arrays and the HTML viewer, in a folder that appears whole or not at all."""

from promptattn.export.arrays import load
from promptattn.export.atomic import atomic_folder
from promptattn.export.comparison import Comparison, compare
from promptattn.export.figure import plot
from promptattn.export.formats import FORMATS
from promptattn.export.metadata import ImageMetadata, read_image, write_image
from promptattn.export.names import safe_name
from promptattn.export.saved import read_saved
from promptattn.export.select import select
from promptattn.export.writing import save, write

__all__ = [
    "FORMATS",
    "Comparison",
    "ImageMetadata",
    "atomic_folder",
    "compare",
    "load",
    "plot",
    "read_image",
    "read_saved",
    "safe_name",
    "save",
    "select",
    "write",
    "write_image",
]

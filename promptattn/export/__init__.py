"""Writing results: pictures, arrays and the HTML viewer, in a folder that appears whole or not at all."""

from promptattn.export.arrays import load
from promptattn.export.atomic import atomic_folder
from promptattn.export.formats import FORMATS
from promptattn.export.names import safe_name
from promptattn.export.select import select
from promptattn.export.writing import save, write

__all__ = ["FORMATS", "atomic_folder", "load", "safe_name", "save", "select", "write"]

"""What an image file says of how it was made: A1111's `parameters` text and our own JSON, written and read."""

from promptattn.export.metadata.reading import ImageMetadata, read_image
from promptattn.export.metadata.record import IN_CONFIG
from promptattn.export.metadata.translation import Note
from promptattn.export.metadata.writing import write_image

__all__ = ["IN_CONFIG", "ImageMetadata", "Note", "read_image", "write_image"]

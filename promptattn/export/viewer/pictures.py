"""Pictures inside the page, as data URIs."""

from io import BytesIO
from typing import Any

from PIL import Image

from promptattn.export.viewer.packing import text_of

__all__ = ["data_uri", "thumbnail"]

MOST_EXACT = 300_000  # bytes of a PNG that is kept as it is
QUALITY = 92


def data_uri(image: Image.Image | None, exact: bool = True) -> str | None:
    """The image as PNG, to the bit, or as high-quality WebP where that would be large or is not asked for."""
    if image is None:
        return None
    if max(image.size) <= 128 or (exact and max(image.size) <= 512):
        data = _encoded(image, format="PNG", optimize=True)
        if len(data) <= MOST_EXACT:
            return f"data:image/png;base64,{text_of(data)}"
    return f"data:image/webp;base64,{text_of(_encoded(image, format='WEBP', quality=QUALITY))}"


def thumbnail(image: Image.Image | None) -> str | None:
    """A small copy, for choosing among images."""
    if image is None:
        return None
    small = image.copy()
    small.thumbnail((160, 160))
    return data_uri(small)


def _encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()

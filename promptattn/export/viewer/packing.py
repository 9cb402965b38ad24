"""Numbers as text: what the page's script unpacks again (script/unpack.js)."""

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from promptattn.maps.paint import level_of

__all__ = ["deflated", "differences", "in_bytes", "in_shorts", "text_of"]


def text_of(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def deflated(data: bytes) -> str:
    """Bytes as base64 of a zlib stream, the format that browsers call `deflate`."""
    return text_of(zlib.compress(data))


def in_shorts(mass: NDArray[np.floating]) -> bytes:
    """A map as little-endian 16-bit integers, 65535 at its largest mass."""
    return np.round(level_of(mass) * np.float32(65535)).astype("<u2").tobytes()


def in_bytes(masses: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Maps `[map, height, width]` as bytes, 255 at each one's own largest mass."""
    return np.stack([np.round(level_of(mass) * np.float32(255)) for mass in masses]).astype(np.uint8)


def differences(levels: NDArray[np.uint8]) -> bytes:
    """Each byte less the one before it in its map, modulo 256: neighbours are alike, so this deflates better."""
    flat = levels.reshape(len(levels), -1)
    return np.diff(flat, axis=1, prepend=np.zeros((len(flat), 1), np.uint8)).tobytes()

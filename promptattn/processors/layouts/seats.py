"""Where text and image sit among the keys of layers that have both, where they do not simply lie side by side."""

from collections.abc import Mapping
from typing import Any

import torch

from promptattn.errors import UnsupportedModelError
from promptattn.places import Grid
from promptattn.processors.layouts.layout import Seats

__all__ = ["behind_glyphs", "behind_largest", "behind_own_text", "behind_words", "by_32"]


def by_32(arguments: Mapping[str, Any], tokens: int, grid: Grid, config: Any) -> Seats:
    """Z-Image: image, then text, each filled up to a multiple of 32 rows."""
    places = grid[0] * grid[1]
    image = _up_to_32(places)
    return Seats(slice(image, image + tokens), slice(0, places), image + _up_to_32(tokens), queries=image)


def _up_to_32(rows: int) -> int:
    return rows + -rows % 32


def behind_own_text(arguments: Mapping[str, Any], tokens: int, grid: Grid, config: Any) -> Seats:
    """Lumina 2: each image right behind those rows of its text that are no padding."""
    own = _of_one_length(
        arguments["encoder_attention_mask"], "Lumina 2 puts each image right behind its text, so images stand"
    )
    places = grid[0] * grid[1]
    return Seats(slice(0, own), slice(own, own + places), own + places)


def behind_words(arguments: Mapping[str, Any], tokens: int, grid: Grid, config: Any) -> Seats:
    """Qwen-Image 2.1: text, then image, unless pictures that it goes by stand among the words."""
    places = grid[0] * grid[1]
    if len(arguments["img_shapes"][0]) > 1:
        raise UnsupportedModelError(
            "pictures that Qwen-Image 2.1 goes by stand among the words of its prompt, so promptattn cannot tell which"
            " rows are which words; give it no picture."
        )
    return Seats(slice(0, tokens), slice(tokens, tokens + places), tokens + places)


def behind_glyphs(arguments: Mapping[str, Any], tokens: int, grid: Grid, config: Any) -> Seats:
    """HunyuanImage: the image, what ByT5 read of texts in quotes, the text; behind, what these are filled up with."""
    glyphs, mask = 0, arguments.get("encoder_attention_mask_2")
    if mask is not None:
        glyphs = _of_one_length(mask, "HunyuanImage puts each prompt behind what it has in quotes, so prompts stand")
    places = grid[0] * grid[1]
    first, others = places + glyphs, 0 if mask is None else int(mask.shape[1])
    return Seats(slice(first, first + tokens), slice(0, places), places + tokens + others)


def behind_largest(arguments: Mapping[str, Any], tokens: int, grid: Grid, config: Any) -> Seats:
    """HiDream: the image, if it is no square filled up to the most places there can be, and the text."""
    places, side = grid[0] * grid[1], config.patch_size
    height, width = config.max_resolution
    rows = places if grid[0] == grid[1] else height * width // (side * side)
    return Seats(slice(rows, rows + tokens), slice(0, places), rows + tokens)


def _of_one_length(mask: torch.Tensor, why: str) -> int:
    """How many rows of each text may be seen, by a mask `[batch, row]`."""
    lengths = set(mask.sum(dim=1).tolist())
    if len(lengths) > 1:
        raise UnsupportedModelError(
            f"texts of {', '.join(map(str, sorted(lengths)))} tokens came in one call, and {why} in different rows;"
            " make these prompts one at a time."
        )
    return int(lengths.pop())

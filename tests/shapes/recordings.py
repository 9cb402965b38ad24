"""Made-up recordings: objects at known places, and layers and heads that know them more or less well."""

import numpy as np

from promptattn.shapes.evaluation.recording import LayerRecord, Recording, Word

SIZE, COLUMNS = 32, 6
LAYERS = {"down_blocks.0": ((8, 8), 0.0), "mid_block": ((4, 4), 0.0), "up_blocks.0": ((16, 16), 1.0)}
"""Name -> grid, and how much of its maps is the object; the rest is noise. Of the two heads only the second knows."""


def masks(rng):
    """Two squares that do not touch, anywhere in the left and in the right half."""
    found = np.zeros((2, SIZE, SIZE), bool)
    for index in (0, 1):
        row, column = rng.integers(2, SIZE - 12), rng.integers(2, 5) + index * SIZE // 2
        found[index, row : row + 9, column : column + 9] = True
    return found


def recording(number=0, steps=4, layers=LAYERS, present=True):
    """A picture with a noun and a colour for each of two objects; colours are known, nouns half as well."""
    rng = np.random.default_rng([1, number])
    found = masks(rng)
    words = tuple(
        Word(role, f"{role}{thing}", 0, thing, found[thing], found[1 - thing], number % 2 == 0, present)
        for thing in (0, 1)
        for role in ("shape", "colour")
    )
    made = {name: layer(rng, words, grid, knows, steps) for name, (grid, knows) in layers.items()}
    image = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    return Recording(image, words, made, half=number % 2, language=("en", "es")[number // 2 % 2])


def recordings(count=8, **options):
    return [recording(number, **options) for number in range(count)]


def layer(rng, words, grid, knows, steps):
    """Steps the later the clearer; the maps' columns are the words and a rest, summing to 1 at each place."""
    factor = SIZE // grid[0]
    coarse = [w.own.reshape(grid[0], factor, grid[1], factor).mean((1, 3)) for w in words]
    truth = np.stack([part * (1.0 if w.role == "colour" else 0.5) for part, w in zip(coarse, words, strict=True)])
    clarity = knows * np.arange(1, steps + 1)[:, None, None, None] / steps
    noise = rng.random((steps, len(words), *grid))
    per_step = (0.02 + 0.1 * clarity * truth + 0.02 * noise).astype(np.float32)
    mean = per_step.mean(axis=0)
    ignorant = (0.02 + 0.02 * rng.random(mean.shape)).astype(np.float32)
    heads = np.stack([ignorant, 2 * mean - ignorant])
    mass = np.zeros((*grid, COLUMNS), np.float32)
    mass[..., 1 : 1 + len(words)] = np.moveaxis(mean, 0, -1)
    mass[..., 0] = 1 - mass[..., 1:].sum(axis=-1)
    return LayerRecord(per_step, heads, mass)

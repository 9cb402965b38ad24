"""A made-up run with known maps: two objects in a picture, and a blob of mass where each word's object is."""

import numpy as np
from PIL import Image, ImageDraw

from promptattn.maps import ColumnInfo, HeatMaps, LayerMaps, PatchMaps, PromptInfo, TextAttention
from promptattn.prompt import Token, Word
from promptattn.prompt.words import fold, split_words


def prompt_info(text, weights=None, pieces=4, cut=()):
    """A prompt whose words are cut into tokens of at most `pieces` letters; the words in `cut` were not read."""
    weights = weights or {}
    words, tokens, seen = [], [], {}
    for index, (start, end, is_punctuation) in enumerate(split_words(text)):
        part = text[start:end]
        weight = weights.get(part, 1.0)
        mine = []
        for begin in range(start, end if part not in cut else start, pieces):
            stop = min(begin + pieces, end)
            mine.append(len(tokens))
            tokens.append(
                Token(len(tokens), 100 + len(tokens), text[begin:stop], begin, stop, weight, index, 0, len(tokens) + 1)
            )
        occurrence = seen.get(fold(part), 0)
        seen[fold(part)] = occurrence + 1
        words.append(Word(index, part, start, end, occurrence, tuple(mine), weight, is_punctuation))
    columns = (
        ColumnInfo("start", "<start>"),
        *(ColumnInfo("token", token.text, token.index, word=token.word) for token in tokens),
        ColumnInfo("end", "<end>"),
        ColumnInfo("padding", "<padding>"),
    )
    missed = tuple(word.index for word in words if word.text in cut)
    return PromptInfo(text, tuple(tokens), tuple(words), columns, missed)


def blob(grid, centre, width=0.18):
    rows = (np.arange(grid[0]) + 0.5) / grid[0]
    columns = (np.arange(grid[1]) + 0.5) / grid[1]
    square = (rows[:, None] - centre[0]) ** 2 + (columns[None, :] - centre[1]) ** 2
    return np.exp(-square / (2 * width**2))


def layer_maps(name, grid, prompt, places, images=1, seed=0, steps=0, heads=0):
    """Random mass plus a blob for each word in `places` (word index -> (row, column)), normalised over columns."""
    random = np.random.default_rng(seed)

    def draw():
        logits = random.normal(size=(images, *grid, len(prompt.columns))) * 0.25
        logits[..., 0] += 3.2
        for word, centre in places.items():
            for token in prompt.words[word].tokens:
                logits[..., 1 + token] += 3.5 * blob(grid, centre)
        mass = np.exp(logits)
        return (mass / mass.sum(axis=-1, keepdims=True)).astype(np.float32)

    per_step = np.stack([draw() for _ in range(steps)]) if steps else None
    per_head = np.stack([draw() for _ in range(heads)], axis=1) if heads else None
    mass = per_step.mean(axis=0, dtype=np.float64).astype(np.float32) if steps else draw()
    return LayerMaps(name, grid, mass, per_step, per_head)


def text_attention(prompt, layers=2, seed=1):
    count = len(prompt.tokens) + 2
    logits = np.random.default_rng(seed).normal(size=(layers, count, count))
    logits[:, ~np.tri(count, dtype=bool)] = -np.inf
    mass = np.exp(logits)
    mass = (mass / mass.sum(axis=-1, keepdims=True)).astype(np.float32)
    return TextAttention("text_encoder", prompt.columns[:-1], mass)


def picture(size=(64, 64)):
    """A red disc left and a gray one right on a blue-black ground; (height, width)."""
    height, width = size
    image = Image.new("RGB", (width, height), (24, 32, 66))
    draw = ImageDraw.Draw(image)
    draw.ellipse([0.08 * width, 0.35 * height, 0.45 * width, 0.75 * height], fill=(214, 48, 40))
    draw.ellipse([0.62 * width, 0.45 * height, 0.9 * width, 0.72 * height], fill=(150, 152, 158))
    return image


def demo(images=1, size=(64, 64), text="un gato rojo persigue a un ratón gris", weights=None, steps=0, heads=0, cut=()):
    weights = {"rojo": 1.4} if weights is None else weights
    prompt = prompt_info(text, weights, cut=cut)
    left, right = (0.55, 0.27), (0.58, 0.76)
    places = {i: (left if i < len(prompt.words) // 2 else right) for i in range(len(prompt.words))}
    wide = (size[0] // 4, size[1] // 4), (size[0] // 8, size[1] // 8)
    records = tuple(
        layer_maps(f"{block}.attentions.0.transformer_blocks.0.attn2", grid, prompt, places, images, i, steps, heads)
        for i, (block, grid) in enumerate(
            [("down_blocks.0", wide[0]), ("mid_block", wide[1]), ("up_blocks.1", wide[0])]
        )
    )
    patch = np.repeat(blob(wide[0], left)[None] / 20, images, axis=0).astype(np.float32)
    return HeatMaps(
        prompts=(prompt,),
        records=records,
        image_size=size,
        prompt_index=(0,) * images,
        patches=(PatchMaps("up_blocks.1.attentions.0.transformer_blocks.0.attn1", wide[0], left, patch),),
        text_attention=(text_attention(prompt),),
        meta={"model": "synthetic", "seed": 7, "steps": 20, "versions": {"promptattn": "0.1.0"}},
    )

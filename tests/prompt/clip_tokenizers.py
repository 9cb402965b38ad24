"""CLIP tokenizers for the tests: one trained here in a moment, and the real vocabulary where it is installed."""

import gzip
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import transformers
from tokenizers import pre_tokenizers
from vocabularies import byte_pairs

CAPTIONS = (
    "a red cat left of a blue star on a black background",
    "un gato rojo persigue a un ratón gris, sobre fondo negro",
    "a photo of an astronaut riding a horse, masterpiece, best quality",
    "una niña con un paraguas amarillo, bajo la lluvia; don't we'll x-ray",
)
START, END = "<|startoftext|>", "<|endoftext|>"


@cache
def _trained_vocabulary(alphabet: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """BPE over bytes as CLIP has it. `alphabet` "bytes" knows every byte, "letters" only those of the captions."""
    normalizer = transformers.CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer.normalizer
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    written = [normalizer.normalize_str(word) for caption in CAPTIONS for word in caption.split()]
    words = [piece for word in written for piece, _ in cut.pre_tokenize_str(word)]
    merges = byte_pairs(words)
    known = set("".join(words)) if alphabet == "letters" else set(pre_tokenizers.ByteLevel.alphabet())
    ends = {word[-1] for word in words} if alphabet == "letters" else known
    letters = [*sorted(known), *(letter + "</w>" for letter in sorted(ends))]
    tokens = dict.fromkeys([*letters, *("".join(merge) for merge in merges), START, END])
    return {token: index for index, token in enumerate(tokens)}, merges


def trained_clip(window: int = 77, pad: str = END, alphabet: str = "bytes") -> transformers.CLIPTokenizer:
    vocabulary, merges = _trained_vocabulary(alphabet)
    return transformers.CLIPTokenizer(
        vocab=dict(vocabulary), merges=list(merges), model_max_length=window, pad_token=pad
    )


@cache
def _real_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        pytest.skip("the real CLIP vocabulary comes with open_clip_torch, which is not installed")
    packed = (Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges), START, END]
    return {token: index for index, token in enumerate(tokens)}, merges


def _byte_letters() -> list[str]:
    """The character that byte-level BPE writes for each byte: printable Latin-1 first, then the others from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, printable), *(chr(256 + rank) for rank in range(256 - len(printable)))]


def real_clip(window: int = 77, pad: str = END) -> transformers.CLIPTokenizer:
    vocabulary, merges = _real_vocabulary()
    return transformers.CLIPTokenizer(
        vocab=dict(vocabulary), merges=list(merges), model_max_length=window, pad_token=pad
    )


def own_ids(tokenizer: transformers.CLIPTokenizer, text: str) -> tuple[int, ...]:
    """The ids that a diffusers pipeline gets from its own tokenizer call."""
    window = tokenizer.model_max_length
    return tuple(tokenizer(text, padding="max_length", max_length=window, truncation=True).input_ids)


def content_ids(tokenizer: transformers.CLIPTokenizer, texts: Iterable[str]) -> list[int]:
    """The ids of each text by itself, without start and end, one after the other."""
    return [
        identity for text in texts for identity in tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    ]

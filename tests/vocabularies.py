"""Small vocabularies from a few words, the same in every process: the library's own trainers break ties by chance."""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

END_OF_WORD = "</w>"


def byte_pairs(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges after which each word is one piece, the most frequent pair first (Sennrich et al. 2016); every word ends
    in `</w>`."""
    held = Counter((*word[:-1], word[-1] + END_OF_WORD) for word in words)
    merges = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for pieces, count in held.items():
            for pair in pairwise(pieces):
                pairs[pair] += count
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        held = Counter({_merged(pieces, best): count for pieces, count in held.items()})


def _merged(pieces: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return tuple(joined)


def unigrams(words: Iterable[str], pairs: int = 80) -> list[tuple[str, float]]:
    """Letters and the most frequent pairs of them, each with the logarithm of its share; a word begins with `▁`."""
    written = [f"▁{word}" for word in words]
    letters = Counter(letter for word in written for letter in word)
    doubles = Counter(first + second for word in written for first, second in pairwise(word))
    total = letters.total()
    chosen = sorted(doubles, key=lambda pair: (-doubles[pair], pair))[:pairs]
    counts = [*sorted(letters.items()), *((pair, doubles[pair]) for pair in chosen)]
    return [(piece, math.log(count / total)) for piece, count in counts]

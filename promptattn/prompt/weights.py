"""Which weight holds for a range of the clean text."""

from bisect import bisect_right

from promptattn.prompt.tree import Prompt

__all__ = ["SpanWeights"]


class SpanWeights:
    """The spans of a prompt, looked up by a range of its clean text."""

    def __init__(self, prompt: Prompt) -> None:
        self._text = prompt.text
        self._ranges = prompt.ranges
        self._starts = [start for start, _ in prompt.ranges]
        self._weights = [span.weight for span in prompt.spans]

    def within(self, start: int, end: int) -> dict[float, int]:
        """The weights that hold in `[start, end)`, each with its number of characters, in order of appearance.

        Whitespace counts only where there is nothing else.
        """
        counts: dict[float, int] = {}
        for index in range(max(0, bisect_right(self._starts, start) - 1), len(self._starts)):
            low, high = self._ranges[index]
            if low >= end:
                break
            inside = self._text[max(low, start) : min(high, end)]
            size = sum(not character.isspace() for character in inside)
            if size:
                counts[self._weights[index]] = counts.get(self._weights[index], 0) + size
        return counts or {self._at(start): end - start}

    def of(self, start: int, end: int) -> float:
        """The weight that most characters of `[start, end)` have; the first of equals; 1.0 outside every span."""
        counts = self.within(start, end)
        return max(counts, key=counts.__getitem__)

    def _at(self, position: int) -> float:
        index = bisect_right(self._starts, position) - 1
        inside = index >= 0 and position < self._ranges[index][1]
        return self._weights[index] if inside else 1.0

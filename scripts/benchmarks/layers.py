"""One attention call as a generation's layers make it, with weights in it: by the core, and by an additive mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import Columns, KeyWeights, attention
from promptattn.weighting import Weighting

__all__ = ["CALLS", "AttentionCall", "variants"]


@dataclass(frozen=True)
class AttentionCall:
    """The sizes of one call: `[batch, heads, image + text or image, dim]`, with guidance the prompt's row the last.

    image, text: rows. joint: whether both are queries and keys; else the image's rows look at the text's.
    text_first: which rows stand first in joint attention.
    """

    batch: int
    heads: int
    dim: int
    image: int
    text: int
    joint: bool
    text_first: bool = False

    @property
    def spans(self) -> tuple[slice, int]:
        """The image's rows among the queries, and where the text begins among the keys."""
        if not self.joint:
            return slice(0, self.image), 0
        start = self.text if self.text_first else 0
        return slice(start, start + self.image), 0 if self.text_first else self.image


CALLS: dict[str, Callable[[int], AttentionCall]] = {
    "unet": lambda pixels: AttentionCall(2, 8, 40, (pixels // 8) ** 2, 77, joint=False),
    "sd3": lambda pixels: AttentionCall(2, 24, 64, (pixels // 16) ** 2, 333, joint=True),
    "flux": lambda pixels: AttentionCall(1, 24, 128, (pixels // 16) ** 2, 512, joint=True, text_first=True),
}
"""From the image's side in pixels to the call of the finest layer that sees text, by the kind of model."""

COLUMNS = 26  # start, end, the tokens of a prompt of twenty words or so, and all padding as one


def variants(
    call: AttentionCall, words: dict[str, tuple[float, ...]], device: str, dtype: torch.dtype
) -> dict[str, Callable[[], object]]:
    """What is compared; the first is the library's own call, without weights.

    words: weights of some words, by a name for them; the first are all positive, and the mask has those.
    """
    query, key, value = _inputs(call, device, dtype)
    queries, text = call.spans
    index = torch.arange(len(next(iter(words.values()))), device=device) + text + 3
    prompt = slice(call.batch - 1, call.batch)
    rows = torch.arange(call.text, device=device)
    columns = Columns(
        rows + text, groups=rows.clamp(max=COLUMNS - 1), n_groups=COLUMNS, batch_rows=prompt, query_rows=queries
    )
    weights = {name: _weights(call, index, some) for name, some in words.items()}
    mask = _mask(call, next(iter(weights.values()))).to(dtype)

    def run(name: str | None, *, maps: bool) -> object:
        given = None if name is None else weights[name]
        return attention(query, key, value, key_weights=given, capture=columns if maps else None)

    calls: dict[str, Callable[[], object]] = {"plain": lambda: scaled_dot_product_attention(query, key, value)}
    for name in words:
        calls[name] = lambda name=name: run(name, maps=False)
        calls[f"{name}, all maps"] = lambda name=name: run(name, maps=True)
    calls["additive mask"] = lambda: scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(
        calls["additive mask"](), attention(query, key, value, key_weights=next(iter(weights.values()))).output
    )
    return calls


def _inputs(call: AttentionCall, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    both = call.image + call.text
    rows = (both, both, both) if call.joint else (call.image, call.text, call.text)
    query, key, value = (
        torch.randn(call.batch, call.heads, count, call.dim, generator=generator).to(device, dtype) for count in rows
    )
    return query, key, value


def _weights(call: AttentionCall, index: Tensor, words: tuple[float, ...]) -> KeyWeights:
    """As a run gives them: 1 on the negative prompt's row, and in joint attention on the image's queries alone."""
    odds = torch.tensor([Weighting().in_denoiser(weight) for weight in words], device=index.device)
    table = torch.ones(call.batch, len(words), device=index.device)
    table[-1] = odds
    gentle = call.joint and float(odds.min()) >= 1
    return KeyWeights(index, table, query_rows=call.spans[0] if call.joint else None, floor=1.0 if gentle else None)


def _mask(call: AttentionCall, weights: KeyWeights) -> Tensor:
    """The logarithms of the weights as a mask, `[batch, 1, query or 1, key]`."""
    both = call.image + call.text
    shape = (call.batch, 1, both, both) if call.joint else (call.batch, 1, 1, call.text)
    mask = torch.zeros(shape, device=weights.index.device)
    rows = call.spans[0] if call.joint else slice(None)
    mask[-1, 0, rows, weights.index] = weights.weight[-1].log()
    return mask

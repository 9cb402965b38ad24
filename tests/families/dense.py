"""What the layers of a stock pipeline attend to, worked out densely in float64: the oracle for what runs weigh and record.

Where the text stands is taken from `facts.json`, which was found by changing tokens, and never from the tables of
promptattn.
"""

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from families.denoising import conditional_row
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Seats:
    """Where the text stands, by the table of facts.

    Attributes:
        part: name of the denoiser in the pipeline.
        layers: names of the attention layers whose keys hold text.
        first: key row of the first row of the text.
        calls: calls of the denoiser in a step.
        call, row: which of them, and which row of its batch, is the prompt's.
        negative: likewise of the negative prompt; None where there is none.
    """

    part: str
    layers: tuple[str, ...]
    first: int
    calls: int
    call: int
    row: int
    negative: tuple[int, int] | None


def seats(pipe: Any, facts: dict[str, Any]) -> Seats:
    """The seats of a family with one denoiser whose text is one run of rows."""
    ((part, found),) = facts["denoisers"].items()
    (places,) = (each for name, each in found["text_places"].items() if "pooled" not in name and "text_embeds" not in name)
    groups = [group for group in places if group["places"]["runs"]]
    (first,) = {seat - token for group in groups for token, _, seat in group["places"]["runs"]}
    modules = [name for name, module in getattr(pipe, part).named_modules() if hasattr(module, "set_processor")]
    patterns = {re.escape(group["layer"]).replace(r"\*", r"\d+") for group in groups}
    layers = tuple(name for name in modules if any(re.fullmatch(pattern, name) for pattern in patterns))
    roles = found["rows_of_first_step"]
    negative = next(((at, rows.index("negative")) for at, rows in enumerate(roles) if "negative" in rows), None)
    return Seats(part, layers, first, len(roles), *conditional_row(roles), negative)


@dataclass
class Weighed:
    """Odds on keys of the text: rows of the text, by the prompt and by the negative prompt."""

    positive: dict[int, float] = field(default_factory=dict)
    negative: dict[int, float] = field(default_factory=dict)


class _Dense(TorchFunctionMode):
    def __init__(self, seats: Seats, running: list[str], odds: Weighed | None) -> None:
        super().__init__()
        self.seats, self.running, self.odds = seats, running, odds
        self.denoised = -1
        self.seen: list[dict[str, torch.Tensor]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        layer = self.running[-1] if self.running else ""
        if function is not F.scaled_dot_product_attention or layer not in self.seats.layers:
            return function(*args, **kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale")
        return self.attend(layer, **(dict(zip(names, args, strict=False)) | kwargs))

    def attend(
        self,
        layer: str,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        assert not is_causal
        assert not enable_gqa
        assert not dropout_p
        scores = query.double() @ key.double().mT * (scale or query.shape[-1] ** -0.5)
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:
                scores = scores.masked_fill(~attn_mask, -math.inf)
            else:
                scores = scores + attn_mask.double()
        if self.odds is not None:
            scores = scores + self.bias(scores)
        mass = scores.softmax(-1)
        self.seen[-1][layer] = mass.mean(1)
        return (mass @ value.double()).to(query.dtype)

    def bias(self, scores: torch.Tensor) -> torch.Tensor:
        """Logarithms of the odds, `[batch, 1, query, key]`, for the image's queries."""
        assert self.odds is not None
        bias = torch.zeros(scores.shape[0], 1, *scores.shape[2:], dtype=torch.float64)
        at = self.denoised % self.seats.calls
        for place, odds in (
            ((self.seats.call, self.seats.row), self.odds.positive),
            (self.seats.negative, self.odds.negative),
        ):
            if place is not None and place[0] == at:
                for row, weight in odds.items():
                    column = self.seats.first + row
                    bias[place[1], 0, self.image(scores), column] = math.log(weight) if weight else -math.inf
        return bias

    def image(self, scores: torch.Tensor) -> torch.Tensor:
        """The query rows of the image: in joint attention all behind the text, or before it where that is last."""
        queries, keys = scores.shape[-2:]
        rows = torch.arange(queries)
        if queries != keys:
            return rows
        return rows[self.text :] if self.seats.first < keys // 2 else rows[: self.seats.first]

    text = 0


@contextlib.contextmanager
def dense(pipe: Any, where: Seats, text: int, odds: Weighed | None = None) -> Iterator[list[dict[str, torch.Tensor]]]:
    """While open, the layers that read text attend densely in float64, with odds on keys of the text.

    Collects for each call of the denoiser the attention of its layers by name, `[batch, query, key]`, mean over heads.

    Args:
        text: the number of rows of text.
    """
    running: list[str] = []
    denoiser = getattr(pipe, where.part)
    mode = _Dense(where, running, odds)
    mode.text = where.first + text

    def begin(*_: Any) -> None:
        mode.denoised += 1
        mode.seen.append({})

    with contextlib.ExitStack() as stack:
        stack.callback(denoiser.register_forward_pre_hook(begin).remove)
        for name in where.layers:
            layer = denoiser.get_submodule(name)
            stack.callback(layer.register_forward_pre_hook(lambda *_, name=name: running.append(name)).remove)
            stack.callback(layer.register_forward_hook(lambda *_: running.pop() and None, always_call=True).remove)
        stack.enter_context(mode)
        yield mode.seen
